"""What follows a death: which start is next, what is learned, what is said, and when it is given up."""

import dataclasses
from pathlib import Path

import pytest

from vedette.deploy.crash import (
    LONGEST_BACKOFF_S,
    MAX_FAILED_STARTS,
    ROOMY_RUN_S,
    STEADY_RUN_S,
    Crash,
    Fault,
    fault_of,
)
from vedette.deploy.recovery import LONG_RUN_S, MAX_HISTORY, Attempt, Recovery, change_message
from vedette.device.boards import device_named
from vedette.device.device import Device, OtherProcess
from vedette.engine.vllm.causes import KERNEL_KILL, SILENT, SILENT_KILL, STUCK
from vedette.errors import Cause, DoesNotFitError, EngineDiedError
from vedette.language.message import Message, say
from vedette.models.store.model_lookup import find_model, read_facts
from vedette.plan.calibration import Calibration, Lesson, calibration_key, conditions_of
from vedette.plan.make import make_plan
from vedette.plan.plan import Graphs, Plan, Wish

MIB = 1024**2
GIB = 1024**3
KILLED = Cause("killed", Message("errors.verbatim", sentence="Another program killed the engine.", hint=""))
ALLOCATOR = Cause(
    "out_of_memory", Message("errors.verbatim", sentence="The engine ran out of memory (CUDA out of memory).", hint="")
)
BROKEN = Cause(
    "engine_broken",
    Message("errors.verbatim", sentence="The engine's environment is broken: No module named 'zmq'.", hint=""),
)
UNKNOWN_FLAG = Cause(
    "unknown_flag", Message("errors.verbatim", sentence="The engine does not know these arguments: --x.", hint="")
)
SURPRISE = Cause(
    "engine_error", Message("errors.verbatim", sentence="The engine stopped with KeyError: 'surprise'", hint="")
)
TOO_LARGE = DoesNotFitError("errors.verbatim", sentence="It needs 1 GiB more.", hint="Free memory.")


def board(available_bytes: int) -> Device:
    return dataclasses.replace(device_named("agx-orin-32gb"), memory_available_bytes=available_bytes)


def plan_on(device: Device, lesson: Lesson | None = None, name: str = "Cosmos-Reason2-2B") -> Plan:
    model = read_facts(find_model(name, Path("/nowhere")))
    assert model is not None
    plan = make_plan(device, model, Wish())
    if lesson is None:
        return plan
    key = calibration_key(device, model, plan.settings, "0.32.0")
    taught = Calibration(key, conditions_of(plan.settings), lesson=lesson)
    return make_plan(device, model, Wish(), calibration=taught)


TIGHT = board(9 * GIB)
"""A plan fills it to the brim."""
PLAN = plan_on(TIGHT)


def crash(
    cause: Cause,
    after: Device = TIGHT,
    *,
    plan: Plan = PLAN,
    before: Device = TIGHT,
    served_s: float | None = None,
    broke_off: bool = False,
) -> Crash:
    return Crash(cause, plan, before, after, served_s, broke_off)


def less(device: Device, taken_bytes: int, *others: OtherProcess) -> Device:
    left = device.memory_available_bytes - taken_bytes
    return dataclasses.replace(device, memory_available_bytes=left, other_processes=others)


@pytest.mark.parametrize("cause", [ALLOCATOR, KERNEL_KILL, SILENT_KILL])
def test_an_engine_that_took_too_much_is_a_lesson_and_plans_shrink_until_nothing_fits(cause: Cause) -> None:
    recovery, plans, lesson = Recovery(), [PLAN], None
    while plans[-1].fits:
        attempt = recovery.attempt_after(crash(cause, plan=plans[-1]))
        assert attempt.lesson is not None
        lesson = attempt.lesson.after(lesson)
        assert lesson.at_most_bytes <= plans[-1].memory.total_bytes - 128 * MIB
        plans.append(plan_on(recovery.within(TIGHT), lesson))
        assert len(plans) < 12
    served = [plan.context.max_model_len for plan in plans]
    assert served == sorted(served, reverse=True)
    assert len(plans) >= 4
    with pytest.raises(DoesNotFitError) as caught:
        recovery.attempt_without_room(TOO_LARGE, plans[-1], TIGHT)
    assert caught.value.sentence.startswith("Out of memory while starting: the engine took more than")
    assert caught.value.sentence.endswith(TOO_LARGE.sentence)


def test_memory_that_others_took_is_no_lesson_and_the_taker_is_named() -> None:
    recovery = Recovery()
    hog = OtherProcess("python3", 123, GIB)
    after = less(TIGHT, GIB, hog)
    attempt = recovery.attempt_after(crash(KERNEL_KILL, after, served_s=90.0))
    assert attempt.lesson is None
    assert recovery.within(after) == after
    now = plan_on(after)
    note = recovery.recovered(now, at=1.0)
    assert note is not None
    recovered = note.recovery
    assert recovered is not None
    sentence = say(recovered.message)
    assert sentence.startswith("Out of memory while serving: ")
    assert "because python3 (process 123) took 1.00 GiB. Serving again with " in sentence
    assert recovered.fault == "others"
    assert recovered.now.total_bytes < recovered.before.total_bytes


def test_whoever_goes_on_taking_memory_is_left_room() -> None:
    recovery = Recovery()
    for times in range(1, 4):
        after = less(TIGHT, times * 512 * MIB)
        attempt = recovery.attempt_after(crash(KERNEL_KILL, after))
        assert attempt.lesson is None
        room = after.memory_available_bytes - recovery.within(after).memory_available_bytes
        assert room == (times - 1) * max(128 * MIB, PLAN.memory.total_bytes // 20)
    recovery.attempt_after(crash(KILLED, served_s=LONG_RUN_S))
    assert recovery.within(TIGHT) == TIGHT
    recovery.attempt_after(crash(KERNEL_KILL, less(TIGHT, GIB), served_s=ROOMY_RUN_S))
    assert recovery.within(TIGHT) == TIGHT


def test_a_process_that_held_memory_before_is_not_the_taker() -> None:
    before = less(TIGHT, 0, OtherProcess("desktop", 7, 3 * GIB))
    after = less(TIGHT, GIB, OtherProcess("desktop", 7, 3 * GIB))
    attempt = Recovery().attempt_after(crash(KERNEL_KILL, after, before=before))
    assert "because other programs took 1.00 GiB" in say(attempt.reason)
    smaller = dataclasses.replace(less(TIGHT, GIB), memory_total_bytes=TIGHT.memory_total_bytes // 2)
    assert "all memory there is went from" in say(Recovery().attempt_after(crash(KERNEL_KILL, smaller)).reason)


def test_a_kill_amid_plenty_is_taken_for_an_accident_once() -> None:
    plenty = board(30 * GIB)
    first = crash(KERNEL_KILL, plenty, before=plenty)
    assert fault_of(first, 1) is Fault.TRANSIENT
    recovery = Recovery()
    assert recovery.attempt_after(first).lesson is None
    assert recovery.within(plenty) == plenty
    again = recovery.attempt_after(first)
    assert again.lesson is not None
    # It was not for want of memory: more of it changes nothing.
    assert again.lesson.affordable_bytes(plenty.memory_total_bytes) == again.lesson.at_most_bytes
    assert fault_of(crash(ALLOCATOR, plenty, before=plenty), 1) is Fault.ENGINE


def test_a_start_that_finds_the_memory_taken_teaches_nothing() -> None:
    recovery = Recovery()
    taken = Cause("memory_taken", Message("errors.verbatim", sentence="Another program took memory.", hint=""))
    assert recovery.attempt_after(crash(taken)).lesson is None
    assert recovery.within(TIGHT) == TIGHT
    recovery.attempt_after(crash(taken))
    assert recovery.within(TIGHT).memory_available_bytes < TIGHT.memory_available_bytes


def test_beside_a_discrete_gpu_the_kernel_kills_for_ram() -> None:
    device = dataclasses.replace(TIGHT, unified_memory=False, host_memory_available_bytes=3 * GIB)
    plan = plan_on(device)
    recovery = Recovery()
    attempt = recovery.attempt_after(crash(KERNEL_KILL, device, plan=plan, before=device))
    assert attempt.lesson is None
    within = recovery.within(device)
    assert within.memory_available_bytes == device.memory_available_bytes
    assert within.host_memory_available_bytes == plan.memory.host_bytes - 128 * MIB
    assert not plan_on(within).fits
    others = dataclasses.replace(device, host_memory_available_bytes=GIB)
    assert fault_of(crash(KERNEL_KILL, others, plan=plan, before=device), 1) is Fault.OTHERS
    assert recovery.attempt_after(crash(ALLOCATOR, device, plan=plan, before=device)).lesson is not None


def test_it_waits_for_memory_that_others_hold_and_for_no_other() -> None:
    recovery, after = Recovery(), less(TIGHT, TIGHT.memory_available_bytes - GIB)
    assert plan_on(recovery.within(TIGHT)).fits
    recovery.attempt_after(crash(KERNEL_KILL, after))
    refused = plan_on(recovery.within(after))
    assert not refused.fits
    with pytest.raises(DoesNotFitError):
        recovery.attempt_without_room(
            TOO_LARGE, refused, after
        )  # it never served: the error goes to the one who started it
    recovery.mark_served()
    waiting = recovery.attempt_without_room(TOO_LARGE, refused, after)
    assert say(waiting.reason).startswith(TOO_LARGE.sentence)
    with pytest.raises(DoesNotFitError):
        recovery.attempt_without_room(TOO_LARGE, refused, TIGHT)


def test_room_for_others_is_given_up_before_the_service_is() -> None:
    recovery = Recovery()
    for _ in range(3):
        recovery.attempt_after(crash(KERNEL_KILL, less(TIGHT, GIB)))
    refused = plan_on(board(0))
    assert recovery.spare_bytes
    recovery.attempt_without_room(TOO_LARGE, refused, TIGHT)
    assert recovery.within(TIGHT) == TIGHT


def test_what_kills_from_outside_is_answered_for_ever_and_ever_more_slowly() -> None:
    recovery = ready_once()
    delays = [recovery.attempt_after(crash(cause)).delay_s for cause in [KILLED, STUCK] * 50]
    assert delays == sorted(delays)
    assert delays[:3] == [0.0, 2.0, 4.0]
    assert delays[-1] == LONGEST_BACKOFF_S
    assert recovery.within(TIGHT) == TIGHT
    assert recovery.attempt_after(crash(KILLED, served_s=STEADY_RUN_S)).delay_s == 0.0
    never_served = Recovery()
    starts(never_served, *[KILLED] * MAX_FAILED_STARTS)
    with pytest.raises(EngineDiedError):
        starts(never_served, KILLED)


def test_who_serves_again_and_again_is_never_given_up() -> None:
    recovery = Recovery()
    for _ in range(100):
        recovery.attempt_after(crash(SURPRISE, served_s=5.0))
        recovery.recovered(PLAN, at=1.0)
    assert recovery.attempt_after(crash(SURPRISE, served_s=5.0)).delay_s == LONGEST_BACKOFF_S
    assert len(recovery.history) == MAX_HISTORY


def ready_once() -> Recovery:
    recovery = Recovery()
    recovery.mark_served()
    return recovery


def starts(recovery: Recovery, *causes: Cause) -> list[Attempt]:
    return [recovery.attempt_after(crash(cause)) for cause in causes]


def test_a_start_that_ends_twice_in_the_same_way_is_given_up() -> None:
    recovery = Recovery()
    starts(recovery, SURPRISE)
    with pytest.raises(EngineDiedError) as caught:
        starts(recovery, SURPRISE)
    assert caught.value.as_json()["code"] == "engine_error"
    assert caught.value.sentence.endswith("2 starts in a row ended like this.")
    starts(Recovery(), SURPRISE, KILLED, SURPRISE, ALLOCATOR, SURPRISE)


def test_starts_that_end_each_in_a_way_of_its_own_are_given_up_later() -> None:
    recovery = Recovery()
    surprises = [
        Cause("engine_error", Message("errors.verbatim", sentence=f"KeyError: {number}", hint=""))
        for number in range(MAX_FAILED_STARTS)
    ]
    starts(recovery, *surprises[:-1])
    with pytest.raises(EngineDiedError):
        starts(recovery, surprises[-1])


def test_a_hopeless_first_start_is_not_tried_again_and_one_that_has_served_is_once() -> None:
    with pytest.raises(EngineDiedError) as caught:
        starts(Recovery(), UNKNOWN_FLAG)
    assert caught.value.sentence == UNKNOWN_FLAG.sentence
    recovery = Recovery()
    recovery.attempt_after(crash(KILLED, served_s=5.0))
    starts(recovery, UNKNOWN_FLAG)
    with pytest.raises(EngineDiedError):
        starts(recovery, UNKNOWN_FLAG)


def test_a_broken_engine_is_made_anew_once() -> None:
    recovery = Recovery()
    assert [attempt.remake for attempt in starts(recovery, KILLED, BROKEN)] == [False, True]
    with pytest.raises(EngineDiedError):
        starts(recovery, BROKEN)


def test_a_start_that_falls_silent_is_tried_once_with_less_and_teaches_nothing() -> None:
    recovery = Recovery()
    (attempt,) = starts(recovery, SILENT)
    assert attempt.lesson is None
    assert recovery.within(TIGHT).memory_available_bytes <= PLAN.memory.total_bytes - 128 * MIB
    with pytest.raises(EngineDiedError):
        starts(recovery, SILENT)


def test_a_lesson_that_cannot_be_kept_holds_here() -> None:
    recovery = Recovery()
    (attempt,) = starts(recovery, ALLOCATOR)
    assert attempt.lesson is not None
    recovery.limit_to(attempt.lesson)
    assert recovery.within(TIGHT).memory_available_bytes == attempt.lesson.at_most_bytes


def test_what_changed_is_said() -> None:
    large, small = (plan_on(board(memory), name="ERNIE-4.5-0.3B") for memory in (30 * GIB, GIB))
    assert say(change_message(large, large)) == "as planned before"
    sentence = say(change_message(large, small))
    assert sentence.startswith(f"with one request of 256 tokens instead of 4 of {large.context.max_model_len:,}")
    seeing = plan_on(board(30 * GIB))
    blurred = plan_on(board(GIB), name="Qwen3-VL-2B-Instruct-FP8")
    sentence = say(change_message(seeing, blurred))
    assert sentence.startswith(
        "with Qwen/Qwen3-VL-2B-Instruct-FP8 instead of nvidia/Cosmos-Reason2-2B, one request of "
    )
    assert "no clips any more" in sentence


@pytest.mark.parametrize("code", ["memory_taken", "out_of_memory", "killed", "engine_error", "unknown_flag", "silent"])
def test_a_crash_while_serving_is_never_refused(code: str) -> None:
    recovery, cause = Recovery(), Cause(code, Message("errors.verbatim", sentence="It ended.", hint=""))
    for _ in range(3 * MAX_FAILED_STARTS):
        recovery.attempt_after(crash(cause, served_s=1.0))


def test_what_has_never_served_is_not_started_for_ever_although_others_take_its_memory() -> None:
    recovery, taken = (
        Recovery(),
        Cause("memory_taken", Message("errors.verbatim", sentence="Another program took memory.", hint="")),
    )
    with pytest.raises(EngineDiedError):
        starts(recovery, *[taken] * (MAX_FAILED_STARTS + 1))


def test_a_start_that_was_marked_as_served_is_not_given_up_like_a_first_one() -> None:
    recovery = Recovery()
    recovery.mark_served()
    starts(recovery, *[KILLED] * (MAX_FAILED_STARTS + 3))


def test_others_are_blamed_only_where_they_took_memory_that_the_plan_needs() -> None:
    planned = PLAN.memory.total_bytes - PLAN.memory.reserve_bytes
    roomy, enough = board(planned + 2 * GIB), board(planned + GIB)
    assert fault_of(crash(ALLOCATOR, enough, before=roomy), 1) is Fault.ENGINE, "what they took was not needed"
    little = board(planned - 1 * MIB)
    assert fault_of(crash(ALLOCATOR, little, before=board(planned + 32 * MIB)), 1) is Fault.ENGINE
    assert fault_of(crash(ALLOCATOR, little, before=board(planned + 64 * MIB)), 1) is Fault.OTHERS


def test_memory_that_was_taken_and_freed_again_has_no_taker() -> None:
    taken = Cause("memory_taken", Message("engine.memory_taken"))
    reason = Recovery().attempt_after(crash(taken)).reason
    assert reason.code == "deploy.taken_and_freed"
    still_missing = Recovery().attempt_after(crash(taken, less(TIGHT, GIB))).reason
    assert still_missing.code == "deploy.taken_by_others"
    assert still_missing.params["left_bytes"] == TIGHT.memory_available_bytes - GIB


def test_a_lesson_is_about_the_most_memory_that_was_available() -> None:
    more = board(TIGHT.memory_available_bytes + 256 * MIB)
    for before, after in ((more, TIGHT), (TIGHT, more)):
        lesson = Recovery().attempt_after(crash(ALLOCATOR, after, before=before)).lesson
        assert lesson is not None
        assert lesson.available_bytes == more.memory_available_bytes
    plenty = board(30 * GIB)
    lesson = Recovery().attempt_after(crash(ALLOCATOR, plenty, before=plenty)).lesson
    assert lesson is not None
    assert lesson.available_bytes == plenty.memory_total_bytes


def test_each_silence_in_a_row_leaves_less_memory() -> None:
    recovery, total = ready_once(), PLAN.memory.total_bytes
    budgets = []
    for _ in range(5):
        recovery.attempt_after(crash(SILENT, served_s=1.0))
        budgets.append(recovery.within(board(30 * GIB)).memory_available_bytes)
    step = total - budgets[0]
    assert step >= 128 * MIB
    assert budgets == [total - step * steps for steps in (1, 1, 1, 2, 3)]


def test_a_ram_budget_says_nothing_where_ram_is_the_models_memory() -> None:
    assert Recovery(host_budget_bytes=GIB).within(TIGHT) == TIGHT
    apart = dataclasses.replace(TIGHT, unified_memory=False, host_memory_available_bytes=3 * GIB)
    assert Recovery().within(apart) == apart
    assert Recovery(host_budget_bytes=GIB).within(apart).host_memory_available_bytes == GIB


def test_the_room_left_for_others_grows_to_four_steps() -> None:
    recovery = Recovery()
    step = max(128 * MIB, PLAN.memory.total_bytes // 20)
    left = []
    for _ in range(7):
        recovery.attempt_after(crash(KERNEL_KILL, less(TIGHT, GIB)))
        left.append(recovery.spare_bytes // step)
    assert left == [0, 1, 2, 3, 4, 4, 4]


def test_failed_starts_are_counted_anew_after_a_recovery() -> None:
    def surprises() -> list[Cause]:
        return [
            Cause("engine_error", Message("errors.verbatim", sentence=f"KeyError: {number}", hint=""))
            for number in range(MAX_FAILED_STARTS - 1)
        ]

    recovery = Recovery()
    starts(recovery, *surprises())
    assert recovery.recovered(PLAN, at=1.0) is not None
    assert recovery.recovered(PLAN, at=2.0) is None, "there was nothing to recover from"
    starts(recovery, *surprises())


def test_memory_is_waited_for_by_the_most_that_was_available() -> None:
    recovery = ready_once()
    roomy, after = board(10 * GIB), board(GIB)
    for seen in (board(5 * GIB), roomy, board(6 * GIB)):
        recovery.within(seen)
    refused = plan_on(after)
    assert refused.shortfall_bytes < 9 * GIB
    recovery.attempt_without_room(TOO_LARGE, refused, board(10 * GIB - refused.shortfall_bytes))
    with pytest.raises(DoesNotFitError) as caught:
        recovery.attempt_without_room(TOO_LARGE, refused, board(10 * GIB - refused.shortfall_bytes + 1))
    assert caught.value is TOO_LARGE


def test_every_kind_of_change_is_said() -> None:
    settings, context = PLAN.settings, PLAN.context

    def codes(**changed: object) -> list[tuple[str, dict[str, object]]]:
        parts = {
            "settings": dataclasses.replace(settings, **{k: v for k, v in changed.items() if hasattr(settings, k)}),  # type: ignore[arg-type]
            "context": dataclasses.replace(context, **{k: v for k, v in changed.items() if hasattr(context, k)}),  # type: ignore[arg-type]
        }
        message = change_message(PLAN, dataclasses.replace(PLAN, **parts))  # type: ignore[arg-type]
        changes = message.params["changes"]
        assert isinstance(changes, tuple)
        return [(change.code, dict(change.params)) for change in changes]

    assert codes(kv_cache_dtype="fp8") == [("deploy.cache_bits", {"bits": 8})]
    assert codes(videos_per_prompt=settings.videos_per_prompt + 1) == [("deploy.clips_again", {})]
    assert codes(graphs=Graphs.EAGER) == [("deploy.execution", {"now": "eager", "before": settings.graphs.value})]
    (pictures,) = codes(images_per_request=9)
    assert pictures == ("deploy.fewer_pictures", {"pictures": 9, "before": context.images_per_request})
    (pixels,) = codes(image_max_pixels=50_000)
    assert pixels[0] == "deploy.smaller_pictures"
    (fewer,) = codes(concurrency=2)
    assert fewer[0] == "deploy.requests"
    (one,) = codes(concurrency=1)
    assert one[0] == "deploy.one_request"
    (shorter,) = codes(max_model_len=640)
    assert shorter == ("deploy.other_context", {"tokens": 640, "tokens_before": context.max_model_len})


def test_much_memory_is_free_where_it_exceeds_the_plan_by_more_than_half() -> None:
    planned = PLAN.memory.total_bytes - PLAN.memory.reserve_bytes
    for spare, fault in ((planned // 2, Fault.ENGINE), (planned // 2 + 1, Fault.TRANSIENT)):
        device = board(planned + spare)
        assert fault_of(crash(KERNEL_KILL, device, before=device), 1) is fault


def test_only_a_broken_engine_is_reinstalled() -> None:
    recovery = Recovery()
    attempts = starts(recovery, KILLED, ALLOCATOR, SILENT_KILL, SILENT)
    attempts.append(recovery.attempt_after(crash(KERNEL_KILL, less(TIGHT, GIB))))
    attempts.append(recovery.attempt_without_room(TOO_LARGE, plan_on(board(GIB)), TIGHT))
    assert [attempt.remake for attempt in attempts] == [False] * 6


def test_what_a_process_that_was_not_there_before_holds_was_taken_by_it() -> None:
    reason = Recovery().attempt_after(crash(KERNEL_KILL, less(TIGHT, GIB, OtherProcess("python3", 5, GIB)))).reason
    assert reason.params["taker"] == Message("deploy.process_took", name="python3", pid=5, taken_bytes=GIB)


def test_a_first_start_is_attempted_nine_times_while_others_end_it() -> None:
    recovery = Recovery()
    assert len(starts(recovery, *[KILLED] * 8)) == 8
    with pytest.raises(EngineDiedError):
        starts(recovery, KILLED)


@pytest.mark.parametrize("served_s", [LONG_RUN_S, LONG_RUN_S + 1])
def test_after_a_long_run_all_memory_may_be_used_again(served_s: float) -> None:
    recovery = Recovery(budget_bytes=GIB, host_budget_bytes=GIB, spare_bytes=GIB)
    recovery.attempt_after(crash(KILLED, served_s=served_s))
    assert recovery.within(TIGHT) == TIGHT
    recovery = Recovery(budget_bytes=GIB)
    recovery.attempt_after(crash(KILLED, served_s=LONG_RUN_S - 1))
    assert recovery.within(TIGHT).memory_available_bytes == GIB


@pytest.mark.parametrize("cause", [ALLOCATOR, KERNEL_KILL, SILENT_KILL])
def test_memory_that_ran_out_with_a_request_in_flight_is_the_request_s_fault_once(cause: Cause) -> None:
    recovery = Recovery()
    attempt = recovery.attempt_after(crash(cause, served_s=30.0, broke_off=True))
    assert (attempt.lesson, attempt.delay_s) == (None, 0.0)
    assert recovery.blames_request
    assert recovery.within(TIGHT) == TIGHT
    assert "a request needed more than the" in say(attempt.reason)
    again = recovery.attempt_after(crash(cause, served_s=30.0, broke_off=True))
    assert again.lesson is not None
    assert not recovery.blames_request


def test_a_request_is_not_to_blame_for_memory_that_others_took() -> None:
    recovery = Recovery()
    recovery.attempt_after(crash(KERNEL_KILL, less(TIGHT, 3 * GIB), served_s=30.0, broke_off=True))
    assert not recovery.blames_request

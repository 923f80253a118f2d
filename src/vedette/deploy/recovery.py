"""After an engine's death: whether to start again, when, with how much memory, what is learned and what is said. Pure.

The ladder of smaller plans is the planner's own: it is told of less memory, by a lesson that is kept
(plan/calibration.py) or, where the plan was not at fault, for this time only. Each step down is at least 128 MiB and
the ladder has an end, so what does not fit ends in a sentence and never in a loop. The way back up is taken by a later
start alone: a service is not interrupted for it.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from vedette.device.device import Device
from vedette.engine.vllm.causes import KERNEL_KILL, SILENT_KILL, Outlook, outlook_of
from vedette.errors import Cause, DoesNotFitError, EngineDiedError
from vedette.events import Note, Recovered, ServedWith
from vedette.language.message import Message
from vedette.plan.calibration import Lesson, learned, smaller_budget_bytes, step_bytes
from vedette.plan.plan import Plan
from vedette.units import MIB, size

STEADY_S = 10.0
"""After so long a service the next start need not wait."""
ROOMY_S = 600.0
"""After so long a service the memory was enough: a lack of it is a new one."""
LONG_SERVICE_S = 3600.0
"""A service that counts against lessons, and after which the next start may try all that there is."""
BACKOFF_S = 2.0
LONGEST_BACKOFF_S = 30.0
MEMORY_POLL_S = 10.0
"""Between two looks whether memory that others hold has come back."""
MOST_UNREADY = 8
"""Starts one after another that end in ways of which nothing is known, each its own."""
TAKEN_BYTES = 64 * MIB
"""What is free goes up and down by less than this without anybody's doing."""
MOST_ROOM_STEPS = 4
MOST_KEPT = 16


class Fault(Enum):
    """Whose doing a lack of memory was."""

    ENGINE = "engine"
    """It took more than was planned for it: that is a lesson for every later plan."""
    OTHERS = "others"
    """What was planned for it is not there any more: the next plan is made for what is."""
    NOBODY = "nobody"
    """All that was planned and much more is free again: something took it for a moment."""


@dataclass(frozen=True)
class Fall:
    """An engine's death."""

    cause: Cause
    plan: Plan
    """What it ran."""
    before: Device
    """What the plan was made for, before `Recovery.within`."""
    after: Device
    """The same once nothing of the engine was left."""
    served_s: float | None
    """None: it never was ready."""


@dataclass(frozen=True)
class Attempt:
    """The next start."""

    delay_s: float
    story: str
    """Why there has to be one: a sentence or two."""
    lesson: Lesson | None = None
    """To be kept before the next plan is made."""
    remake: bool = False
    """The engine's software has to be made anew before."""


@dataclass
class Recovery:
    """What one deployment has learned from the deaths of its engine."""

    budget_bytes: int | None = None
    """A plan may take no more than this for now. None: as much as there is."""
    host_budget_bytes: int | None = None
    """The same of the RAM beside a discrete GPU."""
    room_bytes: int = 0
    """To be left free beside a plan: others go on taking memory."""
    in_a_row: int = 0
    """Deaths with no steady service between them."""
    shortages: int = 0
    """Deaths by lack of memory, with no roomy service between them."""
    served: bool = False
    """It has been ready once. What has not is neither waited for nor started for ever."""
    history: deque[Recovered] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    """What was recovered from, oldest first."""
    _unready: int = 0
    _last: Cause | None = None
    """Of the last start, if it ended before it was ready in a way that may be its way."""
    _widest: Device | None = None
    """What a plan was made for when most was available."""
    _before: Plan | None = None
    """What it served with, or was to, before the first of the deaths that it has not come back from yet."""
    _again: bool = False
    """It had served before that."""
    _cause: Cause | None = None
    """Of the last of them."""
    _fault: Fault | None = None
    _story: str = ""

    def within(self, device: Device) -> Device:
        """The device with what the next plan may take of it; to be asked before every plan that is to be started."""
        if self._widest is None or _available_bytes(device) > _available_bytes(self._widest):
            self._widest = device
        available, host = device.memory_available_bytes - self.room_bytes, device.host_memory_available_bytes
        if self.budget_bytes is not None:
            available = min(available, self.budget_bytes)
        if host is not None and self.host_budget_bytes is not None:
            host = min(host, self.host_budget_bytes)
        return replace(device, memory_available_bytes=max(0, available), host_memory_available_bytes=host)

    def attempt_after(self, fall: Fall) -> Attempt:
        """The next start. Raises EngineDiedError where it would only end the same way."""
        served_s = fall.served_s or 0.0
        if served_s >= STEADY_S:
            self.in_a_row = 0
        if served_s >= ROOMY_S:
            self.shortages = 0
        if served_s >= LONG_SERVICE_S:
            self.budget_bytes = self.host_budget_bytes = None
            self.room_bytes = 0
        self.in_a_row += 1
        self.served = self.served or fall.served_s is not None
        if self._before is None:
            self._before, self._again = fall.plan, self.served
        self._cause, self._fault, self._story = fall.cause, None, fall.cause.sentence
        outlook = outlook_of(fall.cause)
        self._refuse_repetition(fall, outlook)
        if outlook is Outlook.SMALLER:
            return self._with_less(fall)
        return Attempt(self._backoff_s(), self._story, remake=outlook is Outlook.REMADE)

    def attempt_without_room(self, error: DoesNotFitError, plan: Plan, now: Device) -> Attempt:
        """The next look at the memory, where what others have taken would do for `plan`, the least of use.

        now: before `within`. Raises DoesNotFitError, with what led to it, where that would not do or it never served.
        """
        if self.room_bytes:
            self.room_bytes = 0
            return Attempt(BACKOFF_S, self._story)
        taken = _available_bytes(self._widest) - _available_bytes(now) if self._widest else 0
        if not self.served or plan.unsupported is not None or taken < plan.shortfall_bytes:
            raise DoesNotFitError(f"{self._story} {error.sentence}".strip(), error.hint)
        return Attempt(MEMORY_POLL_S, f"{error.sentence} It starts as soon as that is free again.")

    def keep_to(self, lesson: Lesson) -> None:
        """Heeds a lesson here that could not be kept."""
        self.budget_bytes = lesson.at_most_bytes

    def recovered(self, plan: Plan, at: float) -> Note:
        """It serves again: the event that says with what, and why. at: Unix time in seconds."""
        assert self._before is not None and self._cause is not None  # noqa: S101, PT018 - it has died
        before, self._before = self._before, None
        self._last, self._unready, self.served = None, 0, True
        sentence = f"{self._story} {'Serving again' if self._again else 'Serving'} {change_in_words(before, plan)}."
        recovery = Recovered(
            at=at,
            code=self._cause.code,
            fault=None if self._fault is None else self._fault.value,
            message=Message("errors.verbatim", sentence=sentence, hint=""),
            deaths=self.in_a_row,
            before=_served_with(before),
            now=_served_with(plan),
        )
        self.history.append(recovery)
        return Note(recovery.message, recovery=recovery)

    def _refuse_repetition(self, fall: Fall, outlook: Outlook) -> None:
        """A start that ends twice in the same way will do so a third time; what dies while it serves has started."""
        if fall.served_s is not None:
            self._unready, self._last = 0, None
            return
        endless = outlook is Outlook.SAME or fall.cause.code == "memory_taken"
        if endless and self.in_a_row > MOST_UNREADY and not self.served:
            raise EngineDiedError(fall.cause)
        if outlook is Outlook.SAME or fall.cause.code in ("out_of_memory", "memory_taken"):
            self._last = None
            return
        self._unready += 1
        again, self._last = fall.cause == self._last, fall.cause
        if again or self._unready >= MOST_UNREADY:
            message = Message("deploy.same_end", cause=fall.cause.message, starts=self._unready, hint=fall.cause.hint)
            raise EngineDiedError(replace(fall.cause, message=message))
        if outlook is Outlook.HOPELESS and not self.served:
            raise EngineDiedError(fall.cause)

    def _with_less(self, fall: Fall) -> Attempt:
        self.shortages += 1
        if fall.cause.code == "silent":  # a slow disk looks the same: nothing to be learned for good
            self.budget_bytes = smaller_budget_bytes(fall.plan.memory.total_bytes, self.shortages)
            return Attempt(BACKOFF_S, self._story)
        self._fault = fault_of(fall, self.shortages)
        self._story = _shortage_in_words(fall, self._fault)
        if self._fault is Fault.NOBODY:
            return Attempt(self._backoff_s(), self._story)
        if self._fault is Fault.OTHERS:
            self.room_bytes = step_bytes(fall.plan.memory.total_bytes) * min(self.shortages - 1, MOST_ROOM_STEPS)
            return Attempt(self._backoff_s(), self._story)
        if _lacks_host_memory(fall):
            self.host_budget_bytes = smaller_budget_bytes(fall.plan.memory.host_bytes, self.shortages)
            return Attempt(BACKOFF_S, self._story)
        lesson = learned(fall.plan, _lesson_available_bytes(fall), self.shortages)
        self._story += f" From now on plans keep {size(lesson.planned_bytes - lesson.at_most_bytes)} below that."
        return Attempt(BACKOFF_S, self._story, lesson)

    def _backoff_s(self) -> float:
        """None after steady service: whoever uses it waits for nothing else."""
        if self.in_a_row <= 1:
            return 0.0
        return min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** min(self.in_a_row - 2, 10))


def fault_of(fall: Fall, shortages: int) -> Fault:
    """Whose doing it was that memory ran out; shortages: how often it did in a row."""
    planned, before, after = _memory(fall)
    if fall.cause.code == "memory_taken" or (after < planned and before - after > TAKEN_BYTES):
        return Fault.OTHERS
    killed = fall.cause in (KERNEL_KILL, SILENT_KILL)
    return Fault.NOBODY if killed and shortages == 1 and _much_is_left(fall) else Fault.ENGINE


def change_in_words(before: Plan, now: Plan) -> str:
    """What is served with now, beside what was before: the end of a sentence."""
    changes = list(_changes(before, now))
    return f"with {', '.join(changes)}" if changes else "as planned before"


def _changes(before: Plan, now: Plan) -> Iterator[str]:
    then, context = before.context, now.context
    if now.model_name != before.model_name:
        yield f"{now.model_name} instead of {before.model_name}"
    counts, lengths = (context.concurrency, then.concurrency), (context.max_model_len, then.max_model_len)
    if counts[0] != counts[1]:
        yield f"{_requests(counts[0])} of {lengths[0]:,} tokens instead of {counts[1]} of {lengths[1]:,}"
    elif lengths[0] != lengths[1]:
        yield f"{lengths[0]:,} tokens instead of {lengths[1]:,}"
    if context.images_per_request != then.images_per_request:
        yield f"{context.images_per_request} pictures a request instead of {then.images_per_request}"
    elif context.image_max_pixels != then.image_max_pixels and context.image_max_pixels and then.image_max_pixels:
        yield f"pictures of {context.image_max_pixels:,} pixels instead of {then.image_max_pixels:,}"
    settings, old = now.settings, before.settings
    if settings.videos_per_prompt != old.videos_per_prompt:
        yield "clips again" if settings.videos_per_prompt else "no clips any more"
    if settings.kv_cache_dtype != old.kv_cache_dtype:
        yield f"a KV cache of {'8' if settings.kv_cache_dtype else '16'} bits"
    if settings.graphs is not old.graphs:
        yield f"{settings.graphs.value} execution instead of {old.graphs.value}"


def _requests(count: int) -> str:
    return f"{count} requests" if count > 1 else "one request"


def _served_with(plan: Plan) -> ServedWith:
    context, settings = plan.context, plan.settings
    return ServedWith(
        model=plan.model_name,
        total_bytes=plan.memory.total_bytes,
        max_model_len=context.max_model_len,
        concurrency=context.concurrency,
        images_per_request=context.images_per_request,
        image_max_pixels=context.image_max_pixels,
        videos_per_request=settings.videos_per_prompt,
        kv_cache_dtype=settings.kv_cache_dtype,
        graphs=settings.graphs.value,
    )


def _shortage_in_words(fall: Fall, fault: Fault) -> str:
    planned, before, after = _memory(fall)
    told = f"Out of memory while {'starting' if fall.served_s is None else 'serving'}"
    if fault is Fault.ENGINE:
        return f"{told}: the engine took more than the {size(planned)} planned for it."
    if fault is Fault.NOBODY:
        return f"{told}: something else took it for a moment; {size(after)} are free again, {size(planned)} are needed."
    if before - after <= TAKEN_BYTES:
        return f"{told}: another program held part of the {size(planned)} planned, and has let go of it."
    return f"{told}: {size(after)} were left of the {size(planned)} planned, because {_taker_in_words(fall)}."


def _taker_in_words(fall: Fall) -> str:
    """Who took the memory, as far as that can be seen."""
    if fall.after.memory_total_bytes < fall.before.memory_total_bytes:
        total, less = fall.before.memory_total_bytes, fall.after.memory_total_bytes
        return f"all there is went from {size(total)} to {size(less)}"
    held = {process.pid: process.resident_bytes for process in fall.before.other_processes}
    grown = {each: each.resident_bytes - held.get(each.pid, 0) for each in fall.after.other_processes}
    most = max(grown, key=lambda process: grown[process], default=None)
    if most is not None and grown[most] > TAKEN_BYTES:
        return f"{most.name} (process {most.pid}) took {size(grown[most])}"
    _, before, after = _memory(fall)
    return f"others took {size(before - after)}"


def _memory(fall: Fall) -> tuple[int, int, int]:
    """What was planned of the memory that ran out, and how much of that was and is available."""
    memory = fall.plan.memory
    if _lacks_host_memory(fall):
        then, now = fall.before.host_memory_available_bytes, fall.after.host_memory_available_bytes
        return memory.host_bytes, then or 0, now or 0
    planned = memory.total_bytes - memory.reserve_bytes
    return planned, fall.before.memory_available_bytes, fall.after.memory_available_bytes


def _lacks_host_memory(fall: Fall) -> bool:
    """The kernel kills for RAM, of which the model's memory is no part beside a discrete GPU."""
    return fall.plan.memory.host_available_bytes is not None and fall.cause in (KERNEL_KILL, SILENT_KILL)


def _much_is_left(fall: Fall) -> bool:
    """So much beyond the plan is free that no plan is wrong by it."""
    planned, _, after = _memory(fall)
    return after - planned > planned // 2


def _lesson_available_bytes(fall: Fall) -> int:
    """What the lesson is of: with more than that there may be more. Where much was left, it was not for want of it."""
    if _much_is_left(fall):
        return fall.before.memory_total_bytes
    return max(fall.before.memory_available_bytes, fall.after.memory_available_bytes)


def _available_bytes(device: Device) -> int:
    return device.memory_available_bytes + (device.host_memory_available_bytes or 0)

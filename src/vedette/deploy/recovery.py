"""What follows an engine's crash: another attempt or none, its delay, its memory, the lesson, and what is said. Pure.

Smaller plans are made by the plan itself, which is given less memory: by a lesson that is recorded
(plan/calibration.py) or, where the plan was not at fault, for this attempt only. Each step down is at least 128 MiB and
the smallest plan is known, so a model that does not fit ends in an error and never in a loop. Only a later start tries
more memory again: a running service is not interrupted for that.
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
from vedette.units import MIB

STEADY_RUN_S = 10.0
"""After a run of this length the next attempt is made without delay."""
ROOMY_RUN_S = 600.0
"""After a run of this length the memory was enough, and a lack of memory is a new one."""
LONG_RUN_S = 3600.0
"""A run of this length counts against lessons, and the next attempt may use all memory."""
BACKOFF_S = 2.0
LONGEST_BACKOFF_S = 30.0
MEMORY_POLL_S = 10.0
"""Time between two looks whether other programs have freed memory."""
MAX_FAILED_STARTS = 8
"""Failed starts in a row, each with another unknown cause."""
TAKEN_BYTES = 64 * MIB
"""Free memory varies by less than this with no program at fault."""
MAX_SPARE_STEPS = 4
MAX_HISTORY = 16


class Fault(Enum):
    """Who took the memory that ran out."""

    ENGINE = "engine"
    """The engine took more than planned: a lesson for every later plan."""
    OTHERS = "others"
    """Other programs took what was planned: the next plan is made for what is left."""
    NOBODY = "nobody"
    """All of it and much more is free again: something took it for a moment."""


@dataclass(frozen=True)
class Crash:
    """The end of an engine that nobody stopped."""

    cause: Cause
    plan: Plan
    """The plan that the engine ran."""
    before: Device
    """The device that the plan was made for, before `Recovery.within`."""
    after: Device
    """The device once nothing of the engine was left."""
    served_s: float | None
    """How long the engine was ready; None if it never was."""


@dataclass(frozen=True)
class Attempt:
    """The next start."""

    delay_s: float
    reason: Message
    """Why it is made."""
    lesson: Lesson | None = None
    """To be recorded before the next plan is made."""
    remake: bool = False
    """The engine's software has to be reinstalled first."""


@dataclass(frozen=True)
class _Trouble:
    """Crashes that are not recovered from yet."""

    plan: Plan
    """Of the engine before the first of them."""
    had_served: bool
    cause: Cause
    """Of the last of them."""
    reason: Message
    """What the last of them came from."""
    fault: Fault | None = None


@dataclass
class Recovery:
    """What crashes of one model's engine have taught a deployment."""

    budget_bytes: int | None = None
    """Memory that a plan may use for now; None for all that is available."""
    host_budget_bytes: int | None = None
    """RAM that it may use beside a discrete GPU; None for all that is available."""
    spare_bytes: int = 0
    """Memory to leave free beside a plan, because other programs keep taking more."""
    crashes_in_a_row: int = 0
    """Crashes with no steady run between them."""
    shortages: int = 0
    """Crashes by lack of memory with no roomy run between them."""
    served: bool = False
    """Whether the engine has been ready once. One that never was is not started again for ever."""
    history: deque[Recovered] = field(default_factory=lambda: deque(maxlen=MAX_HISTORY))
    """The crashes that were recovered from, oldest first."""
    _failed_starts: int = 0
    _recurring: Cause | None = None
    """Cause of the last failed start, if it may recur."""
    _roomiest: Device | None = None
    """The device when most memory was available to a plan."""
    _trouble: _Trouble | None = None

    def within(self, device: Device) -> Device:
        """The device with the memory that the next plan may use. Call it before each plan that is to be started."""
        if self._roomiest is None or _available_bytes(device) > _available_bytes(self._roomiest):
            self._roomiest = device
        available, host = device.memory_available_bytes - self.spare_bytes, device.host_memory_available_bytes
        if self.budget_bytes is not None:
            available = min(available, self.budget_bytes)
        if host is not None and self.host_budget_bytes is not None:
            host = min(host, self.host_budget_bytes)
        return replace(device, memory_available_bytes=max(0, available), host_memory_available_bytes=host)

    def attempt_after(self, crash: Crash) -> Attempt:
        """The next start. Raises EngineDiedError where it would end in the same way."""
        served_s = crash.served_s or 0.0
        if served_s >= STEADY_RUN_S:
            self.crashes_in_a_row = 0
        if served_s >= ROOMY_RUN_S:
            self.shortages = 0
        if served_s >= LONG_RUN_S:
            self.budget_bytes = self.host_budget_bytes = None
            self.spare_bytes = 0
        self.crashes_in_a_row += 1
        self.served = self.served or crash.served_s is not None
        first = self._trouble or _Trouble(crash.plan, self.served, crash.cause, crash.cause.message)
        self._trouble = replace(first, cause=crash.cause, reason=crash.cause.message, fault=None)
        outlook = outlook_of(crash.cause)
        self._refuse_repetition(crash, outlook)
        if outlook is not Outlook.SMALLER:
            return Attempt(self._backoff_s(), crash.cause.message, remake=outlook is Outlook.REMADE)
        if crash.cause.code == "silent":
            return self._attempt_after_silence(crash)
        attempt, fault = self._attempt_with_less(crash)
        self._trouble = replace(self._trouble, reason=attempt.reason, fault=fault)
        return attempt

    def attempt_without_room(self, error: DoesNotFitError, plan: Plan, now: Device) -> Attempt:
        """The next look at the memory, where `plan`, the smallest useful one, fits once others free what they took.

        now: the device before `within`. Raises DoesNotFitError, with the crash that led to it, where that would not be
        enough or where the engine never served.
        """
        reason = error.message if self._trouble is None else self._trouble.reason
        if self.spare_bytes:
            self.spare_bytes = 0
            return Attempt(BACKOFF_S, reason)
        taken = _available_bytes(self._roomiest) - _available_bytes(now) if self._roomiest else 0
        if self.served and plan.unsupported is None and taken >= plan.shortfall_bytes:
            return Attempt(MEMORY_POLL_S, Message("deploy.waits_for_memory", error=error.message))
        if self._trouble is None:
            raise error
        raise DoesNotFitError("deploy.no_room_after_crash", crash=reason, error=error.message, hint=error.hint)

    def limit_to(self, lesson: Lesson) -> None:
        """Applies a lesson here that could not be recorded."""
        self.budget_bytes = lesson.at_most_bytes

    def mark_served(self) -> None:
        """The engine is ready."""
        self.served = True

    def recovered(self, plan: Plan, at: float) -> Note | None:
        """The note about the crashes that are over now, and what changed by them; None where there was none.

        at: Unix time in seconds.
        """
        trouble, self._trouble = self._trouble, None
        self._recurring, self._failed_starts, self.served = None, 0, True
        if trouble is None:
            return None
        changes = change_message(trouble.plan, plan)
        again = Message("deploy.serving_again", crash=trouble.reason, changes=changes)
        message = again if trouble.had_served else Message("deploy.serving", crash=trouble.reason, changes=changes)
        recovery = Recovered(
            at=at,
            code=trouble.cause.code,
            fault=None if trouble.fault is None else trouble.fault.value,
            message=message,
            deaths=self.crashes_in_a_row,
            before=_served_with(trouble.plan),
            now=_served_with(plan),
        )
        self.history.append(recovery)
        return Note(message, recovery=recovery)

    def _refuse_repetition(self, crash: Crash, outlook: Outlook) -> None:
        """Raises EngineDiedError for a failed start that would fail again; a crash while serving is no failed start."""
        if crash.served_s is not None:
            self._failed_starts, self._recurring = 0, None
            return
        from_outside = outlook is Outlook.SAME or crash.cause.code == "memory_taken"
        if from_outside and self.crashes_in_a_row > MAX_FAILED_STARTS and not self.served:
            raise EngineDiedError(crash.cause)
        if outlook is Outlook.SAME or crash.cause.code in ("out_of_memory", "memory_taken"):
            self._recurring = None
            return
        self._failed_starts += 1
        again, self._recurring = crash.cause == self._recurring, crash.cause
        if again or self._failed_starts >= MAX_FAILED_STARTS:
            starts, hint = self._failed_starts, crash.cause.hint
            message = Message("deploy.same_end", cause=crash.cause.message, starts=starts, hint=hint)
            raise EngineDiedError(replace(crash.cause, message=message))
        if outlook is Outlook.HOPELESS and not self.served:
            raise EngineDiedError(crash.cause)

    def _attempt_after_silence(self, crash: Crash) -> Attempt:
        """A lack of memory or a slow disk, which look the same: no lesson."""
        self.shortages += 1
        self.budget_bytes = smaller_budget_bytes(crash.plan.memory.total_bytes, self.shortages)
        return Attempt(BACKOFF_S, crash.cause.message)

    def _attempt_with_less(self, crash: Crash) -> tuple[Attempt, Fault]:
        self.shortages += 1
        fault = fault_of(crash, self.shortages)
        reason = _shortage_message(crash, fault)
        if fault is Fault.NOBODY:
            return Attempt(self._backoff_s(), reason), fault
        if fault is Fault.OTHERS:
            steps = min(self.shortages - 1, MAX_SPARE_STEPS)
            self.spare_bytes = step_bytes(crash.plan.memory.total_bytes) * steps
            return Attempt(self._backoff_s(), reason), fault
        if _lacks_host_memory(crash):
            self.host_budget_bytes = smaller_budget_bytes(crash.plan.memory.host_bytes, self.shortages)
            return Attempt(BACKOFF_S, reason), fault
        lesson = learned(crash.plan, _lesson_available_bytes(crash), self.shortages)
        kept_free = lesson.planned_bytes - lesson.at_most_bytes
        return Attempt(BACKOFF_S, Message("deploy.lesson", shortage=reason, kept_free_bytes=kept_free), lesson), fault

    def _backoff_s(self) -> float:
        """No delay after a steady run: users are waiting."""
        if self.crashes_in_a_row <= 1:
            return 0.0
        return min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** min(self.crashes_in_a_row - 2, 10))


def fault_of(crash: Crash, shortages: int) -> Fault:
    """Who took the memory. shortages: how often it ran out in a row."""
    planned, before, after = _memory(crash)
    if crash.cause.code == "memory_taken" or (after < planned and before - after > TAKEN_BYTES):
        return Fault.OTHERS
    killed = crash.cause in (KERNEL_KILL, SILENT_KILL)
    return Fault.NOBODY if killed and shortages == 1 and _much_is_free(crash) else Fault.ENGINE


def change_message(before: Plan, now: Plan) -> Message:
    """How the plan differs from the one before: the end of a sentence."""
    changes = tuple(_changes(before, now))
    return Message("deploy.with_changes", changes=changes) if changes else Message("deploy.as_before")


def _changes(before: Plan, now: Plan) -> Iterator[Message]:
    then, context = before.context, now.context
    if now.model_name != before.model_name:
        yield Message("deploy.other_model", now=now.model_name, before=before.model_name)
    tokens, tokens_before = context.max_model_len, then.max_model_len
    requests, requests_before = context.concurrency, then.concurrency
    if requests == 1 != requests_before:
        yield Message("deploy.one_request", tokens=tokens, requests_before=requests_before, tokens_before=tokens_before)
    elif requests != requests_before:
        yield Message(
            "deploy.requests",
            requests=requests,
            tokens=tokens,
            requests_before=requests_before,
            tokens_before=tokens_before,
        )
    elif tokens != tokens_before:
        yield Message("deploy.other_context", tokens=tokens, tokens_before=tokens_before)
    if context.images_per_request != then.images_per_request:
        yield Message("deploy.fewer_pictures", pictures=context.images_per_request, before=then.images_per_request)
    elif context.image_max_pixels != then.image_max_pixels and context.image_max_pixels and then.image_max_pixels:
        yield Message("deploy.smaller_pictures", pixels=context.image_max_pixels, before=then.image_max_pixels)
    settings, old = now.settings, before.settings
    if settings.videos_per_prompt != old.videos_per_prompt:
        yield Message("deploy.clips_again") if settings.videos_per_prompt else Message("deploy.no_clips")
    if settings.kv_cache_dtype != old.kv_cache_dtype:
        yield Message("deploy.cache_bits", bits=8 if settings.kv_cache_dtype else 16)
    if settings.graphs is not old.graphs:
        yield Message("deploy.execution", now=settings.graphs.value, before=old.graphs.value)


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


def _shortage_message(crash: Crash, fault: Fault) -> Message:
    planned, before, after = _memory(crash)
    phase = Message("deploy.while_starting") if crash.served_s is None else Message("deploy.while_serving")
    if fault is Fault.ENGINE:
        return Message("deploy.engine_took_more", phase=phase, planned_bytes=planned)
    if fault is Fault.NOBODY:
        return Message("deploy.taken_for_a_moment", phase=phase, free_bytes=after, planned_bytes=planned)
    if before - after <= TAKEN_BYTES:
        return Message("deploy.taken_and_freed", phase=phase, planned_bytes=planned)
    taker = _taker_message(crash)
    return Message("deploy.taken_by_others", phase=phase, left_bytes=after, planned_bytes=planned, taker=taker)


def _taker_message(crash: Crash) -> Message:
    """The program that took the memory, as far as that can be seen."""
    if crash.after.memory_total_bytes < crash.before.memory_total_bytes:
        total, less = crash.before.memory_total_bytes, crash.after.memory_total_bytes
        return Message("deploy.limit_lowered", before_bytes=total, now_bytes=less)
    held = {process.pid: process.resident_bytes for process in crash.before.other_processes}
    grown = {each: each.resident_bytes - held.get(each.pid, 0) for each in crash.after.other_processes}
    most = max(grown, key=lambda process: grown[process], default=None)
    if most is not None and grown[most] > TAKEN_BYTES:
        return Message("deploy.process_took", name=most.name, pid=most.pid, taken_bytes=grown[most])
    _, before, after = _memory(crash)
    return Message("deploy.others_took", taken_bytes=before - after)


def _memory(crash: Crash) -> tuple[int, int, int]:
    """Bytes that were planned of the memory that ran out, and how much of that memory was and is available."""
    memory = crash.plan.memory
    if _lacks_host_memory(crash):
        then, now = crash.before.host_memory_available_bytes, crash.after.host_memory_available_bytes
        return memory.host_bytes, then or 0, now or 0
    planned = memory.total_bytes - memory.reserve_bytes
    return planned, crash.before.memory_available_bytes, crash.after.memory_available_bytes


def _lacks_host_memory(crash: Crash) -> bool:
    """Beside a discrete GPU the kernel kills for RAM, which is not the model's memory."""
    return crash.plan.memory.host_available_bytes is not None and crash.cause in (KERNEL_KILL, SILENT_KILL)


def _much_is_free(crash: Crash) -> bool:
    """Free memory exceeds the plan by half, so the plan was not the cause."""
    planned, _, after = _memory(crash)
    return after - planned > planned // 2


def _lesson_available_bytes(crash: Crash) -> int:
    """The available memory that the lesson is about; with more, a plan may take more.

    Where much was free, a lack of memory was not the cause, and no more memory changes the lesson.
    """
    if _much_is_free(crash):
        return crash.before.memory_total_bytes
    return max(crash.before.memory_available_bytes, crash.after.memory_available_bytes)


def _available_bytes(device: Device) -> int:
    return device.memory_available_bytes + (device.host_memory_available_bytes or 0)

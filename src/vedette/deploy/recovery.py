"""Decides what follows an engine's crash: whether, when and with how much memory to try again, and why. Pure.

To get a smaller plan, the planner is given less memory. If the plan was at fault, the limit is recorded as a lesson
(plan/calibration.py); otherwise only this deployment keeps it. Each step down is at least 128 MiB and there is a
smallest plan, so a model that does not fit ends in an error and never in a loop. More memory is tried only at a later
start: a running engine is not interrupted for that.
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
"""After a run of this length the plan had enough memory, so the count of shortages starts again."""
LONG_RUN_S = 3600.0
"""A run of this length counts against lessons, and the next attempt may use all available memory."""
BACKOFF_S = 2.0
LONGEST_BACKOFF_S = 30.0
MEMORY_POLL_S = 10.0
"""Time between two checks whether other programs have freed memory."""
MAX_FAILED_STARTS = 8
"""Failed starts in a row, even with different causes, before vedette gives up."""
TAKEN_BYTES = 64 * MIB
"""Free memory may change by this amount without another program having taken it."""
MAX_SPARE_STEPS = 4
MAX_HISTORY = 16


class Fault(Enum):
    """The cause of a memory shortage."""

    ENGINE = "engine"
    """The engine took more than planned. Every later plan learns from this."""
    OTHERS = "others"
    """Other programs took memory that the plan needed. The next plan uses the memory that is left."""
    TRANSIENT = "transient"
    """Unknown: the planned memory and much more is free again, so some program held it only briefly."""


@dataclass(frozen=True)
class Crash:
    """An engine that ended although vedette did not stop it."""

    cause: Cause
    plan: Plan
    """The plan that the engine ran."""
    before: Device
    """The device that the plan was made for, before `Recovery.within`."""
    after: Device
    """The device after all processes of the engine had ended."""
    served_s: float | None
    """How long the engine was ready; None if it was never ready."""


@dataclass(frozen=True)
class Attempt:
    """The next start of the engine."""

    delay_s: float
    reason: Message
    """Why the start is needed."""
    lesson: Lesson | None = None
    """The lesson to record before the next plan is made."""
    remake: bool = False
    """Whether the engine's software has to be reinstalled first."""


@dataclass(frozen=True)
class _Trouble:
    """The crashes since the engine was last ready."""

    plan: Plan
    """The plan of the engine at the first crash."""
    had_served: bool
    """Whether the engine had been ready before or at the first crash."""
    cause: Cause
    """The cause of the last crash."""
    reason: Message
    """The explanation of the last crash for a person."""
    fault: Fault | None = None


@dataclass
class Recovery:
    """The crash history of one model's engine, and the memory limits that follow from it."""

    budget_bytes: int | None = None
    """Present limit of a plan's memory; None for all available memory."""
    host_budget_bytes: int | None = None
    """Present limit of a plan's RAM beside a discrete GPU; None for all available RAM."""
    spare_bytes: int = 0
    """Memory that a plan leaves free, because other programs keep taking more."""
    crashes_in_a_row: int = 0
    """Crashes with no run of `STEADY_RUN_S` between them."""
    shortages: int = 0
    """Memory shortages with no run of `ROOMY_RUN_S` between them."""
    served: bool = False
    """Whether the engine has been ready once. If not, the number of attempts is limited."""
    history: deque[Recovered] = field(default_factory=lambda: deque(maxlen=MAX_HISTORY))
    """The recoveries, oldest first."""
    _failed_starts: int = 0
    _recurring: Cause | None = None
    """Cause of the last failed start, if it may recur."""
    _roomiest: Device | None = None
    """The device at the time when the most memory was available to a plan."""
    _trouble: _Trouble | None = None

    def within(self, device: Device) -> Device:
        """Return the device with the memory that the next plan may use. Call this before each plan of a start."""
        if self._roomiest is None or _available_bytes(device) > _available_bytes(self._roomiest):
            self._roomiest = device
        available, host = device.memory_available_bytes - self.spare_bytes, device.host_memory_available_bytes
        if self.budget_bytes is not None:
            available = min(available, self.budget_bytes)
        if host is not None and self.host_budget_bytes is not None:
            host = min(host, self.host_budget_bytes)
        return replace(device, memory_available_bytes=max(0, available), host_memory_available_bytes=host)

    def attempt_after(self, crash: Crash) -> Attempt:
        """Return the next start after a crash. Raises EngineDiedError where it would fail in the same way."""
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
        """Return the next attempt when no plan fits now, but may fit once other programs free memory.

        plan: the smallest useful plan. now: the device before `within`. Raises DoesNotFitError where the memory that
        other programs took would not be enough, or where the engine was never ready; it names the crash, if any.
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
        """Apply a lesson that could not be recorded to this deployment only."""
        self.budget_bytes = lesson.at_most_bytes

    def mark_served(self) -> None:
        """Note that the engine is ready."""
        self.served = True

    def recovered(self, plan: Plan, at: float) -> Note | None:
        """Record that the engine is ready after crashes; return the note that explains them, None without a crash.

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
        """Raise EngineDiedError if this start failed and the next would too. Ignores a crash while serving."""
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
        """Return an attempt with less memory, but no lesson: a silent engine may lack memory or have a slow disk."""
        self.shortages += 1
        self.budget_bytes = smaller_budget_bytes(crash.plan.memory.total_bytes, self.shortages)
        return Attempt(BACKOFF_S, crash.cause.message)

    def _attempt_with_less(self, crash: Crash) -> tuple[Attempt, Fault]:
        """Return the next attempt after a memory shortage, and the fault. Sets the limits of the next plan."""
        self.shortages += 1
        fault = fault_of(crash, self.shortages)
        reason = _shortage_message(crash, fault)
        if fault is Fault.TRANSIENT:
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
        """Return the delay before the next attempt. No delay after a steady run: users are waiting."""
        if self.crashes_in_a_row <= 1:
            return 0.0
        return min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** min(self.crashes_in_a_row - 2, 10))


def fault_of(crash: Crash, shortages: int) -> Fault:
    """Return the cause of a memory shortage. shortages: in a row, including this one."""
    planned, before, after = _memory(crash)
    if crash.cause.code == "memory_taken" or (after < planned and before - after > TAKEN_BYTES):
        return Fault.OTHERS
    killed = crash.cause in (KERNEL_KILL, SILENT_KILL)
    return Fault.TRANSIENT if killed and shortages == 1 and _much_is_free(crash) else Fault.ENGINE


def change_message(before: Plan, now: Plan) -> Message:
    """Return how the new plan differs from the old one, as the end of a sentence."""
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
    if fault is Fault.TRANSIENT:
        return Message("deploy.taken_for_a_moment", phase=phase, free_bytes=after, planned_bytes=planned)
    if before - after <= TAKEN_BYTES:
        return Message("deploy.taken_and_freed", phase=phase, planned_bytes=planned)
    taker = _taker_message(crash)
    return Message("deploy.taken_by_others", phase=phase, left_bytes=after, planned_bytes=planned, taker=taker)


def _taker_message(crash: Crash) -> Message:
    """Return the sentence part that names the program that took the memory, or only the amount if none is found."""
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
    """Return the planned bytes of the memory that ran out, and its available bytes before and after the run."""
    memory = crash.plan.memory
    if _lacks_host_memory(crash):
        then, now = crash.before.host_memory_available_bytes, crash.after.host_memory_available_bytes
        return memory.host_bytes, then or 0, now or 0
    planned = memory.total_bytes - memory.reserve_bytes
    return planned, crash.before.memory_available_bytes, crash.after.memory_available_bytes


def _lacks_host_memory(crash: Crash) -> bool:
    """Return whether RAM ran out and not the GPU's memory: with a discrete GPU, the kernel kills only for RAM."""
    return crash.plan.memory.host_available_bytes is not None and crash.cause in (KERNEL_KILL, SILENT_KILL)


def _much_is_free(crash: Crash) -> bool:
    """Free memory exceeds the plan by half, so the plan was not the cause."""
    planned, _, after = _memory(crash)
    return after - planned > planned // 2


def _lesson_available_bytes(crash: Crash) -> int:
    """Return the available memory above which the lesson no longer limits a plan.

    If much memory was free, a shortage was not the cause. Then the lesson holds for the device's whole memory.
    """
    if _much_is_free(crash):
        return crash.before.memory_total_bytes
    return max(crash.before.memory_available_bytes, crash.after.memory_available_bytes)


def _available_bytes(device: Device) -> int:
    return device.memory_available_bytes + (device.host_memory_available_bytes or 0)

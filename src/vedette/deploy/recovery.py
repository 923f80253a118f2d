"""Decides what follows an engine's crash: whether, when and with how much memory to try again, and why. Pure.

To get a smaller plan, the planner is given less memory. If the plan was at fault, the limit is recorded as a lesson
(plan/calibration.py); otherwise only this deployment keeps it. Each step down is at least 128 MiB and there is a
smallest plan, so a model that does not fit ends in an error and never in a loop. More memory is tried only at a later
start: a running engine is not interrupted for that.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from vedette.deploy.crash import (
    BACKOFF_S,
    Counts,
    Crash,
    Fault,
    fault_of,
    lacks_host_memory,
    lesson_available_bytes,
    refusal_of,
    shortage_message,
)
from vedette.device.device import Device
from vedette.engine.vllm.causes import Outlook, outlook_of
from vedette.errors import Cause, DoesNotFitError
from vedette.events import Note, Recovered, ServedWith
from vedette.language.message import Message
from vedette.plan.calibration import Lesson, learned, smaller_budget_bytes, step_bytes
from vedette.plan.plan import Plan

LONG_RUN_S = 3600.0
"""A run of this length counts against lessons, and the next attempt may use all available memory."""
MEMORY_POLL_S = 10.0
"""Time between two checks whether other programs have freed memory."""
MAX_SPARE_STEPS = 4
MAX_HISTORY = 16


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
    history: deque[Recovered] = field(default_factory=lambda: deque(maxlen=MAX_HISTORY))
    """The recoveries, oldest first."""
    _counts: Counts = field(default_factory=Counts)
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
        counts = self._counts = self._counts.after(crash)
        refusal = refusal_of(crash, counts)
        if refusal is not None:
            raise refusal
        if (crash.served_s or 0.0) >= LONG_RUN_S:
            self.budget_bytes = self.host_budget_bytes = None
            self.spare_bytes = 0
        attempt, fault = self._next_attempt(crash, counts)
        first = self._trouble or _Trouble(crash.plan, counts.served, crash.cause, attempt.reason)
        self._trouble = replace(first, cause=crash.cause, reason=attempt.reason, fault=fault)
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
        if self._counts.served and plan.unsupported is None and taken >= plan.shortfall_bytes:
            return Attempt(MEMORY_POLL_S, Message("deploy.waits_for_memory", error=error.message))
        if self._trouble is None:
            raise error
        raise DoesNotFitError("deploy.no_room_after_crash", crash=reason, error=error.message, hint=error.hint)

    @property
    def blames_request(self) -> bool:
        """Whether the last crash is the fault of a request that the engine was answering."""
        return self._trouble is not None and self._trouble.fault is Fault.REQUEST

    def limit_to(self, lesson: Lesson) -> None:
        """Apply a lesson that could not be recorded to this deployment only."""
        self.budget_bytes = lesson.at_most_bytes

    def mark_served(self) -> None:
        """Note that the engine is ready."""
        self._counts = self._counts.after_ready()

    def recovered(self, plan: Plan, at: float) -> Note | None:
        """Record that the engine is ready after crashes; return the note that explains them, None without a crash.

        at: Unix time in seconds.
        """
        trouble, self._trouble = self._trouble, None
        self.mark_served()
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
            deaths=self._counts.crashes,
            before=_served_with(trouble.plan),
            now=_served_with(plan),
        )
        self.history.append(recovery)
        return Note(message, recovery=recovery)

    def _next_attempt(self, crash: Crash, counts: Counts) -> tuple[Attempt, Fault | None]:
        """Return the next attempt, and who took the memory if it ran out. Sets the limits of the next plan."""
        total_bytes, delay_s = crash.plan.memory.total_bytes, counts.backoff_s
        outlook = outlook_of(crash.cause)
        if outlook is not Outlook.SMALLER:
            return Attempt(delay_s, crash.cause.message, remake=outlook is Outlook.REMADE), None
        fault = fault_of(crash, counts.shortages)
        if fault is None:
            self.budget_bytes = smaller_budget_bytes(total_bytes, counts.shortages)
            return Attempt(BACKOFF_S, crash.cause.message), None
        reason = shortage_message(crash, fault)
        if fault in (Fault.TRANSIENT, Fault.REQUEST):
            return Attempt(delay_s, reason), fault
        if fault is Fault.OTHERS:
            self.spare_bytes = step_bytes(total_bytes) * min(counts.shortages - 1, MAX_SPARE_STEPS)
            return Attempt(delay_s, reason), fault
        if lacks_host_memory(crash):
            self.host_budget_bytes = smaller_budget_bytes(crash.plan.memory.host_bytes, counts.shortages)
            return Attempt(BACKOFF_S, reason), fault
        lesson = learned(crash.plan, lesson_available_bytes(crash), counts.shortages)
        kept_free = lesson.planned_bytes - lesson.at_most_bytes
        return Attempt(BACKOFF_S, Message("deploy.lesson", shortage=reason, kept_free_bytes=kept_free), lesson), fault


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


def _available_bytes(device: Device) -> int:
    return device.memory_available_bytes + (device.host_memory_available_bytes or 0)

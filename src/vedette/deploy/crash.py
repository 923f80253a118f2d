"""What a crash says: how it counts, whether another start is refused, and who took the memory if it ran out. Pure."""

from dataclasses import dataclass, replace
from enum import Enum

from vedette.device.device import Device
from vedette.engine.vllm.causes import KERNEL_KILL, SILENT_KILL, Outlook, outlook_of
from vedette.errors import Cause, EngineDiedError
from vedette.language.message import Message
from vedette.plan.plan import Plan
from vedette.units import MIB

STEADY_RUN_S = 10.0
"""After a run of this length the next attempt is made without delay."""
ROOMY_RUN_S = 600.0
"""After a run of this length the plan had enough memory, so the count of shortages starts again."""
BACKOFF_S = 2.0
LONGEST_BACKOFF_S = 30.0
MAX_FAILED_STARTS = 8
"""Failed starts in a row, even with different causes, before vedette gives up."""
TAKEN_BYTES = 64 * MIB
"""Free memory may change by this amount without another program having taken it."""


class Fault(Enum):
    """The cause of a memory shortage."""

    ENGINE = "engine"
    """The engine took more than planned. Every later plan learns from this."""
    OTHERS = "others"
    """Other programs took memory that the plan needed. The next plan uses the memory that is left."""
    REQUEST = "request"
    """A request in flight, which is refused from now on. The plan was right for all before, and stays."""
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
    broke_off: bool = False
    """Whether an answer broke off with it."""


class Failure(Enum):
    """How a failed start counts. Each cause has one of these."""

    OUTSIDE = "outside"
    """Something else ended it or took its memory: it is tried again, also when the same happens again."""
    SHORTAGE = "shortage"
    """The engine ran out of memory: each next plan is smaller, so the attempts come to an end."""
    OWN = "own"
    """It ended by itself: the same cause twice in a row, or too many failed starts, and vedette gives up."""


@dataclass(frozen=True)
class Counts:
    """What is counted over the crashes of one model's engine."""

    crashes: int = 0
    """Crashes with no run of `STEADY_RUN_S` between them."""
    shortages: int = 0
    """Memory shortages with no run of `ROOMY_RUN_S` between them."""
    served: bool = False
    """Whether the engine has been ready once. If not, the number of attempts is limited."""
    failed_starts: int = 0
    """Failed starts of the kind `Failure.OWN` since the engine was last ready."""
    recurring: Cause | None = None
    """Cause of the last failed start, if it may recur."""
    recurred: bool = False
    """Whether the last two starts failed with the same cause."""

    def after(self, crash: Crash) -> "Counts":
        """Return the counts with this crash."""
        ready, run_s = crash.served_s is not None, crash.served_s or 0.0
        own = not ready and failure_of(crash.cause) is Failure.OWN
        return Counts(
            crashes=1 if run_s >= STEADY_RUN_S else self.crashes + 1,
            shortages=(0 if run_s >= ROOMY_RUN_S else self.shortages) + (outlook_of(crash.cause) is Outlook.SMALLER),
            served=self.served or ready,
            failed_starts=0 if ready else self.failed_starts + own,
            recurring=crash.cause if own else None,
            recurred=own and crash.cause == self.recurring,
        )

    def after_ready(self) -> "Counts":
        """Return the counts once the engine is ready."""
        return replace(self, served=True, failed_starts=0, recurring=None, recurred=False)

    @property
    def backoff_s(self) -> float:
        """The delay before the next attempt. No delay after a steady run: users are waiting."""
        if self.crashes <= 1:
            return 0.0
        return min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** min(self.crashes - 2, 10))


def failure_of(cause: Cause) -> Failure:
    """Return how a start that failed with this cause counts."""
    if cause.code == "out_of_memory":
        return Failure.SHORTAGE
    from_outside = cause.code == "memory_taken" or outlook_of(cause) is Outlook.SAME
    return Failure.OUTSIDE if from_outside else Failure.OWN


def refusal_of(crash: Crash, counts: Counts) -> EngineDiedError | None:
    """Return the error if another start would fail too, or was tried too often; None if it may be tried.

    counts: the counts with this crash. A crash while serving is never refused.
    """
    if crash.served_s is not None:
        return None
    cause, failure = crash.cause, failure_of(crash.cause)
    if failure is Failure.OUTSIDE:
        too_often = counts.crashes > MAX_FAILED_STARTS and not counts.served
        return EngineDiedError(cause) if too_often else None
    if failure is Failure.OWN:
        if cause.code == "too_slow" and counts.served:
            return None  # other programs may have delayed it
        if outlook_of(cause) is Outlook.HOPELESS and not counts.served:
            return EngineDiedError(cause)
        if counts.recurred or counts.failed_starts >= MAX_FAILED_STARTS:
            message = Message("deploy.same_end", cause=cause.message, starts=counts.failed_starts, hint=cause.hint)
            return EngineDiedError(replace(cause, message=message))
    return None


def fault_of(crash: Crash, shortages: int) -> Fault | None:
    """Return the cause of a memory shortage; None if memory may not have run out. shortages: in a row, with this one.

    An engine that is silent may lack memory, or have a slow disk.
    """
    if crash.cause.code == "silent":
        return None
    planned, before, after = _memory(crash)
    if crash.cause.code == "memory_taken" or (after < planned and before - after > TAKEN_BYTES):
        return Fault.OTHERS
    if crash.broke_off and shortages == 1:
        return Fault.REQUEST
    killed = crash.cause in (KERNEL_KILL, SILENT_KILL)
    return Fault.TRANSIENT if killed and shortages == 1 and _much_is_free(crash) else Fault.ENGINE


def shortage_message(crash: Crash, fault: Fault) -> Message:
    planned, before, after = _memory(crash)
    phase = Message("deploy.while_starting") if crash.served_s is None else Message("deploy.while_serving")
    if fault is Fault.ENGINE:
        return Message("deploy.engine_took_more", phase=phase, planned_bytes=planned)
    if fault is Fault.REQUEST:
        return Message("deploy.request_took", phase=phase, planned_bytes=planned)
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
    if lacks_host_memory(crash):
        then, now = crash.before.host_memory_available_bytes, crash.after.host_memory_available_bytes
        return memory.host_bytes, then or 0, now or 0
    planned = memory.total_bytes - memory.reserve_bytes
    return planned, crash.before.memory_available_bytes, crash.after.memory_available_bytes


def lacks_host_memory(crash: Crash) -> bool:
    """Return whether RAM ran out and not the GPU's memory: with a discrete GPU, the kernel kills only for RAM."""
    return crash.plan.memory.host_available_bytes is not None and crash.cause in (KERNEL_KILL, SILENT_KILL)


def _much_is_free(crash: Crash) -> bool:
    """Free memory exceeds the plan by half, so the plan was not the cause."""
    planned, _, after = _memory(crash)
    return after - planned > planned // 2


def lesson_available_bytes(crash: Crash) -> int:
    """Return the available memory above which the lesson no longer limits a plan.

    If much memory was free, a shortage was not the cause. Then the lesson holds for the device's whole memory.
    """
    if _much_is_free(crash):
        return crash.before.memory_total_bytes
    return max(crash.before.memory_available_bytes, crash.after.memory_available_bytes)

"""Why an engine ended, from its exit status, the kernel's count of kills, and its last log lines. Pure."""

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from vedette.errors import Cause
from vedette.language.foreign_text import reason_in
from vedette.language.message import Message


@dataclass(frozen=True)
class Death:
    """How an engine ended."""

    exit_status: int
    """As in `subprocess`: negative for a signal."""
    log_tail: Sequence[str]
    """The last log lines, oldest first."""
    out_of_memory_kills: int | None = None
    """The kernel's recent out-of-memory kills where the engine ran; None if nothing counts them."""


class Outlook(Enum):
    """What to expect of another start."""

    SMALLER = "smaller"
    """It may serve with a smaller plan, or when more memory is free."""
    SAME = "same"
    """The same plan may serve: the cause ended with the engine."""
    REMADE = "remade"
    """It may serve after the engine is installed again."""
    HOPELESS = "hopeless"
    """It will end in the same way."""
    UNKNOWN = "unknown"


_OUTLOOKS = {
    "out_of_memory": Outlook.SMALLER,
    "memory_taken": Outlook.SMALLER,
    "silent": Outlook.SMALLER,
    "killed": Outlook.SAME,
    "stuck": Outlook.SAME,
    "too_slow": Outlook.HOPELESS,
    "port_in_use": Outlook.SAME,
    "memory_returned": Outlook.SAME,
    "engine_broken": Outlook.REMADE,
    "unknown_flag": Outlook.HOPELESS,
    "context_too_large": Outlook.HOPELESS,
    "model_corrupt": Outlook.HOPELESS,
    "container_gpu": Outlook.HOPELESS,
}

KERNEL_KILL = Cause("out_of_memory", Message("engine.killed_by_kernel"))
SILENT_KILL = Cause("out_of_memory", Message("engine.killed_silently"))
STUCK = Cause("stuck", Message("engine.stuck"))
SILENT = Cause("silent", Message("engine.silent"))

# In this order: the first match is the root cause, since vLLM prints a cause before its consequences.
_SIGNS: tuple[tuple[re.Pattern[str], str, Callable[[str], Message]], ...] = (
    (
        re.compile(r"error: unrecognized arguments: (?P<what>.+)"),
        "unknown_flag",
        lambda what: Message("engine.unknown_flag", flags=what),
    ),
    (
        re.compile(
            r"To serve at least one request with the models?'?s max seq len.*?maximum model length is (?P<what>\d+)",
            re.S,
        ),
        "context_too_large",
        lambda what: Message("engine.context_too_large", tokens=int(what)),
    ),
    (
        re.compile(r"No available memory for the cache blocks"),
        "out_of_memory",
        lambda _: Message("engine.no_memory_for_cache"),
    ),
    (
        re.compile(
            r"(CUDA out of memory|DefaultCPUAllocator: can't allocate memory|\bMemoryError\b|Cannot allocate memory)"
        ),
        "out_of_memory",
        lambda what: Message("engine.out_of_memory", error=what),
    ),
    (
        re.compile(r"Free memory on device .*? is less than desired"),
        "memory_taken",
        lambda _: Message("engine.memory_taken"),
    ),
    (
        re.compile(r"Error in memory profiling"),
        "memory_returned",
        lambda _: Message("engine.memory_returned"),
    ),
    (
        re.compile(r"(?P<what>SafetensorError: [^\n]+|size mismatch for [^\n]+)"),
        "model_corrupt",
        lambda what: Message("engine.weights_unreadable", error=what),
    ),
    (
        re.compile(  # an error's last line, not a warning that mentions one
            r"^(?:\([^)\n]*\) )?(?:ERROR [^\n]*?\] )?"
            r"(?P<what>(?:ModuleNotFoundError|ImportError)[^\n]*"
            r"|OSError[^\n]*(?:cannot open shared object file|undefined symbol)[^\n]*)",
            re.MULTILINE,
        ),
        "engine_broken",
        lambda what: Message("engine.environment_broken", error=what),
    ),
    (
        re.compile(r"(unknown or invalid runtime name: nvidia|unresolvable CDI devices|requirement error)[^\n]*"),
        "container_gpu",
        lambda what: Message("engine.container_without_gpu", error=what),
    ),
    (
        re.compile(r"Address already in use"),
        "port_in_use",
        lambda _: Message("engine.port_taken"),
    ),
)
# vLLM's server prints these lines when its core was killed. A core that fails by itself prints its own error before.
_CORE_ENDED = re.compile(r"Failed core proc\(s\): \{[^}]*: -9\b|engine core exited unexpectedly")
_CORE_ERROR = re.compile(r"\(EngineCore[^)]*\) ERROR|Fatal Python error")
_ERROR_LINE = re.compile(r"(?:^|\s)(?P<what>[A-Za-z_.]*(?:Error|Exception): .+)$")


def find_cause(death: Death) -> Cause:
    """The cause, most certain first: a kill by the kernel, a kill by a program, the log lines, the exit status."""
    if death.out_of_memory_kills:
        return KERNEL_KILL
    text = "\n".join(death.log_tail)
    core_killed = _CORE_ENDED.search(text) and not _CORE_ERROR.search(text)
    if core_killed or death.exit_status in (-signal.SIGKILL, 128 + signal.SIGKILL):  # a container's command adds 128
        if death.out_of_memory_kills == 0:
            return Cause("killed", Message("engine.killed_by_another"))
        return SILENT_KILL
    for pattern, code, message in _SIGNS:
        match = pattern.search(text)
        if match:
            return Cause(code, message(reason_in(match.groupdict().get("what") or match.group(0))))
    for line in death.log_tail:
        error = _ERROR_LINE.search(line)
        if error and "Engine core initialization failed" not in line:
            return Cause("engine_error", Message("engine.stopped_with_error", error=reason_in(error["what"])))
    if death.exit_status < 0:
        name = signal.Signals(-death.exit_status).name
        return Cause("engine_ended", Message("engine.ended_by_signal", signal=name))
    return Cause("engine_ended", Message("engine.ended_with_status", status=str(death.exit_status)))


def outlook_of(cause: Cause) -> Outlook:
    """The outlook after this cause."""
    return _OUTLOOKS.get(cause.code, Outlook.UNKNOWN)

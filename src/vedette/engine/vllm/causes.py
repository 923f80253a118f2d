"""Why an engine ended, from its exit status, the kernel's count of kills, and what it last said. Pure."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from vedette.engine.state import Cause


@dataclass(frozen=True)
class Death:
    """What is known of an engine's end."""

    exit_status: int
    """As `subprocess` gives it: negative for a signal."""
    log_tail: Sequence[str]
    """Its last lines, oldest first."""
    out_of_memory_kills: int | None = None
    """How often the kernel killed for memory of late where the engine ran; None where nothing counts."""


class Outlook(Enum):
    """What another start may come to."""

    SMALLER = "smaller"
    """It takes less memory, or more of it."""
    SAME = "same"
    """The cause is over with the death: the same start may serve."""
    REMADE = "remade"
    """The engine's software has to be made anew."""
    HOPELESS = "hopeless"
    """It ends the same way."""
    UNKNOWN = "unknown"


_OUTLOOKS = {
    "out_of_memory": Outlook.SMALLER,
    "memory_taken": Outlook.SMALLER,
    "silent": Outlook.SMALLER,
    "killed": Outlook.SAME,
    "stuck": Outlook.SAME,
    "port_in_use": Outlook.SAME,
    "memory_returned": Outlook.SAME,
    "engine_broken": Outlook.REMADE,
    "unknown_flag": Outlook.HOPELESS,
    "context_too_large": Outlook.HOPELESS,
    "model_corrupt": Outlook.HOPELESS,
    "container_gpu": Outlook.HOPELESS,
}

_MORE_MEMORY = "Free memory (`vedette device` shows what there is) or choose a smaller model."
KERNEL_KILL = Cause("out_of_memory", "The kernel killed the engine for lack of memory.", _MORE_MEMORY)
SILENT_KILL = Cause(
    "out_of_memory", "The engine was killed without a word, as the kernel does when memory runs out.", _MORE_MEMORY
)

STUCK = Cause(
    "stuck",
    "The engine took requests and answered none of them for minutes.",
    "vedette starts it again; see `vedette logs` if it goes on.",
)

SILENT = Cause(
    "silent",
    "The engine said nothing for a quarter of an hour and is not ready: it may be short of memory, or of a fast disk.",
    "Ask for less (`--context`, `--concurrency`) or free memory, and see `vedette logs`.",
)

# In order: the first that matches is the root, since vLLM prints the cause before its consequences.
_TELLING: tuple[tuple[re.Pattern[str], str, str, str], ...] = (
    (
        re.compile(r"error: unrecognized arguments: (?P<what>.+)"),
        "unknown_flag",
        "The engine does not know these arguments: {what}.",
        "Its version is not the one planned for: remove its directory under the vedette home and start again.",
    ),
    (
        re.compile(
            r"To serve at least one request with the models?'?s max seq len.*?maximum model length is (?P<what>\d+)",
            re.S,
        ),
        "context_too_large",
        "The KV cache is too small for the planned context; the engine could serve {what} tokens.",
        "Start again with `--context {what}`.",
    ),
    (
        re.compile(r"No available memory for the cache blocks"),
        "out_of_memory",
        "No memory was left for the KV cache after the weights were loaded.",
        _MORE_MEMORY,
    ),
    (
        re.compile(
            r"(CUDA out of memory|DefaultCPUAllocator: can't allocate memory|\bMemoryError\b|Cannot allocate memory)"
        ),
        "out_of_memory",
        "The engine ran out of memory ({what}).",
        _MORE_MEMORY,
    ),
    (
        re.compile(r"Free memory on device .*? is less than desired"),
        "memory_taken",
        "Another program took memory between the plan and the engine's start.",
        "Stop it or wait for it, then start again.",
    ),
    (
        re.compile(r"Error in memory profiling"),
        "memory_returned",
        "Another program gave memory back while the engine measured what it takes itself, which vLLM does not bear.",
        "vedette starts it again; let the machine come to rest if it goes on.",
    ),
    (
        re.compile(r"(?P<what>SafetensorError: [^\n]+|size mismatch for [^\n]+)"),
        "model_corrupt",
        "The model's weights cannot be read ({what}).",
        "Fetch or copy the model again.",
    ),
    (
        re.compile(  # an error's last line, not a warning that mentions one
            r"^(?:\([^)\n]*\) )?(?:ERROR [^\n]*?\] )?"
            r"(?P<what>(?:ModuleNotFoundError|ImportError)[^\n]*"
            r"|OSError[^\n]*(?:cannot open shared object file|undefined symbol)[^\n]*)",
            re.MULTILINE,
        ),
        "engine_broken",
        "The engine's environment is broken: {what}.",
        "Start again: vedette remakes what it has made itself; one of your own (VEDETTE_ENGINE) is yours to mend.",
    ),
    (
        re.compile(r"(unknown or invalid runtime name: nvidia|unresolvable CDI devices|requirement error)[^\n]*"),
        "container_gpu",
        "The container cannot use the GPU: {what}.",
        "Set up nvidia-container-toolkit, or name an image that this driver runs (VEDETTE_IMAGE).",
    ),
    (
        re.compile(r"Address already in use"),
        "port_in_use",
        "The engine's port was taken by another program.",
        "Start again: another port is chosen.",
    ),
)
# What vLLM's server says of its core when that was killed; one that fails by itself tells its story before.
_CORE_ENDED = re.compile(r"Failed core proc\(s\): \{[^}]*: -9\b|engine core exited unexpectedly")
_CORES_OWN_STORY = re.compile(r"\(EngineCore[^)]*\) ERROR|Fatal Python error")
_ERROR_LINE = re.compile(r"(?:^|\s)(?P<what>[A-Za-z_.]*(?:Error|Exception): .+)$")


def find_cause(death: Death) -> Cause:
    """The cause of a death, most certain first: the kernel's kills, others' kills, what the log tells, the status."""
    if death.out_of_memory_kills:
        return KERNEL_KILL
    text = "\n".join(death.log_tail)
    core_killed = _CORE_ENDED.search(text) and not _CORES_OWN_STORY.search(text)
    if core_killed or death.exit_status in (-signal.SIGKILL, 128 + signal.SIGKILL):  # a container's command adds 128
        if death.out_of_memory_kills == 0:
            return Cause(
                "killed",
                "Another program killed the engine (SIGKILL): the kernel did not do it for lack of memory.",
                "vedette starts it again; see who did that if it goes on.",
            )
        return SILENT_KILL
    for pattern, code, sentence, hint in _TELLING:
        match = pattern.search(text)
        if match:
            what = (match.groupdict().get("what") or match.group(0)).strip()
            return Cause(code, sentence.format(what=what), hint.format(what=what))
    for line in death.log_tail:
        error = _ERROR_LINE.search(line)
        if error and "Engine core initialization failed" not in line:
            return Cause(
                "engine_error",
                f"The engine stopped with {error['what'].strip()}",
                "See `vedette logs` for the whole story.",
            )
    if death.exit_status < 0:
        how = f"by signal {signal.Signals(-death.exit_status).name}"
    else:
        how = f"with exit status {death.exit_status}"
    return Cause("engine_ended", f"The engine ended {how}.", "See `vedette logs` for what it last said.")


def outlook_of(cause: Cause) -> Outlook:
    """What to expect of another start."""
    return _OUTLOOKS.get(cause.code, Outlook.UNKNOWN)

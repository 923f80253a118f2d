"""Facts in the engine's log lines. Pure: text in, values out.

The lines are vLLM's (0.11 to 0.32) and change between versions. An unknown line gives no fact, and no error.
"""

import re
from dataclasses import dataclass, replace

from vedette.engine.state import Phase
from vedette.language.message import Message
from vedette.plan.calibration import Reported
from vedette.units import GIB


@dataclass(frozen=True)
class LogFact:
    """A phase that the engine has reached, and its progress in it."""

    phase: Phase
    detail: Message | None = None
    done: int | None = None
    total: int | None = None


_SHARDS = re.compile(r"Loading safetensors checkpoint shards:\s+\d+% Completed \| (\d+)/(\d+)")
_GRAPHS = re.compile(r"Capturing CUDA graphs.*?(\d+)/(\d+)")
_MARKS: tuple[tuple[str, Phase, Message | None], ...] = (
    ("non-default args", Phase.LAUNCHING, Message("engine.reading_configuration")),
    ("Initializing a V1 LLM engine", Phase.LAUNCHING, Message("engine.taking_device")),
    ("Starting to load model", Phase.LOADING, None),
    ("Loading weights took", Phase.PROFILING, None),
    ("Model loading took", Phase.PROFILING, None),
    ("Encoder cache will be initialized", Phase.PROFILING, None),
    ("Start compiling", Phase.COMPILING, None),
    ("Dynamo bytecode transform", Phase.COMPILING, None),
    ("Compiling a graph", Phase.COMPILING, None),
    ("torch.compile took", Phase.PROFILING, None),
    ("Graph capturing finished", Phase.WARMING, None),
    ("Warming up model for the compilation", Phase.WARMING, None),
    ("init engine (profile, create kv cache, warmup model) took", Phase.WARMING, None),
    ("Application startup complete", Phase.WARMING, None),
)


def parse_line(line: str) -> LogFact | None:
    """The phase that a line shows; None for any other line."""
    line = line[:_LONGEST_LINE]
    shards = _SHARDS.search(line)
    if shards:
        return LogFact(Phase.LOADING, None, int(shards[1]), int(shards[2]))
    graphs = _GRAPHS.search(line)
    if graphs:
        return LogFact(Phase.CAPTURING, None, int(graphs[1]), int(graphs[2]))
    for mark, phase, detail in _MARKS:
        if mark in line:
            return LogFact(phase, detail)
    return None


# From the start of the line on: a request's text in another message of the server must not end the engine.
_CORE_DIED = re.compile(
    r"(?:\([^)]*\) )?(?:[A-Z]+ (?:[^\[\]]*\[[^\]]*\] )?)?"
    r"(?:\[shutdown\] )?(?:MPClient: )?[Ee]ngine core exited unexpectedly"
)


def reports_core_death(line: str) -> bool:
    """Whether the server reports that its engine core has died. The server ends too, up to 5 s later."""
    return _CORE_DIED.match(line, 0, _LONGEST_LINE) is not None


_CORE_READY = re.compile(r"init engine \(.*\) took|Supported tasks: ")


def reports_core_ready(line: str) -> bool:
    """Whether the engine core is ready, so that only the server's own preparations are left."""
    return _CORE_READY.search(line, 0, _LONGEST_LINE) is not None


_LONGEST_LINE = 2000
"""Characters that are searched: the known lines are shorter, and a search in a very long line would take long."""
_NUMBER = r"(-?[\d.,]+)"
# The figure in a line, by the field of `Reported`, whose name gives the unit. From the sources of vLLM 0.26 and 0.32
# (gpu_worker.py, gpu_model_runner.py, cpu_worker.py, kv_cache_utils.py), and from logs of 0.11.
_FIGURES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(text.replace("#", _NUMBER)))
    for name, text in (
        ("model_weights_bytes", r"Model loading took # GiB"),
        ("consumed_bytes", r"Actual usage is # GiB for consumed memory"),
        ("peak_activation_bytes", r"# GiB for peak activation"),
        ("non_torch_bytes", r"# GiB for non-torch memory"),
        ("cuda_graph_estimate_bytes", r"Estimated CUDA graph memory: # GiB"),
        ("cuda_graph_bytes", r"Graph capturing finished in .* secs, took # GiB"),
        ("kv_cache_bytes", r"Available KV cache memory: # GiB"),
        ("kv_cache_bytes", r"reserved # GiB memory for KV Cache"),
        ("kv_cache_bytes", r"(?:Explicitly|Auto) set \(#/.* GiB for KV cache"),
        ("kv_cache_tokens", r"[A-Z]+ KV cache size: # tokens"),
        ("encoder_budget_tokens", r"Encoder cache will be initialized with a budget of # tokens"),
        ("loading_s", r"Loading weights took # seconds"),
        ("compile_s", r"torch\.compile (?:takes|took) # s in total"),
        ("graph_capture_s", r"Graph capturing finished in # secs"),
    )
)


def with_line(reported: Reported, line: str) -> Reported:
    """`reported` with the figures of one more line. Figures in GiB become bytes, never less than 0."""
    found: dict[str, int | float] = {}
    for name, pattern in _FIGURES:
        match = pattern.search(line, 0, _LONGEST_LINE)
        if match:
            value = _number(match[1])
            if value is not None:
                found[name] = value if name.endswith("_s") else int(value * (GIB if name.endswith("_bytes") else 1))
    return replace(reported, **found) if found else reported  # type: ignore[arg-type]


def _number(text: str) -> float | None:
    """The number in `451,744` or `0.67`, at least 0; None if it is none. vLLM's differences may be negative."""
    try:
        return max(0.0, float(text.replace(",", "")))
    except ValueError:
        return None

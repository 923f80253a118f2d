"""The engine's log lines, read as facts. Pure: text in, values out.

The lines are vLLM's (0.11 to 0.32) and change between versions; a line that is not known is no fact, never an error.
"""

import re
from dataclasses import dataclass

from vedette.engine.state import Phase


@dataclass(frozen=True)
class LogFact:
    """That the engine reached a phase, and how far it is within it."""

    phase: Phase
    detail: str | None = None
    done: int | None = None
    total: int | None = None


_SHARDS = re.compile(r"Loading safetensors checkpoint shards:\s+\d+% Completed \| (\d+)/(\d+)")
_GRAPHS = re.compile(r"Capturing CUDA graphs.*?(\d+)/(\d+)")
_MARKS: tuple[tuple[str, Phase], ...] = (
    ("Starting to load model", Phase.LOADING),
    ("Loading weights took", Phase.PROFILING),
    ("Model loading took", Phase.PROFILING),
    ("Encoder cache will be initialized", Phase.PROFILING),
    ("Start compiling", Phase.COMPILING),
    ("Dynamo bytecode transform", Phase.COMPILING),
    ("Compiling a graph", Phase.COMPILING),
    ("torch.compile took", Phase.PROFILING),
    ("Graph capturing finished", Phase.WARMING),
    ("Warming up model for the compilation", Phase.WARMING),
    ("init engine (profile, create kv cache, warmup model) took", Phase.WARMING),
    ("Application startup complete", Phase.WARMING),
)


def parse_line(line: str) -> LogFact | None:
    """The phase that one line tells of, if any."""
    shards = _SHARDS.search(line)
    if shards:
        return LogFact(Phase.LOADING, None, int(shards[1]), int(shards[2]))
    graphs = _GRAPHS.search(line)
    if graphs:
        return LogFact(Phase.CAPTURING, None, int(graphs[1]), int(graphs[2]))
    for mark, phase in _MARKS:
        if mark in line:
            return LogFact(phase)
    return None

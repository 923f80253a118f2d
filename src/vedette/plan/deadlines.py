"""How long an engine may take: to start, and to show that it works. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from vedette.plan.plan import Plan
from vedette.units import GIB

_SLOWEST_READ_BYTES_PER_S = 20_000_000
"""A worn SD card; the weights and the engine's software are read from it after a reboot."""
_SOFTWARE_BYTES = 3 * GIB
"""vLLM with torch and the libraries that a start reads."""
_FIRST_START_S = 1200.0
"""The first start on a machine may compile kernels for many minutes."""
_SHORTEST_START_S = 60.0
_TIMES_MEASURED = 5.0
"""A start may take this many times as long as the one that was measured: other programs may use the machine."""
_SHORTEST_OPENING_S = 30.0
_FIRST_OPENING_S = 90.0

_SHORTEST_QUIET_S = 8.0
_SHORTEST_BUSY_S = 20.0
_LONGEST_BUSY_S = 900.0
_SLOW_TOKENS_PER_S = 5.0
_PREFILL_FACTOR = 4.0
"""A prompt's token takes at most a quarter of an answer's token: a prompt's tokens share a reading of the weights."""


@dataclass(frozen=True)
class StartLimits:
    """How long a start may take."""

    whole_s: float = _SHORTEST_START_S + _FIRST_START_S
    """From the launch until the engine is ready."""
    opening_s: float = _FIRST_OPENING_S
    """From the engine's core being ready until the server answers: it reads the chat template, for example."""
    silence_s: float = 900.0
    """Without a line in the log: it may read weights from a slow card or compile kernels. With too little memory it may
    read its own code from the disk again and again for hours, and nothing kills it."""


@dataclass(frozen=True)
class Patience:
    """How long an engine may show no sign of work while somebody waits for it."""

    quiet_s: float = _SHORTEST_QUIET_S
    """Without computing: a core that is blocked. A GPU's step may take this long, and the core then does nothing."""
    busy_s: float = _LONGEST_BUSY_S
    """Computing, without one token more: the longest prompt, at a quarter of the decoding time for each token."""
    poll_s: float = 1.0


def start_limits(plan: Plan, phase_s: Mapping[str, float] | None) -> StartLimits:
    """Return the limits of a start. phase_s: seconds of an earlier start by phase; None if there was none."""
    reading_s = (plan.memory.weights_bytes + _SOFTWARE_BYTES) / _SLOWEST_READ_BYTES_PER_S
    if not phase_s:
        return StartLimits(_SHORTEST_START_S + reading_s + _FIRST_START_S, _FIRST_OPENING_S)
    return StartLimits(
        _SHORTEST_START_S + reading_s + _TIMES_MEASURED * sum(phase_s.values()),
        max(_SHORTEST_OPENING_S, _TIMES_MEASURED * phase_s.get("warming_up", 0.0)),
    )


def patience_with_server(longest_tokens: int, tokens_per_s: float, shortest_s: float) -> Patience:
    """Return how long somebody's server may be silent. tokens_per_s: of a short question and its answer, together."""
    busy_s = max(shortest_s, min(_LONGEST_BUSY_S, 2 * longest_tokens / tokens_per_s))
    return Patience(busy_s, busy_s)


def patience_for(plan: Plan, decode_tokens_per_s: float | None) -> Patience:
    """Return how long the plan's engine may be silent. decode_tokens_per_s: measured; None if it was not."""
    speed = plan.speed
    decode = decode_tokens_per_s or speed.decode_tokens_per_s or _SLOW_TOKENS_PER_S
    longest = max(plan.context.max_model_len, plan.settings.max_num_batched_tokens)
    busy_s = min(_LONGEST_BUSY_S, max(_SHORTEST_BUSY_S, 2 * longest / (_PREFILL_FACTOR * decode)))
    step_s = 10 * (speed.first_token_ms_floor or 0.0) / 1000
    return Patience(min(busy_s, max(_SHORTEST_QUIET_S, step_s)), busy_s)

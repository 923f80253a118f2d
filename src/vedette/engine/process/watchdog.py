"""Finds a stuck engine: its process lives, `/health` answers 200, and requests get no answer."""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from vedette.engine.client import EngineClient
from vedette.plan.deadlines import Patience

_FIGURES = frozenset(
    {
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:iteration_tokens_total_count",
    }
)
"""Figures that only a core at work changes: the server counts them from what the core reports after each step."""
_METRICS_WITHIN_S = 2.0
"""A server that takes longer is judged by its processor time."""
_STOPPED_POLLS = 2
"""One alone may be a debugger's."""


@dataclass(frozen=True)
class Signs:
    """What an engine shows of its work at one moment."""

    is_waited_for: bool
    work: Hashable
    """Changes whenever the engine has worked: with each byte of an answer, and with the figures of its metrics."""
    computes: bool = True
    """Its processes compute, or nobody can tell."""
    is_stopped: bool = False
    """Its processes were stopped by a signal."""


def parse_work(text: str) -> tuple[tuple[str, float], ...]:
    """The figures in the engine's metrics (Prometheus' text format) that change while it works."""
    sums = dict.fromkeys(_FIGURES, 0.0)
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        if name in sums:
            with contextlib.suppress(ValueError):
                figure = float(rest.rpartition(" ")[2])
                sums[name] += figure if math.isfinite(figure) else 0.0  # NaN would differ from itself: always at work
    return tuple(sorted(sums.items()))


class TrafficWatch:
    """What goes on between vedette and an engine. The engine is asked for its metrics only while no answer comes."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self._received_bytes = client.traffic.received_bytes
        self._figures: tuple[tuple[str, float], ...] = ()

    async def read(self) -> Signs:
        """The signs of work that a client of an engine sees."""
        traffic = self._client.traffic
        if traffic.requests and traffic.received_bytes == self._received_bytes:
            with contextlib.suppress(asyncio.TimeoutError):
                metrics = await asyncio.wait_for(self._client.read_metrics(), _METRICS_WITHIN_S)
                self._figures = self._figures if metrics is None else parse_work(metrics)
        self._received_bytes = traffic.received_bytes
        return Signs(traffic.requests > 0, (traffic.received_bytes, self._figures))


async def wait_until_stuck(read: Callable[[], Awaitable[Signs]], patience: Patience) -> None:
    """Return when somebody has waited for too long without a sign of work, or the engine's processes are stopped.

    The caller cancels this when the engine ends.
    """
    last: Signs | None = None
    worked_at = computed_at = time.monotonic()
    stopped_polls = 0
    while stopped_polls < _STOPPED_POLLS:
        now, asked_at = await read(), time.monotonic()
        if last is None or not now.is_waited_for or now.work != last.work:
            worked_at = computed_at = asked_at
        elif now.computes:
            computed_at = asked_at
        if asked_at - computed_at >= patience.quiet_s or asked_at - worked_at >= patience.busy_s:
            return
        stopped_polls = stopped_polls + 1 if now.is_stopped else 0
        last = now
        await asyncio.sleep(patience.poll_s)

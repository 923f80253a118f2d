"""Finds a stuck engine: its process lives, `/health` answers 200, and requests get no answer."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vedette.engine.client import SILENCE_TIMEOUT_S

_WAITING = {"vllm:num_requests_running", "vllm:num_requests_waiting"}
_DONE = {"vllm:prompt_tokens_total", "vllm:generation_tokens_total"}


@dataclass(frozen=True)
class Progress:
    """The work of an engine: requests to answer, and tokens processed."""

    requests: float
    """Requests that run or wait."""
    tokens: float
    """Prompt and answer tokens since the start."""


def parse_progress(text: str) -> Progress:
    """The progress in the engine's metrics (Prometheus' text format); a missing figure counts as 0."""
    sums = dict.fromkeys(_WAITING | _DONE, 0.0)
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        if name in sums:
            with contextlib.suppress(ValueError):
                sums[name] += float(rest.rpartition(" ")[2])
    return Progress(sum(sums[name] for name in _WAITING), sum(sums[name] for name in _DONE))


async def wait_until_stuck(
    read_metrics: Callable[[], Awaitable[str | None]], limit_s: float = SILENCE_TIMEOUT_S, poll_s: float = 5.0
) -> None:
    """Return when the engine has had requests for `limit_s` seconds without one more token, or no metrics for as long.

    The caller cancels this when the engine ends. read_metrics: the metrics' text; None if they do not arrive.
    """
    last: Progress | None = None
    progress_at = time.monotonic()
    while True:
        text = await read_metrics()
        now = parse_progress(text) if text is not None else None
        if now is not None and (not now.requests or last is None or now.tokens != last.tokens):
            progress_at = time.monotonic()
        last = now or last
        if time.monotonic() - progress_at >= limit_s:
            return
        await asyncio.sleep(poll_s)

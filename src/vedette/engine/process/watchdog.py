"""Finds the engine that is stuck: a process that lives, a `/health` that says yes, and requests that nobody answers."""

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
    """What an engine has to do and what it has done."""

    requests: float
    """Running and waiting."""
    tokens: float
    """Read and written since it started."""


def parse_progress(text: str) -> Progress:
    """From the engine's page of metrics (Prometheus' text format); what it does not say counts as nothing."""
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
    """Returns once the engine has had requests for `limit_s` seconds and not moved on by one token, or has not even
    told its metrics for as long. Whoever waits for it cancels it when the engine ends.

    read_metrics: the page's text; None if it does not come.
    """
    last: Progress | None = None
    moved = time.monotonic()
    while True:
        text = await read_metrics()
        now = parse_progress(text) if text is not None else None
        if now is not None and (not now.requests or last is None or now.tokens != last.tokens):
            moved = time.monotonic()
        last = now or last
        if time.monotonic() - moved >= limit_s:
            return
        await asyncio.sleep(poll_s)

"""A stuck engine is distinguished from an idle, slow or busy one."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from vedette.engine.process.watchdog import Progress, parse_progress, wait_until_stuck

PAGE = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="m"}} {running}
vllm:num_requests_waiting{{engine="0",model_name="m"}} 0.0
vllm:num_requests_waiting_by_reason{{engine="0",reason="capacity"}} 9.0
vllm:prompt_tokens_total{{engine="0",model_name="m"}} 100.0
vllm:generation_tokens_total{{engine="0",model_name="m"}} {tokens}
process_cpu_seconds_total 12.5
"""


def test_progress_is_what_the_engine_counts() -> None:
    assert parse_progress(PAGE.format(running=2.0, tokens="1.5e+03")) == Progress(requests=2, tokens=1600)
    assert parse_progress("") == Progress(requests=0, tokens=0)


def pages(*texts: str | None) -> Callable[[], Awaitable[str | None]]:
    """Each text in turn, the last one for ever."""
    left = list(texts)

    async def read() -> str | None:
        return left.pop(0) if len(left) > 1 else left[0]

    return read


@pytest.mark.parametrize("text", [PAGE.format(running=1.0, tokens=7.0), None])
async def test_an_engine_without_tokens_or_metrics_is_stuck(text: str | None) -> None:
    await asyncio.wait_for(wait_until_stuck(pages(PAGE.format(running=1.0, tokens=7.0), text), 0.05, 0.01), 5)


async def test_idle_or_moving_is_not() -> None:
    moving = [PAGE.format(running=1.0, tokens=float(count)) for count in range(1000)]
    for read in (pages(PAGE.format(running=0.0, tokens=7.0)), pages(*moving)):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait_until_stuck(read, 0.1, 0.01), 0.5)

"""A stuck engine is distinguished from an idle, slow or busy one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

import pytest

from vedette.engine.process.watchdog import Signs, parse_work, wait_until_stuck
from vedette.plan.deadlines import Patience

PAGE = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="m"}} 2.0
vllm:num_requests_waiting_by_reason{{engine="0",reason="capacity"}} 9.0
vllm:kv_cache_usage_perc{{engine="0",model_name="m"}} {share}
vllm:generation_tokens_total{{engine="0",model_name="m"}} {tokens}
process_cpu_seconds_total {cpu}
"""
QUICK = Patience(quiet_s=0.05, busy_s=0.2, poll_s=0.01)
PATIENT = Patience(quiet_s=60, busy_s=60, poll_s=0.01)


def test_work_is_what_the_core_counts() -> None:
    before = parse_work(PAGE.format(share=0.1, tokens="1.5e+03", cpu=1))
    assert before == parse_work(PAGE.format(share=0.1, tokens="1500", cpu=2))
    assert before != parse_work(PAGE.format(share=0.2, tokens="1500", cpu=1))  # a part of a prompt
    assert before != parse_work(PAGE.format(share=0.1, tokens="1501", cpu=1))
    assert parse_work("") == parse_work("vllm:generation_tokens_total{} nothing")


def showing(signs: Callable[[int], Signs]) -> Callable[[], Awaitable[Signs]]:
    numbers = count()

    async def read() -> Signs:
        return signs(next(numbers))

    return read


async def is_stuck(signs: Callable[[int], Signs], patience: Patience = QUICK, within_s: float = 5) -> bool:
    try:
        await asyncio.wait_for(wait_until_stuck(showing(signs), patience), within_s)
    except asyncio.TimeoutError:
        return False
    return True


SILENT: Sequence[tuple[Callable[[int], Signs], Patience]] = (
    (lambda _: Signs(True, 7, computes=False), Patience(quiet_s=0.05, busy_s=60, poll_s=0.01)),
    (lambda _: Signs(True, 7, computes=True), Patience(quiet_s=60, busy_s=0.05, poll_s=0.01)),
    (lambda number: Signs(True, min(number, 3), computes=False), QUICK),  # after some work
    (lambda _: Signs(False, 7, is_stopped=True), PATIENT),
)


@pytest.mark.parametrize(("signs", "patience"), SILENT)
async def test_an_engine_that_shows_no_work_is_stuck(signs: Callable[[int], Signs], patience: Patience) -> None:
    assert await is_stuck(signs, patience)


@pytest.mark.parametrize(
    "signs",
    [
        lambda _: Signs(False, 7, computes=False),  # idle
        lambda number: Signs(True, number, computes=False),  # tokens come
        lambda number: Signs(number % 3 > 0, 7, computes=False),  # nobody waits for long
        lambda number: Signs(True, number // 8, computes=True),  # slowly: a long step, then a token
        lambda number: Signs(True, number, is_stopped=number % 3 == 0),  # a debugger looks in
    ],
)
async def test_idle_slow_or_moving_is_not(signs: Callable[[int], Signs]) -> None:
    assert not await is_stuck(signs, within_s=0.4)

"""The worker's bounds: memory, time, the queue; and its end."""

import asyncio
import io
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import psutil
import pytest
from PIL import Image

from tests.rig.hostile_pictures import good, hostile, large_png, many_frames, many_scans
from vedette.errors import BadInputError, OverloadedError, TooLargeError
from vedette.serve.admission.picture_gate import MAX_ASPECT_RATIO, PictureGate, PictureLimits
from vedette.serve.admission.worker_orders import PICTURES, Bounds, Order
from vedette.serve.admission.worker_process import MOST_OF_ONE, MOST_WAITING, WorkerProcess
from vedette.sources.plain_picture import parse_plain
from vedette.units import MIB

pytestmark = pytest.mark.processes


LIMITS = PictureLimits(320 * 240)
BOUNDS = Bounds(PICTURES.memory_bytes, 1)
FILES = 154
BMP = good("BMP")


def order(data: bytes, do: Literal["picture", "clip"] = "picture") -> Order:
    return Order(do, len(data), LIMITS.max_pixels, 8, MAX_ASPECT_RATIO)


@pytest.fixture
async def worker() -> AsyncIterator[WorkerProcess]:
    one = WorkerProcess(pictures=BOUNDS)
    yield one
    await one.close()


def most_held_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


async def test_it_starts_when_it_is_needed_and_ends_when_it_is_idle() -> None:
    worker = WorkerProcess(idle_s=0.1)
    assert worker.pid is None
    await worker.run(order(BMP), BMP)
    pid = worker.pid
    assert pid is not None
    process = psutil.Process(pid)
    assert process.memory_info().rss < 40 * MIB
    await asyncio.to_thread(process.wait, 10)
    assert worker.pid is None
    await worker.run(order(BMP), BMP)
    await worker.close()
    assert worker.pid is None


async def test_one_that_takes_too_long_is_ended_and_the_next_order_gets_another(worker: WorkerProcess) -> None:
    bomb = many_frames(2000, 2000, 120)
    with pytest.raises(TooLargeError, match=r"more than 1\.0 s of processor time"):
        await worker.run(order(bomb, "clip"), bomb)
    assert await worker.run(order(BMP), BMP)


async def test_what_would_take_long_is_refused_before(worker: WorkerProcess) -> None:
    film, picture = many_frames(2000, 2000, 200), many_scans(640, 480, 200)
    with pytest.raises(TooLargeError, match="200 frames of 2000 × 2000 pixels"):
        await worker.run(order(film, "clip"), film)
    with pytest.raises(TooLargeError, match="more than 100 scans"):
        await worker.run(order(picture), picture)


async def test_its_time_counts_for_each_order_anew(worker: WorkerProcess) -> None:
    data = large_png(4000, 2500)
    for _ in range(12):  # together more than a second
        await worker.run(order(data), data)


async def test_one_that_something_else_kills_is_replaced(worker: WorkerProcess) -> None:
    await worker.run(order(BMP), BMP)
    assert worker.pid is not None
    process = psutil.Process(worker.pid)
    process.kill()
    await asyncio.to_thread(process.wait, 10)
    await asyncio.sleep(0.1)
    assert await worker.run(order(BMP), BMP)


async def test_an_order_that_nobody_waits_for_any_more_ends_it(worker: WorkerProcess) -> None:
    bomb = many_frames(2000, 2000, 120)
    await worker.run(order(BMP), BMP)
    assert worker.pid is not None
    process = psutil.Process(worker.pid)
    asking = asyncio.ensure_future(worker.run(order(bomb, "clip"), bomb))
    await asyncio.sleep(0.1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert await worker.run(order(BMP), BMP)


async def test_only_so_many_wait(worker: WorkerProcess) -> None:
    asking = [asyncio.ensure_future(worker.run(order(BMP), BMP, client=number)) for number in range(MOST_WAITING + 2)]
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(result) for result in results[-2:]] == [OverloadedError] * 2
    assert all(isinstance(result, tuple) for result in results[:-2])


async def test_one_client_does_not_keep_others_waiting(worker: WorkerProcess) -> None:
    ended: list[str] = []

    async def ask(client: str) -> None:
        await worker.run(order(BMP), BMP, client)
        ended.append(client)

    many = [asyncio.ensure_future(ask("many")) for _ in range(MOST_OF_ONE + 1)]
    await asyncio.sleep(0)
    await ask("one")
    results = await asyncio.gather(*many, return_exceptions=True)
    assert ended.index("one") <= 2
    assert [type(result) for result in results].count(OverloadedError) == 1
    assert await worker.run(order(BMP), BMP, "many")


async def test_one_that_hangs_up_while_it_waits_keeps_nobody_waiting(worker: WorkerProcess) -> None:
    asking = [asyncio.ensure_future(worker.run(order(BMP), BMP, client=number)) for number in range(4)]
    await asyncio.sleep(0)
    asking[1].cancel()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(result) for result in results] == [tuple, asyncio.CancelledError, tuple, tuple]


async def test_what_waits_when_vedette_stops_is_refused() -> None:
    worker, film = WorkerProcess(), many_frames(2000, 2000, 120)
    await worker.run(order(BMP), BMP)
    asking = [asyncio.ensure_future(worker.run(order(film, "clip"), film, client=number)) for number in range(3)]
    await asyncio.sleep(0.1)
    await asyncio.wait_for(worker.close(), 5)
    results = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 5)
    assert [type(result) for result in results] == [OverloadedError] * 3
    assert worker.pid is None


async def test_a_file_beyond_all_bounds_is_refused_with_the_numbers(worker: WorkerProcess) -> None:
    large = BMP + bytes(33 * MIB)
    with pytest.raises(TooLargeError, match="33 MiB, more than 32 MiB"):
        await worker.run(order(large), large)
    assert worker.pid is None


async def test_one_that_a_file_crashes_is_told_from_one_that_takes_too_long(worker: WorkerProcess) -> None:
    await worker.run(order(BMP), BMP)
    assert worker.pid is not None
    process, film = psutil.Process(worker.pid), many_frames(2000, 2000, 120)
    asking = asyncio.ensure_future(worker.run(order(film, "clip"), film))
    await asyncio.sleep(0.2)
    process.send_signal(signal.SIGSEGV)
    with pytest.raises(BadInputError, match="the decoder crashed"):
        await asking


async def test_its_memory_is_bounded_by_the_kernel(worker: WorkerProcess) -> None:
    await worker.run(order(BMP), BMP)
    assert worker.pid is not None
    limits = Path(f"/proc/{worker.pid}/limits").read_text()
    assert f"Max address space         {PICTURES.memory_bytes}" in limits


async def test_hostile_files_pass_harmless_or_not_at_all() -> None:
    """Whatever passes is one picture of at most the planned size to Pillow, which is what the engine decodes with."""
    worker = WorkerProcess(pictures=BOUNDS)
    gate, process = PictureGate(worker), psutil.Process()
    admitted, most_bytes, before = 0, 0, process.memory_info().rss
    for seed in range(FILES):
        file = hostile(seed)
        try:
            made = await asyncio.wait_for(gate.picture(file.data, LIMITS), 30)
        except BadInputError:
            pass
        else:
            admitted += 1
            assert_harmless(made, file.name)
        if worker.pid is not None:
            most_bytes = max(most_bytes, most_held_bytes(worker.pid))
    await gate.close()
    assert admitted > FILES // 5
    assert most_bytes < PICTURES.memory_bytes
    assert process.memory_info().rss - before < 64 * MIB


def assert_harmless(made: bytes, name: str) -> None:
    plain = parse_plain(made)
    assert plain is not None, name
    try:
        with Image.open(io.BytesIO(made)) as image:
            assert image.size == (plain.width, plain.height), name
            assert image.width * image.height <= LIMITS.max_pixels, name
            assert getattr(image, "n_frames", 1) == 1, name
            image.load()
            assert image.size == (plain.width, plain.height), name
    except (OSError, SyntaxError):
        return  # damaged: the engine refuses it, as Pillow does

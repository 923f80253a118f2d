"""An engine process: its output, its exit status, and a stop that leaves nothing running."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from vedette.engine.process.process import EngineProcess
from vedette.engine.process.process_command import Command
from vedette.engine.process.workplace import find_processes
from vedette.engine.vllm.causes import Death

pytestmark = pytest.mark.processes


STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.1; done"


def command(tmp_path: Path, script: str, count_kills: Callable[[], int | None] = lambda: 0) -> Command:
    return Command(("/bin/sh", "-c", script), {"PATH": os.environ["PATH"]}, tmp_path / "engine", count_kills)


async def launch(tmp_path: Path, script: str) -> EngineProcess:
    return await EngineProcess.launch(command(tmp_path, script), tmp_path / "engine.log")


async def started(tmp_path: Path, script: str) -> "tuple[EngineProcess, asyncio.Task[Death]]":
    """A process that has printed `ready`, and the task that reads its output."""
    process, ready = await launch(tmp_path, script), asyncio.Event()
    listening = asyncio.create_task(process.listen(lambda line: ready.set() if line == "ready" else None))
    await asyncio.wait_for(ready.wait(), 10)
    return process, listening


async def test_output_comes_by_lines_and_goes_to_the_log(tmp_path: Path) -> None:
    script = r"printf 'one\n\n  \ntwo 50%%\rtwo 100%%\r\n'; printf 'three \377' >&2; exit 3"
    lines: list[str] = []
    process = await launch(tmp_path, script)
    death = await process.listen(lines.append)
    assert lines == ["one", "two 50%", "two 100%", "three \ufffd"]
    assert death == Death(3, tuple(lines), 0)
    assert (tmp_path / "engine.log").read_text().splitlines() == lines


async def test_a_line_in_the_log_is_one_line_that_no_terminal_obeys(tmp_path: Path) -> None:
    script = r"printf 'a\033[2J\033]52;c;eA==\007b\302\205forged\342\200\250forged\013x\n'"
    await (await launch(tmp_path, script)).listen(lambda line: None)
    assert (tmp_path / "engine.log").read_text().splitlines() == [
        r"a\x1b[2J\x1b]52;c;eA==\x07b\x85forged\u2028forged\x0bx"
    ]


async def test_only_the_last_lines_are_kept(tmp_path: Path) -> None:
    process = await launch(tmp_path, "seq 1 1000")
    death = await process.listen(lambda line: None)
    assert death.log_tail == tuple(str(number) for number in range(801, 1001))


async def test_an_endless_line_is_cut(tmp_path: Path) -> None:
    process = await launch(tmp_path, "head -c 1000000 /dev/zero | tr '\\0' x; echo end")
    (line,) = (await process.listen(lambda line: None)).log_tail
    assert line.endswith("xxxend")
    assert len(line) <= 65_536 * 2


@pytest.mark.parametrize("count", [lambda: None, iter([4, 4, 5, 5, 5, 5, 5, 5]).__next__])
async def test_kills_while_it_ran_are_counted(tmp_path: Path, count: Callable[[], int | None]) -> None:
    unknown = count() is None
    process = await EngineProcess.launch(command(tmp_path, "exit 0", count), tmp_path / "log")
    death = await process.listen(lambda line: None)
    assert death.out_of_memory_kills == (None if unknown else 1)


async def test_a_kill_by_a_signal_is_its_status(tmp_path: Path) -> None:
    process, listening = await started(tmp_path, "echo ready; sleep 60")
    os.kill(process.pid, signal.SIGKILL)
    assert (await listening).exit_status == -signal.SIGKILL
    await process.stop(1)
    assert find_processes(tmp_path / "engine") == []


async def test_a_child_that_keeps_the_output_open_does_not_delay_the_end(tmp_path: Path) -> None:
    process = await launch(tmp_path, "sleep 60 & echo last; exit 4")
    death = await asyncio.wait_for(process.listen(lambda line: None), 10)
    assert death == Death(4, ("last",), 0)
    assert [each.name() for each in find_processes(tmp_path / "engine")] == ["sleep"]
    await process.stop(1)
    assert find_processes(tmp_path / "engine") == []


async def test_a_stop_lets_the_engine_end_by_itself(tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    process, listening = await started(tmp_path, script)
    await process.stop(10)
    assert await listening == Death(5, ("ready", "bye"), 0)


async def test_an_engine_that_ignores_a_stop_is_killed_and_that_kill_is_no_cause(tmp_path: Path) -> None:
    process, listening = await started(tmp_path, STUBBORN)
    await process.stop(0.2)
    assert not psutil.pid_exists(process.pid)
    assert (await listening).exit_status == -signal.SIGTERM
    assert find_processes(tmp_path / "engine") == []


async def test_a_server_without_its_core_is_stopped(tmp_path: Path) -> None:
    process, listening = await started(tmp_path, STUBBORN)
    process.stop_server()
    assert (await asyncio.wait_for(listening, 10)).exit_status == -signal.SIGTERM
    await process.stop(0)


async def test_the_engine_has_its_own_session_and_directory(tmp_path: Path) -> None:
    process, listening = await started(tmp_path, "echo ready; exec sleep 60")
    assert os.getsid(process.pid) == process.pid
    assert psutil.Process(process.pid).cwd() == str(tmp_path / "engine")
    await asyncio.wait_for(process.stop(60), 30)  # it returns when the engine has ended, not after the grace
    assert (await listening).exit_status == -signal.SIGTERM

"""Standbys and faster starts, with real interpreters that run a program of a few lines."""

import asyncio
import dataclasses
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from vedette.engine.process.oom_kills import KillWatch
from vedette.engine.process.process import EngineProcess
from vedette.engine.process.process_command import Command, Preload
from vedette.engine.process.standby import Standby, start
from vedette.engine.process.workplace import end_processes, find_processes

pytestmark = pytest.mark.processes


HEAVY = """
import os, pathlib, time
pathlib.Path(os.environ["IMPORTS"]).open("a").write("once\\n")
time.sleep(float(os.environ.get("SLOWLY", "0")))
"""
PROGRAM = """
import os, sys, time
import heavy
print(sys.argv[1:], os.getcwd(), sys.path[0], open("/proc/self/oom_score_adj").read().strip(), sys.stdin.read() == "")
sys.exit(3)
"""
SPAWNING = """
import multiprocessing, os, signal, sys
import heavy

def work(channel, how):
    os.environ.get("LATE") and print("late", os.environ["LATE"], flush=True)
    channel.send((multiprocessing.current_process().name, multiprocessing.parent_process().pid))
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "waits":
        channel.recv()
    sys.exit(7)

if __name__ == "__main__":
    os.environ["LATE"] = "word"
    spawning = multiprocessing.get_context("spawn")
    for name in ("first", "second"):
        ours, its = spawning.Pipe()
        process = spawning.Process(target=work, args=(its, sys.argv[1]), name=name)
        process.start()
        its.close()
        answer = ours.recv()
        if sys.argv[1] == "terminated":
            process.terminate()
        process.join()
        print(name, answer[0], answer[1] == os.getpid(), process.exitcode, flush=True)
"""


def command(tmp_path: Path, *arguments: str, forks: bool = False, **environment: str) -> Command:
    """A program that needs the module `heavy`, in an environment where it is found."""
    (tmp_path / "heavy.py").write_text(HEAVY)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "spawning.py").write_text(SPAWNING)
    variables = {"PYTHONPATH": str(tmp_path), "IMPORTS": str(tmp_path / "imports"), "PATH": os.environ["PATH"]}
    preload = Preload(("heavy", "no_such_module"), forks)
    return Command((sys.executable, *arguments), variables | environment, tmp_path / "engine" / "1", preload=preload)


def imports(tmp_path: Path) -> int:
    return len((tmp_path / "imports").read_text().splitlines())


async def output_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    output = (await process.stdout.read()).decode()
    await process.wait()
    return output


async def waiting(one: Command) -> Standby:
    standby = await Standby.prepare(one)
    assert standby is not None
    assert await standby.wait_until_ready()
    return standby


async def test_a_standby_becomes_the_engine_with_everything_imported(tmp_path: Path) -> None:
    script = str(tmp_path / "program.py")
    standby = await waiting(command(tmp_path, script, "serve", "one"))
    assert imports(tmp_path) == 1
    assert Path(f"/proc/{standby.pid}/oom_score_adj").read_text().strip() == "750"
    assert standby.memory_bytes() > 0
    process = await start(command(tmp_path, script, "serve", "another"), standby)
    assert process.pid == standby.pid
    score = max(500, int(Path("/proc/self/oom_score_adj").read_text()))
    place = tmp_path / "engine" / "1"
    assert await output_of(process) == f"['serve', 'another'] {place} {tmp_path} {score} True\n"
    assert process.returncode == 3
    assert imports(tmp_path) == 1


async def test_a_module_is_run_as_the_interpreter_would(tmp_path: Path) -> None:
    standby = await waiting(command(tmp_path, "-m", "program"))
    process = await start(command(tmp_path, "-m", "program", "serve"), standby)
    place = tmp_path / "engine" / "1"
    assert (await output_of(process)).startswith(f"['serve'] {place} {place} ")


async def test_a_standby_for_another_environment_is_not_used(tmp_path: Path) -> None:
    standby = await waiting(command(tmp_path, str(tmp_path / "program.py"), OMP_NUM_THREADS="1"))
    process = await start(command(tmp_path, str(tmp_path / "program.py"), OMP_NUM_THREADS="2"), standby)
    assert process.pid != standby.pid
    assert not psutil.pid_exists(standby.pid)
    await output_of(process)
    assert imports(tmp_path) == 2


@pytest.mark.parametrize(("prepared", "wanted"), [("a", "b"), ("b", "a")])
async def test_a_standby_of_another_interpreter_is_not_used(tmp_path: Path, prepared: str, wanted: str) -> None:
    one = command(tmp_path, str(tmp_path / "program.py"))
    for name in (prepared, wanted):
        (tmp_path / name).symlink_to(sys.executable)
    interpreters = (str(tmp_path / name) for name in (prepared, wanted))
    commands = (dataclasses.replace(one, arguments=(python, *one.arguments[1:])) for python in interpreters)
    standby = await waiting(next(commands))
    process = await start(next(commands), standby)
    assert process.pid != standby.pid
    assert "[]" in await output_of(process)


async def test_a_standby_that_is_dead_or_not_ready_is_not_used(tmp_path: Path) -> None:
    script = str(tmp_path / "program.py")
    dead = await waiting(command(tmp_path, script))
    os.kill(dead.pid, signal.SIGKILL)
    slow = await Standby.prepare(command(tmp_path, script, SLOWLY="60"))
    assert slow is not None
    for standby in (dead, slow):
        process = await start(command(tmp_path, script), standby)
        assert process.pid != standby.pid
        assert "[]" in await output_of(process)
    assert find_processes(tmp_path / "engine") == []
    assert standby.memory_bytes() == 0


async def test_the_end_of_an_engine_spares_its_standby_and_stop_leaves_nothing(tmp_path: Path) -> None:
    one = command(tmp_path, "-c", "import time; time.sleep(60)", forks=False)
    standby = await waiting(one)
    engine = await EngineProcess.launch(one, tmp_path / "log")
    listening = asyncio.create_task(engine.listen(lambda line: None))
    await engine.stop(1.0)
    await listening
    assert [process.pid for process in find_processes(tmp_path / "engine")] == [standby.pid]
    await standby.stop()
    assert find_processes(tmp_path / "engine") == []
    standby = await waiting(one)
    end_processes(tmp_path / "engine")  # as of a vedette that is no more
    assert find_processes(tmp_path / "engine") == []
    await standby.stop()


async def test_a_program_with_unknown_imports_has_no_standby(tmp_path: Path) -> None:
    assert await Standby.prepare(Command(("/bin/true",), {}, tmp_path / "engine")) is None


async def test_a_standby_that_the_kernel_kills_is_no_sign_of_an_engines_death(tmp_path: Path) -> None:
    kills = [0]

    def count() -> int:
        return kills[0]

    one = command(tmp_path, str(tmp_path / "program.py"))
    watch = KillWatch(count)
    standby = await waiting(Command(one.arguments, one.environment, one.workplace, count, one.preload))
    kills[0] = 1
    os.kill(standby.pid, signal.SIGKILL)
    for _ in range(100):
        if watch.recent() == 0:
            break
        await asyncio.sleep(0.05)
    assert watch.recent() == 0
    kills[0] = 2
    assert watch.recent() == 1
    await standby.stop()


async def test_a_kill_is_not_ignored_where_a_standby_ended_in_another_way(tmp_path: Path) -> None:
    kills = [0]

    def count() -> int:
        return kills[0]

    one = command(tmp_path, str(tmp_path / "program.py"))
    watch = KillWatch(count)
    standby = await waiting(Command(one.arguments, one.environment, one.workplace, count, one.preload))
    kills[0] = 1
    os.kill(standby.pid, signal.SIGTERM)
    await asyncio.wait_for(standby._kill_task, 10)
    assert watch.recent() == 1
    await standby.stop()


async def test_only_the_first_process_that_a_program_spawns_is_a_fork(tmp_path: Path) -> None:
    one = command(tmp_path, str(tmp_path / "spawning.py"), "exits", forks=True)
    output = await output_of(await start(one))
    assert output.splitlines() == ["late word", "first first True 7", "late word", "second second True 7"]
    assert imports(tmp_path) == 2  # before both; and by the second


async def test_a_fork_that_is_killed_or_terminated_is_seen_to_be(tmp_path: Path) -> None:
    for how in ("killed", "terminated"):
        one = command(tmp_path, str(tmp_path / "spawning.py"), how, forks=True)
        lines = (await output_of(await start(one))).splitlines()
        assert lines[1].startswith("first first True ")
        assert not lines[1].endswith(" 0")
        assert find_processes(tmp_path / "engine") == []


async def test_a_fork_ends_with_its_parent(tmp_path: Path) -> None:
    one = command(tmp_path, str(tmp_path / "spawning.py"), "waits", forks=True)
    process = await start(one)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"late word\n"
    assert len(find_processes(tmp_path / "engine")) >= 3
    process.kill()
    await process.wait()
    for _ in range(100):
        if not find_processes(tmp_path / "engine"):
            break
        await asyncio.sleep(0.05)
    assert find_processes(tmp_path / "engine") == []

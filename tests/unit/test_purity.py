"""Modules that call themselves pure load nothing that reads, waits or draws, in an interpreter of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
HEAVY = ("aiohttp", "PIL", "psutil", "click", "pynvml", "huggingface_hub", "prometheus_client")
PURE = [
    "vedette.units",
    "vedette.language.message",
    "vedette.language.english",
    "vedette.language.chinese",
    "vedette.errors",
    "vedette.events",
    "vedette.deploy.crash",
    "vedette.deploy.recovery",
    "vedette.deploy.planning",
    "vedette.engine.state",
    "vedette.engine.vllm.causes",
    "vedette.engine.vllm.flags",
    "vedette.engine.vllm.log",
    "vedette.systemd.unit",
    "vedette.settings.table",
    *(
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in sorted((SOURCE / "vedette" / "plan").rglob("*.py"))
        if path.stem != "__init__"
    ),
]
SCRIPT = """
import importlib, sys
sys.path[:0] = [{source!r}, *{packages!r}]
for name in {names!r}:
    importlib.import_module(name)
    found = sorted(set({heavy!r}) & set(sys.modules))
    if found:
        sys.exit(f"{{name}} loads {{', '.join(found)}}")
"""


def test_what_calls_itself_pure_loads_nothing_else() -> None:
    # -S keeps a site's .pth files from loading anything; msgspec lies in its packages.
    packages = [path for path in sys.path if path.endswith("site-packages")]
    script = SCRIPT.format(source=str(SOURCE), packages=packages, names=PURE, heavy=HEAVY)
    result = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["vedette.engine.client", "vedette.engine.engine"])
def test_a_module_that_does_is_noticed(name: str) -> None:
    packages = [path for path in sys.path if path.endswith("site-packages")]
    script = SCRIPT.format(source=str(SOURCE), packages=packages, names=[name], heavy=HEAVY)
    result = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert f"{name} loads " in result.stderr

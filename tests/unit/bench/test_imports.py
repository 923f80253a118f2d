"""Every bench can be imported where nothing but an engine's libraries is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes


ROOT = Path(__file__).parents[3]
IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in {"numpy", "tokenizers", "torch", "transformers", "vllm"}:
            print(name, error)
"""


def test_every_bench_can_be_imported() -> None:
    """In an interpreter of its own, because some benches set environment variables for the libraries they import."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "bench").rglob("*.py")]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith(".__main__")]
    assert len(names) > 30
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", IMPORT, *names], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr

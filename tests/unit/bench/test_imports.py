"""Every bench can be imported, where only the libraries of an engine may be missing."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ENGINE_LIBRARIES = {"numpy", "tokenizers", "torch", "transformers", "vllm"}


@pytest.mark.parametrize("path", sorted((ROOT / "bench").rglob("*.py")), ids=lambda path: path.stem)
def test_it_can_be_imported(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if path.stem == "__main__":
        name = name.removesuffix(".__main__")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name in ENGINE_LIBRARIES  # noqa: PT017

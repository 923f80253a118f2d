"""Plans are values and arithmetic: making them needs no terminal, network, pictures or processes."""

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import vedette.plan

ROOM = Path(vedette.plan.__file__).parent
NOT_NEEDED = {"aiohttp", "asyncio", "click", "huggingface_hub", "PIL", "psutil", "pynvml", "socket", "subprocess"}


def test_a_bare_interpreter_loads_nothing_else_with_the_plan() -> None:
    """The names of all that is imported with the modules of plan/."""
    names = [
        ".".join(path.relative_to(ROOM.parents[1]).with_suffix("").parts)
        for path in sorted(ROOM.rglob("*.py"))
        if path.stem != "__init__"
    ]
    assert len(names) > 15
    code = f"import sys, {', '.join(names)}; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & NOT_NEEDED == set()


@pytest.mark.parametrize("room", ["device", "plan", "report"])
def test_values_cannot_be_changed(room: str) -> None:
    found = []
    for path in (ROOM.parent / room).rglob("*.py"):
        module = importlib.import_module(".".join(path.relative_to(ROOM.parents[1]).with_suffix("").parts))
        found += [kind for kind in vars(module).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)]
    assert len(found) > 5
    assert [kind for kind in found if not kind.__dataclass_params__.frozen] == []  # type: ignore[attr-defined]

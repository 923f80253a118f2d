"""Paths and modules that docs, comments and scripts name are there."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
READ = ("*.md", "*.py", "*.sh", "*.toml", "*.yaml", "*.yml")
PLACES = (".github", "bench", "docs", "examples", "requirements", "src", "tests", "training")
PATH = re.compile(r"(?<![\w/.-])(?:bench|examples|tests|training)/[\w/.-]+")
MODULE = re.compile(r"-m ((?:bench|training)\.[\w.]+)")


def texts() -> Iterator[tuple[Path, str]]:
    paths = [path for place in PLACES for pattern in READ for path in (ROOT / place).rglob(pattern)]
    for path in (*ROOT.glob("*.md"), ROOT / "check", *paths):
        if "node_modules" not in path.parts:
            yield path, path.read_text(encoding="utf-8")


def is_there(name: str) -> bool:
    """Also if it is the stem of several files, as a script's `--out`."""
    path = ROOT / name.rstrip("./")
    return path.exists() or any(path.parent.glob(f"{path.name}.*"))


def test_they_exist() -> None:
    names = [
        (path.relative_to(ROOT), name)
        for path, text in texts()
        for name in (*PATH.findall(text), *(module.replace(".", "/") for module in MODULE.findall(text)))
    ]
    assert len(names) > 100
    assert [(path, name) for path, name in names if not is_there(name)] == []

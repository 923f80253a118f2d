"""The arrows of docs/design.md: imports run one way only, those inside functions included."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "vedette"

# What each room may import from other rooms, besides those that are everyone's.
FOR_ALL = {"errors", "files", "language", "outputs", "tasks", "units"}
ALLOWED: dict[str, set[str]] = {
    "units": set(),
    "language": set(),
    "files": set(),
    "outputs": set(),
    "tasks": set(),
    "errors": set(),
    "settings": set(),
    "scene": set(),
    "device": set(),
    "models": set(),
    "plan": {"device", "models"},
    "report": {"device", "plan"},
    "engine": {"plan"},
    "measure": {"engine"},
    "events": {"device", "engine"},
    "deploy": {"device", "engine", "events", "measure", "models", "plan", "report", "settings"},
    "sources": {"scene"},
    "serve": {"engine", "events", "measure", "plan", "sources"},
    "instance": {"deploy", "engine", "events", "plan", "serve", "settings"},
    "systemd": {"settings"},
    "cli": {"deploy", "device", "engine", "events", "instance", "models", "report", "serve", "settings", "systemd"},
    "__main__": {"cli"},
}
MOST_FILES = 16
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "core", "helpers", "manager", "misc"}


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return [path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"]


def imported_modules(path: Path) -> Iterator[str]:
    """Dotted names of what a module imports: `a.b` for `from a import b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_rooms(path: Path) -> Iterator[str]:
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] == "vedette" and len(parts) > 1 and parts[1] != "__version__":
            yield parts[1]


def test_imports_run_one_way() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} imports {other}"
        for path in modules()
        for other in imported_rooms(path)
        if other not in ALLOWED[room(path)] | FOR_ALL | {room(path)}
    ]
    assert wrong == []


def test_every_room_is_on_the_map() -> None:
    assert {room(path) for path in modules()} == set(ALLOWED)


def test_no_two_rooms_need_each_other() -> None:
    left = {name: set(others) for name, others in ALLOWED.items()}
    while free := [name for name, others in left.items() if not others]:
        left = {name: others - set(free) for name, others in left.items() if name not in free}
    assert left == {}


def test_the_house_can_be_seen_at_one_look() -> None:
    at_the_top = [path for path in SOURCE.glob("*.py") if path.name != "__init__.py"]
    assert len(at_the_top) <= 8
    sources = [path for path in SOURCE.rglob("*") if path.suffix in {".py", ".js"} and path.name != "__init__.py"]
    files = Counter(path.parent for path in sources)
    assert {str(folder): count for folder, count in files.items() if count > MOST_FILES} == {}


def test_a_file_name_stands_in_one_room_alone() -> None:
    stems = Counter(path.stem for path in SOURCE.rglob("*") if path.suffix in {".py", ".js"})
    assert {stem for stem, count in stems.items() if count > 1} == {"__init__"}


def test_names_say_what_is_inside() -> None:
    assert [path for path in modules() if path.stem in NAMES_THAT_SAY_NOTHING] == []


def test_only_the_plan_is_pure_and_stays_so() -> None:
    impure = {"os", "time", "datetime", "random", "subprocess", "socket", "asyncio", "psutil", "aiohttp"}
    for path in (SOURCE / "plan").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & impure, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in impure, path


def test_tests_share_helpers_through_the_rig() -> None:
    """Tests and benches import from tests.rig, never from a test module or a conftest."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for directory in ("tests", "bench")
        for path in (ROOT / directory).rglob("*.py")
        for name in imported_modules(path)
        if name.split(".")[0] == "tests" and name.split(".")[1:2] != ["rig"]
    ]
    assert wrong == []

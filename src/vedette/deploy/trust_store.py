"""Whose code an owner trusts: for each model the files that were trusted, with their hashes.

A file of vedette's. Code that has changed since is not trusted any more. A record that is invalid, or that others may
have written, trusts nobody.
"""

import json
from pathlib import Path

import msgspec

from vedette.files import read_whole, write_whole
from vedette.models.model import Model
from vedette.plan.plan import Trust
from vedette.settings.home import Home

MAX_RECORD_BYTES = 1_000_000


def trust_in(model: Model, home: Home, *, given: bool) -> Trust:
    """Whether the model's own code may run. given: the owner says so now (`--trust-remote-code`)."""
    if given:
        return Trust.GIVEN
    if not model.own_code:
        return Trust.NONE
    recorded = _read(trusted_path(home)).get(str(model.path))
    if recorded is None:
        return Trust.NONE
    return Trust.GIVEN if recorded == _hashes(model) else Trust.OUTDATED


def record_trust(model: Model, home: Home) -> None:
    """Remember that the model's code, as it is now, may run."""
    if model.own_code:
        path = trusted_path(home)
        write_whole(path, json.dumps({**_read(path), str(model.path): _hashes(model)}, indent=1))


def trusted_path(home: Home) -> Path:
    """The file of all that is trusted."""
    return home.data / "trusted_code.json"


def _hashes(model: Model) -> dict[str, str]:
    return {file.name: file.sha256 for file in model.own_code if file.sha256 is not None}


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        return msgspec.json.decode(read_whole(path, MAX_RECORD_BYTES, own=True), type=dict[str, dict[str, str]])
    except (OSError, ValueError):
        return {}

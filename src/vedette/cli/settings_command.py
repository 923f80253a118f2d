"""`vedette settings`: each setting with its value and where that comes from."""

import os
from collections.abc import Mapping
from typing import Any

from vedette.cli.console.options import command
from vedette.cli.console.speech import Speech
from vedette.language.columns import columns, pad
from vedette.language.message import Message
from vedette.settings.home import home_paths
from vedette.settings.load import config_path, read_settings
from vedette.settings.table import SETTINGS, Settings


@command("settings", Message("cli.settings"), examples=("vedette settings", "vedette settings --json"))
def settings_command(speech: Speech) -> None:
    path, settings = config_path(), read_settings({})
    home = home_paths(os.environ)
    document = {
        "config_path": str(path),
        "config_exists": path.exists(),
        "data_path": str(home.data),
        "state_path": str(home.state),
        "cache_path": str(home.cache),
        "settings": [_row_json(settings, name) for name in SETTINGS],
    }
    found = (
        Message("cli.settings.file", path=str(path))
        if path.exists()
        else Message("cli.settings.no_file", path=str(path))
    )
    speech.tell(document, "\n".join([*_table(settings, speech), "", speech.say(found)]))


def _row_json(settings: Settings, name: str) -> Mapping[str, Any]:
    setting = SETTINGS[name]
    return {
        "name": name,
        "value": getattr(settings, name),
        "origin": settings.origins[name],
        "default": setting.default,
        "option": setting.option,
        "variable": setting.variable,
    }


def _table(settings: Settings, speech: Speech) -> list[str]:
    """The rows in columns: name, value, origin."""
    rows = [(name, _written(settings, name) or "-", _origin(settings, name, speech)) for name in SETTINGS]
    widths = [max(columns(row[index]) for row in rows) + 2 for index in (0, 1)]
    return [f"{pad(name, widths[0])}{pad(value, widths[1])}{origin}" for name, value, origin in rows]


def _written(settings: Settings, name: str) -> str | None:
    value = getattr(settings, name)
    return None if value is None else SETTINGS[name].kind.write(value)


def _origin(settings: Settings, name: str, speech: Speech) -> str:
    origin = settings.origins[name]
    if origin == "default":
        return speech.say(Message("cli.settings.default"))
    return SETTINGS[name].variable if origin == "environment" else origin

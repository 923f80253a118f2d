"""Settings in layers: default < configuration file < environment < command line, each value with its origin."""

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from vedette.errors import ConfigError
from vedette.files import read_whole
from vedette.language.message import Language, Message, chosen_language
from vedette.settings.table import SETTINGS, Setting, Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_FILE_BYTES = 1_000_000

Layer: TypeAlias = Mapping[str, Any]
"""The values that one layer sets, by the setting's name."""


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the configuration file is looked for; it need not exist."""
    named = environment.get("VEDETTE_CONFIG")
    if named:
        return Path(named)
    base = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or "~", ".config")
    return Path(base) / "vedette" / "config.toml"


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """All layers, joined. `flags` holds the command line's values; None there is "not given".

    Raises ConfigError for an unknown key, a value that cannot be used or an unreadable file.
    """
    path = config_path(environment)
    return join_layers(
        {
            str(path): parse_file(_read_file(path), path),
            "environment": parse_environment(environment),
            "command line": parse_flags(flags),
        }
    )


def read_language(wanted: str | None = None, environment: Mapping[str, str] = os.environ) -> Language:
    """The language to speak: the one wanted, else that of the environment, the file or the locale. Never fails.

    Errors are shown in this language, so an error in the settings must not prevent it.
    """
    choices = [wanted, environment.get(SETTINGS["lang"].variable)]
    if not any(choices):
        try:
            path = config_path(environment)
            choices.append(parse_file(_read_file(path), path).get("lang"))
        except ConfigError:
            pass
    return chosen_language(next(filter(None, choices), None), environment)


def parse_file(text: str, path: Path) -> Layer:
    """The configuration file's layer. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError("settings.no_toml", path=str(path), error=str(error)) from error
    for name in raw:
        if name not in SETTINGS:
            raise _unknown(name, path)
    fix = Message("settings.fix.file", path=str(path))
    return {name: _parse(SETTINGS[name], value, fix, is_text=False) for name, value in raw.items()}


def parse_environment(environment: Mapping[str, str]) -> Layer:
    """`VEDETTE_PORT=9000` and the like; an empty variable sets nothing. Raises ConfigError."""
    return {
        each.name: _parse(
            each, environment[each.variable], Message("settings.fix.variable", variable=each.variable), is_text=True
        )
        for each in SETTINGS.values()
        if environment.get(each.variable)
    }


def parse_flags(flags: Mapping[str, Any]) -> Layer:
    """The command line's layer; None is "not given". Raises ConfigError."""
    given = {SETTINGS[name]: value for name, value in flags.items() if value is not None}
    return {
        setting.name: _parse(
            setting, value, Message("settings.fix.option", option=setting.option or "MODEL"), is_text=True
        )
        for setting, value in given.items()
    }


def join_layers(layers: Mapping[str, Layer]) -> Settings:
    """The settings; later layers win over earlier ones."""
    values: dict[str, Any] = {}
    origins = dict.fromkeys(SETTINGS, "default")
    for origin, layer in layers.items():
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))
    return Settings(**values, origins=origins)


def _read_file(path: Path) -> str:
    try:
        return read_whole(path, _MOST_FILE_BYTES).decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("settings.unreadable_file", path=str(path), error=str(error)) from error


def _parse(setting: Setting, raw: Any, fix: Message, is_text: bool) -> Any:
    try:
        return setting.kind.parse(raw, is_text)
    except ValueError as error:
        shown = str(raw).lower() if isinstance(raw, bool) else repr(raw)
        wanted = setting.kind.wanted
        raise ConfigError("settings.unusable", name=setting.name, value=shown, wanted=wanted, fix=fix) from error


def _unknown(name: str, path: Path) -> ConfigError:
    near = difflib.get_close_matches(name, SETTINGS, n=1)
    if near:
        return ConfigError("settings.unknown_near", name=name, path=str(path), near=near[0])
    return ConfigError("settings.unknown", name=name, path=str(path))

"""Settings in layers: defaults < configuration file < environment < command line, each value with its origin."""

import difflib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from vedette.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PORT = 8090
DEFAULT_HOST = "127.0.0.1"
DEFAULT_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
DEFAULT_WAIT_S = 60
"""Seconds; client libraries wait longer, and an engine is back before, on most machines."""
MOST_PICTURE_SIDE = 65_535
"""Pixels; no JPEG is wider or higher."""

WorkloadName = Literal["live", "clip", "chat", "api"]
StandbyName = Literal["auto", "on", "off"]
_KINDS = {
    "model": "a name, a directory or a Hugging Face id, as a text",
    "host": "an address, as a text",
    "workload": "live, clip, chat or api",
    "picture": 'width and height in pixels, as a text: "640x480"',
    "torch_index": "an address, as a text",
    "image": "a container image's name, as a text",
    "engine": "auto, environment, container, a directory with vLLM, or a server's address, as a text",
    "beside": 'names of models, as a text: "ernie-4.5-0.3b, vedette-tiny"',
    "allow_swap": "true or false",
    "allow_smaller": "true or false",
    "standby": "auto, on or off",
}
_NUMBER = "a whole number"
"""What every other setting is."""


class Layer(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What one layer may set; None says nothing."""

    model: str | None = None
    host: str | None = None
    port: int | None = None
    context: int | None = None
    answer_tokens: int | None = None
    concurrency: int | None = None
    workload: WorkloadName | None = None
    picture: str | None = None
    images: int | None = None
    prompt_tokens: int | None = None
    torch_index: str | None = None
    image: str | None = None
    engine: str | None = None
    beside: str | None = None
    allow_swap: bool | None = None
    allow_smaller: bool | None = None
    wait_s: int | None = None
    standby: StandbyName | None = None


@dataclass(frozen=True)
class Settings:
    """What holds after all layers; `origins` names for each field the layer that its value comes from."""

    model: str | None
    """None lets vedette choose."""
    host: str
    port: int
    context: int | None
    answer_tokens: int | None
    concurrency: int | None
    workload: WorkloadName | None
    picture: tuple[int, int] | None
    """Width and height in pixels up to which pictures are to be seen."""
    images: int | None
    """Pictures in one request; 0 for text alone."""
    prompt_tokens: int | None
    torch_index: str
    """Where PyTorch's CPU wheels are looked for, besides the package index that pip is set up with."""
    image: str | None
    """The container image that the engine runs in, where it runs in one; None takes that of the catalogue."""
    engine: str
    """What runs the engine: auto, environment, container, a directory (an environment that a person has made, with
    vLLM in it), or the address of an OpenAI server that somebody else runs."""
    beside: tuple[str, ...]
    """Further models, served side by side with `model`."""
    allow_swap: bool
    """A request that names another installed model changes what is served."""
    allow_smaller: bool
    """Where not even the least plan fits any more, a smaller model of the family may take the place."""
    wait_s: int
    """Seconds that a request waits for an engine on its way before it is sent away."""
    standby: StandbyName
    """Whether a second engine process waits with its libraries loaded, to take over after a crash."""
    origins: Mapping[str, str]


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the configuration file is looked for; it need not exist."""
    named = environment.get("VEDETTE_CONFIG")
    if named:
        return Path(named)
    base = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or "~", ".config")
    return Path(base) / "vedette" / "config.toml"


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """All layers, joined. `flags` holds the command line's values; None there is "not given".

    Raises ConfigError for an unknown key, a wrong type or an unreadable file.
    """
    path = config_path(environment)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The configuration file {path} cannot be read ({error}).", "Mend it or remove it."
        ) from error
    return join_layers(
        {
            str(path): parse_file(text, path),
            "environment": parse_environment(environment),
            "command line": _layer({key: value for key, value in flags.items() if value is not None}, "command line"),
        }
    )


def parse_file(text: str, path: Path) -> Layer:
    """The configuration file's layer. Raises ConfigError."""
    try:
        return _layer(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The configuration file {path} is no valid TOML: {error}.", "Mend that line.") from error


def parse_environment(environment: Mapping[str, str]) -> Layer:
    """`VEDETTE_PORT=9000` and the like. Raises ConfigError for a value of the wrong type."""
    found = {
        name: environment[f"VEDETTE_{name.upper()}"]
        for name in Layer.__struct_fields__
        if environment.get(f"VEDETTE_{name.upper()}")
    }
    return _layer(found, "environment", strict=False)


def join_layers(layers: Mapping[str, Layer]) -> Settings:
    """Later layers win over earlier ones."""
    values: dict[str, Any] = {
        "model": None,
        "host": DEFAULT_HOST,
        "port": DEFAULT_PORT,
        "context": None,
        "answer_tokens": None,
        "concurrency": None,
        "workload": None,
        "picture": None,
        "images": None,
        "prompt_tokens": None,
        "torch_index": DEFAULT_TORCH_INDEX,
        "image": None,
        "engine": "auto",
        "beside": "",
        "allow_swap": False,
        "allow_smaller": False,
        "wait_s": DEFAULT_WAIT_S,
        "standby": "auto",
    }
    origins = dict.fromkeys(values, "default")
    for origin, layer in layers.items():
        for name in values:
            value = getattr(layer, name)
            if value is not None:
                values[name], origins[name] = value, origin
    if values["picture"] is not None:
        values["picture"] = _parse_size(values["picture"], origins["picture"])
    values["beside"] = tuple(values["beside"].replace(",", " ").split())
    settings = Settings(**values, origins=origins)
    _check_ranges(settings)
    return settings


def _parse_size(written: str, origin: str) -> tuple[int, int]:
    """`640x480` as (640, 480). Raises ConfigError for what is no size of a picture."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*[x×X*]\s*(\d{1,9})\s*", written)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (1 <= width <= MOST_PICTURE_SIDE and 1 <= height <= MOST_PICTURE_SIDE):
        raise ConfigError(
            f"picture is {written!r} (from {origin}), which is no size of a picture.",
            f"Write width and height in pixels, like 640x480 (each from 1 to {MOST_PICTURE_SIDE:,}).",
        )
    return width, height


def _layer(raw: Mapping[str, Any], origin: str, strict: bool = True) -> Layer:
    try:
        return msgspec.convert(dict(raw), Layer, strict=strict)
    except msgspec.ValidationError as error:
        raise _unusable(raw, str(error), origin) from error


def _unusable(raw: Mapping[str, Any], found: str, origin: str) -> ConfigError:
    """What is wrong with the first setting that is; found: what msgspec says of it."""
    known = Layer.__struct_fields__
    unknown = next((name for name in raw if name not in known), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, known, n=1)
        suggestion = f"Did you mean {near[0]}? " if near else ""
        return ConfigError(
            f"There is no setting {unknown!r} (from {origin}).", f"{suggestion}The settings are {', '.join(known)}."
        )
    name = next(name for name in known if name in raw and f"`$.{name}`" in found)
    return ConfigError(
        f"{name} is {raw[name]!r} (from {origin}), which cannot be.", f"Write {_KINDS.get(name, _NUMBER)}."
    )


_RANGES = {
    "port": (1, 65_535),
    "context": (64, 10_000_000),
    "answer_tokens": (1, 1_000_000),
    "concurrency": (1, 1024),
    "images": (0, 64),
    "prompt_tokens": (1, 1_000_000),
    "wait_s": (0, 3600),
}


def _check_ranges(settings: Settings) -> None:
    for name, (lowest, highest) in _RANGES.items():
        value = getattr(settings, name)
        if value is not None and not lowest <= value <= highest:
            raise ConfigError(
                f"{name} is {value} (from {settings.origins[name]}), which is out of range.",
                f"Choose from {lowest} to {highest}.",
            )

"""What transformers and vLLM know of each `model_type`: defaults, other names, nested sections. Values only.

Source: type_defaults.json, which bench/lab/type_defaults.py writes from the configuration classes of transformers 5.19
and vLLM 0.32.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from vedette.models.config_reader import ConfigReader


class TypeDefaults(msgspec.Struct, frozen=True):
    """One configuration class."""

    values: Mapping[str, Any] = {}
    """What is used where the file has no value."""
    names: Mapping[str, str] = {}
    """The class's own name for a value, by the usual name."""
    sections: Mapping[str, str] = {}
    """The type of a nested configuration that names none."""
    period: tuple[str, ...] = ()
    """Kinds of layers that repeat, where the file has no `layer_types`."""
    last: str | None = None
    """Kind of the last layer, where it is another."""


_NONE = TypeDefaults()


def defaults_of(model_type: str) -> TypeDefaults:
    """The defaults of a type; empty for one that neither transformers nor vLLM knows."""
    return _table().get(model_type, _NONE)


def is_known(model_type: str) -> bool:
    """Whether transformers or vLLM has a configuration class of this type."""
    return model_type in _table()


def part_type(part: ConfigReader, name: str, outer_type: str) -> str:
    """The type of a section called `name` in a configuration of type `outer_type`.

    Some files name the whole model's type within a section; a class that has sections itself is none of a section.
    """
    usual = defaults_of(outer_type).sections.get(name)
    named = part.text("model_type")
    if named is None or (usual is not None and (named == outer_type or defaults_of(named).sections)):
        return usual or named or outer_type
    return named


@cache
def _table() -> dict[str, TypeDefaults]:
    text = resources.files("vedette.models.forms").joinpath("type_defaults.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, TypeDefaults])

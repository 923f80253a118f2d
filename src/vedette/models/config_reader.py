"""Reads values from a model's JSON files, all of which are hostile input. Pure."""

from collections.abc import Mapping
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.language.message import Message

MAX_SIZE = 1 << 32
"""No size in a model's configuration is as large as this."""
MAX_COUNTS = {
    "num_hidden_layers": 10_000,
    "depth": 10_000,
    "num_attention_heads": 1 << 16,
    "temporal_patch_size": 1 << 10,
}
"""Limits of sizes that a plan counts through; published models stay far below."""


class ConfigReader:
    """The values of one JSON object. Every method raises ModelCorruptError for a missing or impossible value."""

    def __init__(self, values: Mapping[str, Any], where: str | Message) -> None:
        """where: the name of the file or section, for error messages."""
        self.values = values
        self.where = where

    def section(self, name: str) -> "ConfigReader | None":
        """The object called `name`; None if there is none."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ModelCorruptError("models.not_an_object", name=name, where=self.where)
        return ConfigReader(value, Message("models.section_of", name=name, where=self.where))

    def size(self, name: str, default: int | None = None) -> int:
        """A positive whole number; `default` if the file has none."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if value is None:
            raise ModelCorruptError("models.value_missing", name=name, where=self.where)
        limit = MAX_COUNTS.get(name, MAX_SIZE)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < limit:
            shown = _shortened(value)
            raise ModelCorruptError("models.not_a_size", name=name, where=self.where, value=shown, limit=limit)
        return value

    def number(self, name: str, default: float | None = None, most: float = MAX_SIZE) -> float:
        """A positive number of at most `most`; `default` if the file has none."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
            shown = _shortened(value)
            raise ModelCorruptError("models.not_a_number", name=name, where=self.where, value=shown, most=most)
        return float(value)

    def text(self, name: str) -> str | None:
        """A string; None if the file has none."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise ModelCorruptError("models.not_a_text", name=name, where=self.where, value=_shortened(value))
        return value


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

"""Takes values out of a model's JSON files, all of which are hostile input. Pure."""

from collections.abc import Mapping
from typing import Any

from vedette.errors import ModelCorruptError

MOST = 1 << 32
"""No size in a model's configuration is as large as this."""
HINT = "Its config.json is no configuration of a language model that vLLM serves; fetch it again or name another."


class ConfigReader:
    """Takes values out of a JSON object and says clearly what is missing or of the wrong kind."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def section(self, name: str) -> "ConfigReader | None":
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ModelCorruptError(f"{name} in {self.where} is no object.", HINT)
        return ConfigReader(value, f"{name} of {self.where}")

    def size(self, name: str, default: int | None = None) -> int:
        """A positive whole number; `default` where the file leaves it out."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if value is None:
            raise ModelCorruptError(f"{self.where} lacks {name}.", HINT)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < MOST:
            raise ModelCorruptError(
                f"{name} in {self.where} is {_shown(value)}, not a positive whole number below {MOST:,}.", HINT
            )
        return value

    def number(self, name: str, default: float | None = None, most: float = MOST) -> float:
        """A positive number of at most `most`; `default` where the file leaves it out."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
            raise ModelCorruptError(f"{name} in {self.where} is {_shown(value)}, not a positive number.", HINT)
        return float(value)

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise ModelCorruptError(f"{name} in {self.where} is {_shown(value)}, not a text.", HINT)
        return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

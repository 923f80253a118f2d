"""Takes out of an answer what only the owner is to see: where files lie, command lines, process ids. Pure."""

import re
from typing import Any

_PLACE = re.compile(
    r"(?<![\w/.])(?:file://|~[\w.-]*)?/(?!(?:v1|v2|api|static|metrics|healthz|docs|login)\b)(?:[^\s/'\"`,;:()<>{}\[\]]+/)+"
)
"""The directory in an absolute path; addresses of vedette's own are none."""


def without_places(value: Any) -> Any:
    """A JSON value with `…/name` in the place of every `/directory/name`."""
    if isinstance(value, str):
        return _PLACE.sub("…/", value)
    if isinstance(value, dict):
        return {key: without_places(each) for key, each in value.items()}
    return [without_places(each) for each in value] if isinstance(value, (list, tuple)) else value


def public_status(status: dict[str, Any]) -> dict[str, Any]:
    """A model's status as everyone may see it; `models` beside it too."""
    shown: dict[str, Any] = without_places(status) | {"engine_pid": None}
    if isinstance(shown.get("plan"), dict) and isinstance(shown["plan"].get("engine"), dict):
        shown["plan"] = shown["plan"] | {"engine": shown["plan"]["engine"] | {"argv": [], "env": {}}}
    if "models" in status:
        shown["models"] = [public_status(each) for each in status["models"]]
    return shown

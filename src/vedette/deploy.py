"""The order of things: facts, plan, engine. The only place that joins them; knows neither terminal nor HTTP."""

from collections.abc import Callable, Mapping
from typing import Any

Tell = Callable[[Mapping[str, Any]], None]
"""Receives each finding (`{"event": "device" | "model" | "plan", …}`) as it is made."""

_RESTARTS = 3
"""Starts in a row that may fail after the engine has once served, before it is given up."""
_BACKOFF_S = 2.0

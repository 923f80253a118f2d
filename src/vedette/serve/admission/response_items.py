"""The items of a request to `/v1/responses`, held against the shapes that vLLM reads. Pure.

vLLM compares an item with each of thirty types, and keeps every reason why none fits: a megabyte for an item of twelve
bytes (measured with vLLM 0.32: 400 items take 374 MiB, 19,000 took 19 GB). So few items may be of no usual shape.
"""

from collections.abc import Mapping
from typing import Any

from vedette.errors import BadInputError

MOST_UNUSUAL = 16
"""Items, and parts of items, of other shapes than these; they may be right all the same."""

_ROLES = frozenset({"user", "assistant", "system", "developer"})
_STATES = frozenset({None, "in_progress", "completed", "incomplete"})
_PHASES = frozenset({None, "commentary", "final_answer"})
_DETAILS = frozenset({None, "low", "high", "auto", "original"})


def check_items(path: str, items: Any) -> None:
    """Raises BadInputError if too many items of an `input` to `/v1/responses` are of no usual shape."""
    if not isinstance(items, list) or not path.startswith("/v1/responses"):
        return
    unusual = 0
    for place, item in enumerate(items):
        unusual += _unusual_in(item)
        if unusual > MOST_UNUSUAL:
            raise BadInputError("serve.unusual_items", place=place, most=MOST_UNUSUAL)


def _unusual_in(item: Any) -> int:
    """How many unusual shapes an item has: 1 for itself, or one for each of its parts."""
    if not isinstance(item, dict) or item.get("status") not in _STATES or not _is_text(item, "id", optional=True):
        return 1
    match item.get("type"):
        case None | "message":
            right = item.get("role") in _ROLES and item.get("phase") in _PHASES and "content" in item
            return _unusual_parts(item["content"]) if right else 1
        case "function_call":
            return not _is_text(item, "name", "arguments", "call_id")
        case "function_call_output":
            return _unusual_parts(item.get("output")) if _is_text(item, "call_id") else 1
        case "reasoning":
            right = _is_text(item, "id") and _is_text(item, "encrypted_content", optional=True)
            return _unusual_parts(item.get("summary")) + _unusual_parts(item.get("content", [])) if right else 1
    return 1


def _unusual_parts(content: Any) -> int:
    if isinstance(content, str):
        return 0
    return sum(not _is_part(part) for part in content) if isinstance(content, list) else 1


def _is_part(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    match part.get("type"):
        case "input_text" | "summary_text" | "reasoning_text":
            return _is_text(part, "text")
        case "output_text":
            return _is_text(part, "text") and part.get("annotations") == [] and not part.get("logprobs")
        case "refusal":
            return _is_text(part, "refusal")
        case "input_image":
            return _is_text(part, "image_url", "file_id", optional=True) and part.get("detail") in _DETAILS
    return False


def _is_text(value: Mapping[str, Any], *names: str, optional: bool = False) -> bool:
    return all(isinstance(value.get(name), str) or (optional and value.get(name) is None) for name in names)

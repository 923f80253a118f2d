"""A request's JSON as values, within bounds of its depth and its number of values. Pure.

The engine reads the same bytes with a parser of its own. What this parser cannot read never reaches the engine: a
request cannot look harmless here and mean something else there.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from vedette.errors import BadInputError
from vedette.serve.admission.request_limits import MOST_DEPTH


def _as_written(number: str) -> msgspec.Raw:
    """A number with a fraction or exponent, as the client wrote it: reading 50,000 long ones would take a second."""
    return msgspec.Raw(number.encode())


_decoder = msgspec.json.Decoder(float_hook=_as_written)


def check_size(body: bytes | bytearray, most_values: int) -> None:
    """Raises BadInputError if the JSON may have more than `most_values` values, without reading it.

    A list takes 64 bytes of memory for three bytes of text, so this is checked first.
    """
    if len(body) <= most_values:
        return
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > most_values:
        raise BadInputError("serve.json_too_many_values", values=values, most=most_values)


def parse_request(body: bytes | bytearray) -> Any:
    """The values; a number that is not whole is a `msgspec.Raw`.

    Raises BadInputError for what is no JSON, or is nested too deeply.
    """
    try:
        document = _decoder.decode(body)
    except RecursionError as error:
        raise _too_deep() from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInputError("serve.not_json", error=str(error)) from error
    if depth_of(document) > MOST_DEPTH:
        raise _too_deep()
    return document


def depth_of(document: Any) -> int:
    """How many objects and lists of a document are inside each other; 0 for a value that is neither."""
    depth, level = 0, [document] if isinstance(document, (dict, list)) else []
    while level:
        depth += 1
        level = [
            inside
            for value in level
            for inside in (value.values() if isinstance(value, dict) else value)
            if isinstance(inside, (dict, list))
        ]
    return depth


def nested(document: Any) -> Iterator[tuple[dict[str, Any] | list[Any], int]]:
    """Every object and list of a document, in no order, with its depth."""
    left = [(document, 1)] if isinstance(document, (dict, list)) else []
    while left:
        value, depth = left.pop()
        yield value, depth
        inside = value.values() if isinstance(value, dict) else value
        left += [(each, depth + 1) for each in inside if isinstance(each, (dict, list))]


def _too_deep() -> BadInputError:
    return BadInputError("serve.json_too_deep", most=MOST_DEPTH)

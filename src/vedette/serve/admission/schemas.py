"""Bounds of schemas, patterns and grammars, which the engine compiles before it answers. Pure.

Compiling takes the engine's server, and so every client, as long as the schema is complex: measured with xgrammar 0.1
(vLLM 0.32), 10,000 values of an `enum` take 1.2 s, 4,000 properties 2.8 s.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from vedette.errors import BadInputError
from vedette.serve.admission.request_json import depth_of, nested

MOST_BYTES = 64 * 1024
"""Of all schemas and grammars of a request together."""
MOST_DEPTH = 64
"""vLLM's own limit since 0.32."""
MOST_MEMBERS = 2000
"""Properties, values of an `enum` and alternatives, all together."""
MOST_REPEATS = 100_000
"""Items, characters or properties that a schema may ask for in one place."""
MOST_PATTERN = 1024
"""Characters of a pattern: 4,000 of `(a|b)*(a|b)*…` take 6.7 s."""
MOST_GRAMMAR = 8192
"""Characters of a grammar, whose rules are short."""
MOST_EXPANDED = 20_000
"""Characters of all patterns and grammars, with each repetition written out: 400 of 3,000 each take 25 s."""

_MEMBERS = ("properties", "patternProperties", "enum", "anyOf", "oneOf", "allOf", "prefixItems", "required")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "minContains")
_PATTERN_FIELDS = ("pattern", "regex", "grammar", "guided_regex", "guided_grammar", "whitespace_pattern")
_JSON_TEXTS = ("json", "guided_json", "structural_tag")
_LONGEST_INDEX = 9
_ROOTS = ("schema", "parameters", "input_schema")
"""Fields of a tool or a format that hold a schema, at whose beginning its references begin."""


def check_schemas(document: Mapping[str, Any]) -> None:
    """Raises BadInputError if a schema, pattern or grammar of the request takes too long to compile."""
    found = list(_constraints(document))
    if not found:
        return
    size = sum(len(msgspec.json.encode(each)) for _, each in found)
    if size > MOST_BYTES:
        raise BadInputError("serve.schema_too_large", size=size, most=MOST_BYTES)
    expanded = 0
    for name, constraint in found:
        if isinstance(constraint, str) and name in _JSON_TEXTS:
            constraint = _parsed(constraint)
        if not isinstance(constraint, str):
            expanded += _expanded_in(constraint)
        elif name in _PATTERN_FIELDS:
            expanded += expanded_size(constraint, MOST_GRAMMAR if "grammar" in name else MOST_PATTERN)
    if expanded > MOST_EXPANDED:
        raise BadInputError("serve.pattern_expands", characters=expanded, most=MOST_EXPANDED)


def _constraints(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each constraint with the name of the field that it stands in."""
    for name in ("response_format", "tools", "functions", "text", "output_config"):
        if isinstance(document.get(name), (dict, list)):
            yield name, document[name]
    for name, value in document.items():
        if name.startswith("guided_") and value is not None:
            yield name, value
    outputs = document.get("structured_outputs")
    if isinstance(outputs, dict):
        yield from ((name, value) for name, value in outputs.items() if isinstance(value, (str, dict, list)))


def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except RecursionError as error:
        raise _too_deep() from error
    except msgspec.DecodeError as error:
        raise BadInputError("serve.not_json", error=str(error)) from error


def _expanded_in(schema: Any) -> int:
    """The size of all patterns in a schema. Raises BadInputError if the schema takes too long to compile."""
    if depth_of(schema) > MOST_DEPTH:
        raise _too_deep()
    _check_references(schema)
    members = expanded = 0
    for value, _ in nested(schema):
        if not isinstance(value, dict):
            continue
        members += sum(len(value[name]) for name in _MEMBERS if isinstance(value.get(name), (dict, list)))
        _check_counts(value)
        expanded += sum(expanded_size(text, MOST_PATTERN) for text in _patterns(value))
        for name in _ROOTS:
            _check_references(value.get(name))
    if members > MOST_MEMBERS:
        raise BadInputError("serve.schema_members", members=members, most=MOST_MEMBERS)
    return expanded


def _check_counts(value: Mapping[str, Any]) -> None:
    for name in _COUNTS:
        count = value.get(name)
        if isinstance(count, (int, float)) and count > MOST_REPEATS:
            raise BadInputError("serve.schema_repeats", repeats=int(min(count, 2**53)), most=MOST_REPEATS)


def _patterns(value: Mapping[str, Any]) -> Iterator[str]:
    yield from (value[name] for name in _PATTERN_FIELDS if isinstance(value.get(name), str))
    if isinstance(value.get("patternProperties"), dict):
        yield from value["patternProperties"]


def _check_references(root: Any) -> None:
    """Raises BadInputError if a reference leads back to itself through references only.

    A reference to an object that contains it makes a list or a tree, and has an end.
    """
    ended: set[str] = set()
    for start, _ in nested(root):
        seen: set[str] = set()
        now: Any = start
        while isinstance(now, dict) and isinstance(reference := now.get("$ref"), str) and reference not in ended:
            if reference in seen:
                raise BadInputError("serve.schema_loop", reference=reference[:100])
            seen.add(reference)
            now = _target(root, reference)
        ended |= seen


def _target(root: Any, reference: str) -> Any:
    if not reference.startswith("#"):
        return None
    for step in filter(None, reference[1:].split("/")):
        if isinstance(root, dict):
            root = root.get(step.replace("~1", "/").replace("~0", "~"))
        elif isinstance(root, list) and step.isdecimal() and len(step) <= _LONGEST_INDEX and int(step) < len(root):
            root = root[int(step)]
        else:
            return None
    return root


def expanded_size(pattern: str, most: int) -> int:
    """The characters of a pattern or grammar with each repetition written out; a repetition without end is one.

    most: characters as it stands. Raises BadInputError if it has more.
    """
    if len(pattern) > most:
        raise BadInputError("serve.pattern_too_long", characters=len(pattern), most=most)
    open_groups, last, place = [0], 0, 0  # the sizes of the groups that are open, and of the last part
    while place < len(pattern):
        sign = pattern[place]
        place += 2 if sign == "\\" else 1
        if sign in "([":
            open_groups.append(0)
        elif sign in ")]" and len(open_groups) > 1:
            last = open_groups.pop()
            open_groups[-1] += last
        elif sign == "{" and (times := _times(pattern[place : place + 24])) is not None:
            open_groups[-1] += last * (times - 1)
            last *= times
            place = pattern.index("}", place) + 1
        else:
            last = 1
            open_groups[-1] += 1
    return sum(open_groups)


def _times(text: str) -> int | None:
    """The larger number of `3}`, `3,}` or `3,5}`; None for anything else."""
    inside, end, _ = text.partition("}")
    least, _, at_most = inside.partition(",")
    numbers = [int(each) for each in (least.strip(), at_most.strip()) if each.isascii() and each.isdigit()]
    return max(numbers) if end and numbers else None


def _too_deep() -> BadInputError:
    return BadInputError("serve.schema_too_deep", most=MOST_DEPTH)

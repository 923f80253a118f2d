"""Bounds of schemas, patterns and grammars, which the engine compiles before it answers. Pure.

Compiling takes the engine's server, and so every client, as long as the schema is complex. Measured with the xgrammar
of vLLM 0.32: 10,000 values of an `enum` take 1.2 s, 1,900 properties 1.5 s, 900 with a format or a range more than 8 s,
and 100 of which 50 must be there 2.5 s.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from vedette.errors import BadInputError
from vedette.serve.admission.request_json import check_size, depth_of, nested, parse_request

MOST_BYTES = 64 * 1024
"""Of all schemas and grammars of a request together."""
MOST_DEPTH = 64
"""vLLM's own limit since 0.32."""
MOST_STEPS = 2000
"""A property, a value of an `enum` or an alternative is a step: up to a second and a half."""
MOST_STEPS_OF_TOOLS = 20_000
"""Of tools that the model may use or not: vLLM compiles only those that it has to use."""
_STEPS_OF_A_RANGE = 20
MOST_REPEATS = 100_000
"""Items, characters or properties that a schema may ask for in one place."""
MOST_PATTERN = 1024
"""Characters of a pattern: 4,000 of `(a|b)*(a|b)*…` take 6.7 s."""
MOST_GRAMMAR = 8192
"""Characters of a grammar, whose rules are short."""
MOST_ENDLESS = 200
"""`*` and `+` in one pattern or grammar: 600 of `("a"|"b")*` in a row take 8 s."""
MOST_EXPANDED = 20_000
"""Characters of all patterns and grammars, with each repetition written out: 400 of 3,000 each take 25 s."""

_MEMBERS = ("properties", "patternProperties", "enum", "anyOf", "oneOf", "allOf", "prefixItems", "required")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "minContains")
_RANGES = ("format", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", *_COUNTS)
_PATTERN_FIELDS = ("pattern", "regex", "grammar", "guided_regex", "guided_grammar", "whitespace_pattern")
_TOOLS = ("tools", "functions")
_JSON_TEXTS = ("json", "guided_json", "structural_tag")
_LONGEST_INDEX = 9
_ROOT_DEPTH = 5
_ROOTS = ("schema", "parameters", "input_schema")
"""Fields of a tool or a format that hold a schema, at whose beginning its references begin."""


def check_schemas(document: Mapping[str, Any]) -> None:
    """Raises BadInputError if a schema, pattern or grammar of the request takes too long to compile."""
    found = list(_constraints(document))
    if not found:
        return
    size = sum(len(msgspec.json.encode(each)) for name, each in found if name not in _TOOLS)
    if size > MOST_BYTES:
        raise BadInputError("serve.schema_too_large", size=size, most=MOST_BYTES)
    free = document.get("tool_choice") in (None, "auto", "none", {"type": "auto"}, {"type": "none"})
    expanded = 0
    for name, constraint in found:
        if isinstance(constraint, str) and name in _JSON_TEXTS:
            constraint = _parse_text(constraint)
        if not isinstance(constraint, str):
            expanded += _expanded_in(constraint, MOST_STEPS_OF_TOOLS if free and name in _TOOLS else MOST_STEPS)
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


def _parse_text(text: str) -> Any:
    check_size(text.encode(), MOST_BYTES // 2)
    return parse_request(text.encode())


def _expanded_in(schema: Any, most_steps: int) -> int:
    """The size of all patterns in a schema. Raises BadInputError if the schema takes too long to compile."""
    if depth_of(schema) > MOST_DEPTH:
        raise _too_deep()
    _check_references(schema)
    steps = expanded = 0
    for value, depth in nested(schema):
        if not isinstance(value, dict):
            continue
        _check_counts(value)
        steps += _steps(value)
        expanded += sum(expanded_size(text, MOST_PATTERN) for text in _patterns(value))
        for name in _ROOTS if depth <= _ROOT_DEPTH else ():
            _check_references(value.get(name))
    if steps > most_steps:
        raise BadInputError("serve.schema_steps", steps=steps, most=most_steps, range_steps=_STEPS_OF_A_RANGE)
    return expanded


def _steps(value: Mapping[str, Any]) -> int:
    steps = sum(len(value[name]) for name in _MEMBERS if isinstance(value.get(name), (dict, list)))
    if not value.keys().isdisjoint(_RANGES):
        steps += _STEPS_OF_A_RANGE
    properties = value.get("properties")
    if isinstance(properties, dict):  # each number of them that may be there is a case of its own
        steps += len(properties) * max(_count(value.get("minProperties")), _count(value.get("maxProperties")))
    return steps


def _check_counts(value: Mapping[str, Any]) -> None:
    for name in _COUNTS:
        count = _count(value.get(name))
        if count > MOST_REPEATS:
            raise BadInputError("serve.schema_repeats", repeats=count, most=MOST_REPEATS)


def _count(value: Any) -> int:
    """A count in a schema, also one that is written as `1e3` or `3.0`; 0 for anything else."""
    if isinstance(value, msgspec.Raw):
        return int(min(float(bytes(value)), 2.0**53))
    return value if isinstance(value, int) else 0


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
    endless = pattern.count("*") + pattern.count("+")
    if endless > MOST_ENDLESS:
        raise BadInputError("serve.pattern_endless", repeats=endless, most=MOST_ENDLESS)
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

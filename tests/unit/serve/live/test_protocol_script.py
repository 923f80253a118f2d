"""The page's types of the live socket's messages are those of the server."""

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from tests.rig.node import STATIC
from vedette.engine.state import Phase, State
from vedette.serve.api.served_models import ListedModel
from vedette.serve.documents import CauseDocument, ErrorDocument, MessageDocument, ModelStatusDocument
from vedette.serve.live import messages

PROTOCOL = (STATIC / "live" / "protocol.js").read_text(encoding="utf-8")
SCRIPTS = "".join(path.read_text(encoding="utf-8") for path in sorted(STATIC.rglob("*.js")))
FROM_PAGE: tuple[type[msgspec.Struct], ...] = (messages.Start, messages.Stop, messages.NoFrame)
FROM_SERVER: tuple[type[msgspec.Struct], ...] = get_args(messages.ServerMessage)
SCRIPT_NAMES = {MessageDocument: "Message", CauseDocument: "Problem"}
"""Types that have another name in the page's scripts."""
NAMED_FIELDS = {"engine": "EngineStatus", "params": "Record<string, Parameter>"}
"""Types of fields that are plain dictionaries in Python."""


def typedef(name: str) -> dict[str, tuple[str, bool]]:
    """Type and presence of the fields that the page knows: {name: (type, may be left out)}."""
    block = re.search(rf"/\*\*(?:(?!\*/).)*@typedef \{{object\}} {name}\n(.*?)\*/", SCRIPTS, re.DOTALL)
    assert block, f"the scripts have no type {name}"
    fields = re.findall(r"@property \{(.+?)\} (\[)?(\w+)", block[1])
    return {name: (kind, bool(optional)) for kind, optional, name in fields}


def union(name: str) -> set[str]:
    block = re.search(rf"@typedef \{{([^}}]*)\}} {name}\b", PROTOCOL)
    assert block, f"the scripts have no type {name}"
    return {part.strip(' "*\n') for part in block[1].split("|")}


def script_type(hint: Any, field: str) -> str:
    """The JSDoc type of a Python type."""
    if get_origin(hint) is Annotated:
        return script_type(get_args(hint)[0], field)
    if get_origin(hint) is Literal:
        return " | ".join(f'"{value}"' for value in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(script_type(part, field) for part in get_args(hint))
    if get_origin(hint) in (dict, Mapping):
        return NAMED_FIELDS[field]
    if hint in SCRIPT_NAMES:
        return SCRIPT_NAMES[hint]
    simple = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
    return simple.get(hint) or str(hint.__name__)


def wanted(struct: type[msgspec.Struct]) -> dict[str, tuple[str, bool]]:
    """The fields that a message has on the wire."""
    config = struct.__struct_config__
    hints = get_type_hints(struct, include_extras=True)
    fields = {"type": (f'"{config.tag}"', False)} if config.tag else {}
    for field in msgspec.structs.fields(struct):
        may_be_left_out = not field.required and (config.omit_defaults or struct in FROM_PAGE)
        fields[field.encode_name] = (script_type(hints[field.name], field.name), may_be_left_out)
    return fields


@pytest.mark.parametrize("struct", [*FROM_PAGE, *FROM_SERVER, messages.Limits], ids=lambda struct: struct.__name__)
def test_messages_have_the_same_fields(struct: type[msgspec.Struct]) -> None:
    assert typedef(struct.__name__) == wanted(struct)


def test_the_page_knows_every_message() -> None:
    assert union("PageMessage") == {struct.__name__ for struct in FROM_PAGE}
    assert union("ServerMessage") == {struct.__name__ for struct in FROM_SERVER}


def test_states_and_phases_are_the_engines() -> None:
    assert union("State") == {state.value for state in State}
    assert union("Phase") == {phase.value for phase in Phase}
    panel = (STATIC / "live" / "engine_panel.js").read_text(encoding="utf-8")
    in_order = re.search(r"const PHASES = \[(.*?)\]", panel, re.DOTALL)
    assert in_order
    assert re.findall(r'"(\w+)"', in_order[1]) == [phase.value for phase in Phase]


@pytest.mark.parametrize(
    ("name", "struct"),
    [
        ("EngineStatus", ModelStatusDocument),
        ("ListedModel", ListedModel),
        ("Problem", CauseDocument),
        ("Problem", ErrorDocument),
        ("Message", MessageDocument),
    ],
)
def test_the_page_reads_fields_that_a_document_has(name: str, struct: type[msgspec.Struct]) -> None:
    hints = get_type_hints(struct, include_extras=True)
    optional = {field.name for field in msgspec.structs.fields(struct) if not field.required}
    for field, (kind, may_be_left_out) in typedef(name).items():
        assert may_be_left_out == (field in optional), field
        kinds, wanted_kinds = set(kind.split(" | ")), set(script_type(hints[field], field).split(" | "))
        if all(each == "State" or each.startswith('"') for each in kinds):
            kinds.add("string")  # the page names the texts that it tells apart
        assert wanted_kinds <= kinds, field

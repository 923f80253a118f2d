"""The page's types of the live socket's messages are those of the server."""

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from tests.rig.node import STATIC
from vedette.engine.state import Phase, State, Status
from vedette.serve.documents import MessageDocument
from vedette.serve.live import messages

TEXT = (STATIC / "live" / "protocol.js").read_text(encoding="utf-8")
FROM_PAGE: tuple[type[msgspec.Struct], ...] = (messages.Start, messages.Stop, messages.NoFrame)
FROM_SERVER: tuple[type[msgspec.Struct], ...] = get_args(messages.ServerMessage)
NAMED_TYPES = {"engine": "EngineStatus"}
"""Types of fields that are plain dictionaries in Python."""


def typedef(name: str) -> dict[str, tuple[str, bool]]:
    """Type and presence of the fields that the page knows: {name: (type, may be left out)}."""
    block = re.search(rf"/\*\*(?:(?!\*/).)*@typedef \{{object\}} {name}\n(.*?)\*/", TEXT, re.DOTALL)
    assert block, f"protocol.js has no type {name}"
    fields = re.findall(r"@property \{(.+?)\} (\[)?(\w+)", block[1])
    return {name: (kind, bool(optional)) for kind, optional, name in fields}


def union(name: str) -> set[str]:
    block = re.search(rf"@typedef \{{([^}}]*)\}} {name}\b", TEXT)
    assert block, f"protocol.js has no type {name}"
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
        return NAMED_TYPES[field]
    if hint is MessageDocument:
        return "Message"
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


def test_the_page_reads_fields_that_a_status_has() -> None:
    added = {"model", "next_model", "detail_message"}  # by the deployment and by events.py
    assert set(typedef("EngineStatus")) - added == set(Status(State.STARTING, Phase.PLANNING).as_json()) - added

"""The browser tells a message in the words in which Python tells it."""

import string
from collections.abc import Iterator, Mapping

import pytest

from tests.rig.node import run_in_node
from vedette.language.message import Language, Message, Parameter, hint_of, message_json, say, table
from vedette.units import GIB, MIB

SIZES = [
    0,
    1,
    MIB - 1,
    MIB,
    50 * MIB + MIB // 2,
    51 * MIB + MIB // 2,
    GIB // 10 - 1,
    GIB // 10,
    GIB // 10 + 1,
    GIB + GIB // 8,
    GIB + 3 * GIB // 8,
    5.25 * GIB / 2,
    -3 * GIB,
    987_654_321_012,
]
DURATIONS = [0, 0.04, 0.25, 0.35, 8.06, 59.94, 59.96, 60, 60.5, 61.5, 200, 3599.4, 3599.6, 3900, 90_000]
NUMBERS = [
    0,
    7,
    -7,
    999,
    1000,
    12_345,
    1_234_567,
    -1000,
    0.125,
    0.375,
    -0.125,
    2.5,
    3.5,
    1234.5,
    99.995,
    10**15,
    123_456_789.5,
]

TABLE: dict[str, str | tuple[str, str]] = {
    "test.size": "{free_bytes}",
    "test.missing": "{missing_bytes:missing}",
    "test.duration": "{wait_s}",
    "test.number": "{number}",
    **{f"test.form{form}": f"{{number:{form}}}" for form in (".0f", ".1f", ".2f", ",.1f", ",.0f")},
    **{f"test.whole{form}": f"{{number:{form}}}" for form in ("d", ",")},
    "test.text": ("{{{name}}} `{count:d}` {nothing}.", "{hint}"),
    "test.outer": ("{cause} {causes}", "{{}}"),
}


def messages() -> Iterator[Message]:
    for size in SIZES:
        yield Message("test.size", free_bytes=size)
        yield Message("test.missing", missing_bytes=size)
    for duration in DURATIONS:
        yield Message("test.duration", wait_s=duration)
    for number in NUMBERS:
        yield Message("test.number", number=number)
        for code in TABLE:
            if code.startswith("test.form") or (code.startswith("test.whole") and isinstance(number, int)):
                yield Message(code, number=number)
    text = Message("test.text", name="$& {name}", count=12_345, nothing=None, hint="")
    yield text
    yield Message("test.outer", cause=text, causes=["a", text, Message("test.number", number=12_345)])
    yield Message("test.outer", cause="", causes=[])


def made_up(name: str, number: int) -> Parameter:
    """A value for a parameter of a table, of which only the name is known."""
    if name.endswith("_bytes"):
        return number * 123_456_789
    if name.endswith("_s"):
        return number * 7.77
    if number % 4 == 0:
        return Message("phase.planning")
    if number % 4 == 1:
        return ["--flag", Message("state.ready")]
    return f"`{name}`"


def table_messages(sentences: Mapping[str, str | tuple[str, str]]) -> Iterator[Message]:
    for code, entry in sentences.items():
        fields = [field for text in ([entry] if isinstance(entry, str) else entry) for field in fields_of(text)]
        numbers = {name for name, form in fields if form}
        for number in range(4):
            values = {
                name: 1000 * number + 5 if name in numbers else made_up(name, number + position)
                for position, (name, _) in enumerate(fields)
            }
            yield Message(code, **values)


def fields_of(template: str) -> list[tuple[str, str]]:
    return [(name, form or "") for _, name, form, _ in string.Formatter().parse(template) if name is not None]


def said_in_node(
    given: list[Message], sentences: Mapping[str, str | tuple[str, str]], language: str
) -> list[list[str]]:
    script = """
    const { say, hintOf } = await import("./static/shared/sentence.js");
    const { messages, table, language } = data;
    return messages.map((each) => [say(each, table, language), hintOf(each, table, language)]);
    """
    data = {"messages": [message_json(each) for each in given], "table": sentences, "language": language}
    found: list[list[str]] = run_in_node(script, data)
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_values_are_shown_alike(language: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette.language.message.table", lambda _: TABLE)
    given = list(messages())
    wanted = [[say(each, language), hint_of(each, language) or ""] for each in given]
    for message, ours, theirs in zip(given, wanted, said_in_node(given, TABLE, language), strict=True):
        assert theirs == ours, message_json(message)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_sentence_is_told_alike(language: Language) -> None:
    given = list(table_messages(table(language)))
    wanted = [[say(each, language), hint_of(each, language) or ""] for each in given]
    for message, ours, theirs in zip(given, wanted, said_in_node(given, table(language), language), strict=True):
        assert theirs == ours, message_json(message)


def test_what_a_table_lacks_is_an_error() -> None:
    script = """
    const { say } = await import("./static/shared/sentence.js");
    const table = { "test.a": "{name}", "test.form": "{number:x}" };
    return [["test.b", {}], ["toString", {}], ["test.a", {}], ["test.form", { number: 1 }]].map(([code, params]) => {
      try { return say({ code, params }, table, "en"); } catch (error) { return error.message; }
    });
    """
    assert run_in_node(script) == [
        "The table has no test.b.",
        "The table has no toString.",
        "test.a came without name.",
        "No number is written as x.",
    ]

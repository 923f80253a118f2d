import pytest

from vedette.language import message
from vedette.language.message import (
    Message,
    Table,
    chosen_language,
    hint_of,
    message_json,
    parse_message,
    received_message,
    say,
)

EN: Table = {
    "all": "{free_bytes}, {wait_s}, {tokens}, {port:d}, {missing_bytes:missing}, {rate:.1f}, {text}, {none}",
    "pair": ("Why: {cause}.", "{hint}"),
    "list": "Held by {names}.",
}
ZH: Table = {"all": "{text}", "pair": ("原因:{cause}。", "{hint}"), "list": "由 {names} 占用。"}


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "table", {"en": EN, "zh": ZH}.__getitem__)


def test_a_value_is_shown_by_its_unit_or_as_the_template_says() -> None:
    shown = Message(
        "all",
        free_bytes=2**30,
        wait_s=200,
        tokens=12345,
        port=8090,
        missing_bytes=2**30,
        rate=2.25,
        text="x",
        none=None,
    )
    assert say(shown) == "1.00 GiB, 3 min 20 s, 12,345, 8090, 1.01 GiB, 2.2, x, "


def test_messages_in_messages_are_shown_in_the_same_language() -> None:
    shown = Message("pair", cause=Message("list", names=("a", "b")), hint="")
    assert say(shown) == "Why: Held by a, b.."
    assert say(shown, "zh") == "原因:由 a、b 占用。。"
    assert hint_of(shown) is None
    assert hint_of(Message("pair", cause="", hint="Free some.")) == "Free some."


def test_a_message_survives_json_unchanged() -> None:
    shown = Message("pair", cause=Message("list", names=("a", Message("list", names=()))), hint=3)
    assert parse_message(message_json(shown)) == shown
    assert hash(parse_message(message_json(shown))) == hash(shown)


def test_a_message_of_another_version_is_shown_by_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    known = message_json(Message("list", names=("a",)))
    assert received_message(known, "Held by a.") == Message("list", names=("a",))
    verbatim = Message("errors.verbatim", sentence="As it was.", hint="Do so.")
    for other in (None, 3, {"code": "list"}, {"code": "newer", "params": {}}, {"code": "list", "params": {"b": 1}}):
        assert received_message(other, "As it was.", "Do so.") == verbatim


@pytest.mark.parametrize(
    ("wanted", "environment", "language"),
    [
        (None, {}, "en"),
        (None, {"LANG": "zh_CN.UTF-8"}, "zh"),
        (None, {"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ("zh", {"LANG": "C"}, "zh"),
        ("en", {"LANG": "zh_TW"}, "en"),
    ],
)
def test_the_language_is_that_of_the_option_or_of_the_locale(
    wanted: str | None, environment: dict[str, str], language: str
) -> None:
    assert chosen_language(wanted, environment) == language

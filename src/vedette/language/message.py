"""Messages: a code with parameters, turned into an English or Chinese sentence only where a person reads it.

All other packages create messages, never sentences. `english.py` and `chinese.py` hold the sentences, keyed by code.
Parameters are raw values with their units in their names; a template decides how they are shown:

    {free_bytes}            a size: 1.23 GiB            {missing_bytes:missing}   a size, rounded up
    {wait_s}                a duration: 3 min 20 s      {port:d}                  a plain number: 8090
    {tokens}                a number: 12,345            {rate:.1f}                as Python formats it

A string is shown on one line, with escapes for control characters (foreign_text.py), and a message in the same
language. A sequence of strings and messages is joined with commas. None is shown as an empty string.
serve/static/shared/sentence.js does the same in the browser; a test compares the two.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import Any, Literal, TypeAlias

from vedette.language.foreign_text import plain
from vedette.units import duration, missing_size, size

Language = Literal["en", "zh"]
Parameter: TypeAlias = "str | int | float | Message | Sequence[str | Message] | None"
Table: TypeAlias = Mapping[str, str | tuple[str, str]]
"""Maps each code to a sentence, or to a sentence and a hint."""

FAMILIES = ("phase.", "state.")
"""Prefixes of codes that end in an enum's value. Only these codes are built at run time; all others are literals."""
_SEPARATORS: dict[Language, str] = {"en": ", ", "zh": "、"}


@dataclass(frozen=True, init=False)
class Message:
    """The code of a sentence (with a hint, if it has one) in the language tables, and the values to fill in."""

    code: str
    params: Mapping[str, Any]
    """Values of the type `Parameter`; msgspec on Python 3.10 does not read that alias."""

    def __init__(self, code: str, /, **params: Parameter) -> None:
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "params", params)

    def __hash__(self) -> int:
        return hash((self.code, tuple(self.params)))

    def __str__(self) -> str:
        return say(self)


def say(message: Message, language: Language = "en") -> str:
    """Return the sentence of a message. Raises KeyError for an unknown code or a missing parameter: both are bugs."""
    entry = table(language)[message.code]
    return _fill(entry if isinstance(entry, str) else entry[0], message.params, language)


def hint_of(message: Message, language: Language = "en") -> str | None:
    """Return the hint, the next step; None if the table has no hint for this code or the filled-in hint is empty."""
    entry = table(language)[message.code]
    return None if isinstance(entry, str) else _fill(entry[1], message.params, language) or None


def message_json(message: Message) -> dict[str, Any]:
    """Return the message as JSON, for programs and for the page, which shows it in the page's language."""
    return {"code": message.code, "params": {name: _plain(value) for name, value in message.params.items()}}


def parse_message(document: Mapping[str, Any]) -> Message:
    """Return the message that `message_json` turned into JSON."""
    return Message(str(document["code"]), **{name: _parsed(value) for name, value in document["params"].items()})


def received_message(message: object, sentence: object = None, hint: object = None) -> Message:
    """Return a message that another vedette sent; if its code is unknown here, a message of its sentence and hint.

    The other vedette may be older or newer: a code may be unknown here or have other parameters.
    """
    if isinstance(message, Message):
        return message
    if isinstance(message, Mapping) and message.get("code") in table("en") and "params" in message:
        received = parse_message(message)
        with contextlib.suppress(KeyError, ValueError):
            say(received)
            return received
    return Message("errors.verbatim", sentence=str(sentence or ""), hint=str(hint or ""))


def chosen_language(wanted: str | None = None, environment: Mapping[str, str] = os.environ) -> Language:
    """Return the language for output: `wanted` if given, else the language of LC_ALL, LC_MESSAGES or LANG."""
    locale = wanted or next(
        (environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), ""
    )
    return "zh" if locale.lower().startswith("zh") else "en"


@lru_cache
def table(language: Language) -> Table:
    """Return the sentences of a language. The table is imported at the first call."""
    if language == "zh":
        from vedette.language.chinese import CHINESE

        return CHINESE
    from vedette.language.english import ENGLISH

    return ENGLISH


def _fill(template: str, params: Mapping[str, Parameter], language: Language) -> str:
    parts = []
    for text, name, spec, _ in Formatter().parse(template):
        parts.append(text)
        if name is not None:
            parts.append(_shown(name, params[name], spec or "", language))
    return "".join(parts)


def _shown(name: str, value: Parameter, spec: str, language: Language) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Message):
        return say(value, language)
    if isinstance(value, (int, float)):
        if spec == "missing":
            return missing_size(value)
        if spec:
            return format(value, spec)
        if name.endswith("_bytes"):
            return size(value)
        if name.endswith("_s"):
            return duration(value)
        return f"{value:,}"
    return _SEPARATORS[language].join(plain(each) if isinstance(each, str) else say(each, language) for each in value)


def _plain(value: Parameter) -> Any:
    if isinstance(value, Message):
        return message_json(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    return [each if isinstance(each, str) else message_json(each) for each in value]


def _parsed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return parse_message(value)
    return tuple(map(_parsed, value)) if isinstance(value, list) else value

"""A sentence as a value: a code and its parameters, rendered in English or Chinese only where a person reads it.

The rooms inside create messages and never sentences. `english.py` and `chinese.py` hold the sentences, keyed by code.
Parameters are raw values with their units in their names; a template decides how they are shown:

    {free_bytes}            a size: 1.23 GiB            {missing_bytes:missing}   a size, rounded up
    {wait_s}                a duration: 3 min 20 s      {port:d}                  a plain number: 8090
    {tokens}                a number: 12,345            {rate:.1f}                as Python formats it

A text stands as it is, a message is rendered in the same language, several of them are joined as a list, and None is
nothing. serve/static/shared/sentence.js does the same in the browser; a test compares the two.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import Any, Literal, TypeAlias

from vedette.units import duration, missing_size, size

Language = Literal["en", "zh"]
Parameter: TypeAlias = "str | int | float | Message | Sequence[str | Message] | None"
Table: TypeAlias = Mapping[str, str | tuple[str, str]]
"""A sentence for each code, or a sentence and a hint."""

FAMILIES = ("phase.", "state.")
"""Beginnings of codes whose ends are an enum's values: the only codes that are put together."""
_SEPARATORS: dict[Language, str] = {"en": ", ", "zh": "、"}


@dataclass(frozen=True, init=False)
class Message:
    """A sentence (and where there is one, a hint) of the language tables, with the values that it speaks of."""

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
    """The sentence. Raises KeyError for a code or a parameter that the table does not have: that is a bug."""
    entry = table(language)[message.code]
    return _fill(entry if isinstance(entry, str) else entry[0], message.params, language)


def hint_of(message: Message, language: Language = "en") -> str | None:
    """What to do next; None where the table has no hint for this code, or an empty one for these values."""
    entry = table(language)[message.code]
    return None if isinstance(entry, str) else _fill(entry[1], message.params, language) or None


def message_json(message: Message) -> dict[str, Any]:
    """The message for programs and for the page, which tells it in its own language."""
    return {"code": message.code, "params": {name: _plain(value) for name, value in message.params.items()}}


def parse_message(document: Mapping[str, Any]) -> Message:
    """The message that `message_json` made."""
    return Message(str(document["code"]), **{name: _parsed(value) for name, value in document["params"].items()})


def received_message(message: object, sentence: object = None, hint: object = None) -> Message:
    """The message that another vedette sent, or its sentence and hint if this one does not know the code.

    The other vedette may be older or newer: a code may be unknown here, or have other parameters.
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
    """The language to speak: the one wanted, else that of LC_ALL, LC_MESSAGES or LANG."""
    locale = wanted or next(
        (environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), ""
    )
    return "zh" if locale.lower().startswith("zh") else "en"


@lru_cache
def table(language: Language) -> Table:
    """The sentences of a language, loaded when first needed."""
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
        return value
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
    return _SEPARATORS[language].join(each if isinstance(each, str) else say(each, language) for each in value)


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

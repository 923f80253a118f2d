"""The event stream of a chat answer: what an engine or somebody's server sends, checked, as steps of the answer.

Another program's stream is read within bounds, and trusted in nothing: what cannot be read raises EngineAnswerError.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import msgspec

from vedette.errors import EngineAnswerError, EngineUnavailableError, RequestRefusedError
from vedette.language.foreign_text import reason_in
from vedette.units import MIB

LONGEST_EVENT_BYTES = MIB
"""Of one line: a step has a few words, with the log-probabilities of some tokens at most."""
MOST_ANSWER_BYTES = 256 * MIB
"""Of all lines of one answer: of a million steps, more than any context has."""


@dataclass(frozen=True)
class Usage:
    """Tokens of a request, as the engine counts them."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Delta:
    """One step of a streamed answer; at most one of its two texts is not empty."""

    content: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class _Usage(msgspec.Struct):
    prompt_tokens: _Count
    completion_tokens: _Count | None = None


class _Words(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Words | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    error: _Error | str


_chunks = msgspec.json.Decoder(_Chunk)
_usages = msgspec.json.Decoder(_Usage)
_refusals = msgspec.json.Decoder(_Refusal)


async def read_deltas(chunks: AsyncIterable[bytes], content_type: str, silence_s: float) -> AsyncGenerator[Delta, None]:
    """The steps in the bytes of an event stream.

    content_type: as its sender calls the bytes, for the error. silence_s: the limit for lines without a step.
    Raises EngineAnswerError for a stream that cannot be read, that has no event or no end; and as `parse_event`.
    """
    heard_at = time.monotonic()
    is_stream = False
    async for line in _lines(chunks):
        is_stream = is_stream or line.startswith(b"data:")
        delta = parse_event(line)
        if delta is not None:
            heard_at = time.monotonic()
            yield delta
        elif time.monotonic() - heard_at > silence_s:
            raise EngineAnswerError("engine.answer_without_steps", silence_s=silence_s)
    if not is_stream:
        raise EngineAnswerError("engine.answer_not_streamed", kind=reason_in(content_type, 60))


def parse_event(line: bytes) -> Delta | None:
    """The step in one line of the event stream; None for blank lines, comments and `[DONE]`.

    Raises EngineAnswerError for a line that cannot be read, and what `refusal` returns for an error that the engine
    sends in the middle of a stream.
    """
    if not line.startswith(b"data:"):
        return None
    text = line[5:].strip()
    if text == b"[DONE]":
        return None
    chunk = _decoded(_chunks, text)
    if bytes(chunk.error) != b"null":
        raise refusal(HTTPStatus.INTERNAL_SERVER_ERROR, text)
    usage = _parse_usage(chunk.usage)
    if not chunk.choices:  # usage arrives as a last chunk without choices
        return Delta(usage=usage)
    choice = chunk.choices[0]
    words = choice.delta or _Words()
    return Delta(
        content=words.content or "",
        reasoning=words.reasoning or words.reasoning_content or "",
        finish_reason=choice.finish_reason,
        usage=usage,
    )


def refusal(status: int, body: bytes) -> EngineUnavailableError | RequestRefusedError:
    """The error in a response with an error status; its reason is JSON's `error`, or the beginning of the text."""
    try:
        error = _refusals.decode(body).error
        reason = error if isinstance(error, str) else error.message
    except (ValueError, RecursionError):
        reason = body.decode(errors="replace")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return EngineUnavailableError("engine.request_failed", status=int(status), error=reason_in(reason))
    return RequestRefusedError("engine.request_refused", status=int(status), error=reason_in(reason))


def _parse_usage(counts: msgspec.Raw) -> Usage | None:
    """The counts; None where they are no numbers: an answer is worth more than its figures."""
    try:
        found = _usages.decode(counts)
    except (ValueError, RecursionError):
        return None
    return Usage(found.prompt_tokens, found.completion_tokens or 0)


def _decoded(decoder: "msgspec.json.Decoder[Any]", text: bytes) -> Any:
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError) as error:
        start = reason_in(text[:200].decode(errors="replace"), 60)
        raise EngineAnswerError("engine.answer_unreadable", start=start, error=reason_in(str(error))) from error


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The lines of a stream. Raises EngineAnswerError for one, or a stream, that is too long."""
    rest = bytearray()
    read_bytes = 0
    async for chunk in chunks:
        read_bytes += len(chunk)
        rest += chunk
        if b"\n" in chunk:
            *lines, rest = rest.split(b"\n")
            for line in lines:
                yield bytes(line)
        if len(rest) > LONGEST_EVENT_BYTES:
            raise EngineAnswerError("engine.answer_line_too_long", limit_bytes=LONGEST_EVENT_BYTES)
        if read_bytes > MOST_ANSWER_BYTES:
            raise EngineAnswerError("engine.answer_too_long", limit_bytes=MOST_ANSWER_BYTES)
    if rest:
        yield bytes(rest)

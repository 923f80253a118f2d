"""The event stream of an answer: a real engine's is read, and any other bytes are read or refused with a sentence."""

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig.properties import fewer_examples
from vedette.engine.chat_stream import LONGEST_EVENT_BYTES, Delta, Usage, parse_event, read_deltas, refusal
from vedette.errors import EngineAnswerError, EngineUnavailableError, RequestRefusedError, VedetteError
from vedette.language.message import Message

RECORDED = Path(__file__).with_name("recorded").joinpath("vllm-0.32.0-stream.txt").read_bytes()
"""Two answers of vLLM 0.32.0 with vedette-tiny, without and with reasoning."""


def event(**chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n"


async def pieces(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def deltas_of(*chunks: bytes, kind: str = "text/event-stream", silence_s: float = 300) -> list[Delta]:
    return [delta async for delta in read_deltas(pieces(chunks), kind, silence_s)]


async def read_or_refused(data: bytes, at: int) -> None:
    """Read a stream that arrives in two pieces; a VedetteError with a sentence is a valid end of it."""
    try:
        found = await deltas_of(data[:at], data[at:])
    except VedetteError as error:
        sentence = error.sentence
    else:
        sentence = "read"
        for delta in found:
            assert isinstance(delta.content + delta.reasoning + (delta.finish_reason or ""), str)
            if delta.usage is not None:
                assert min(delta.usage.prompt_tokens, delta.usage.completion_tokens) >= 0
    assert 0 < len(sentence.encode()) < 4000


async def test_a_recorded_stream_is_read() -> None:
    found = await deltas_of(RECORDED)
    assert "".join(delta.content for delta in found) == "The scene is empty.\n\nThe scene is empty."
    assert "".join(delta.reasoning for delta in found) == "Nothing.\n"
    assert [delta.finish_reason for delta in found if delta.finish_reason] == ["stop", "stop"]
    assert [delta.usage for delta in found if delta.usage] == [Usage(80, 6), Usage(82, 12)]


@given(st.integers(0, len(RECORDED)))
async def test_where_the_pieces_end_does_not_matter(at: int) -> None:
    assert await deltas_of(RECORDED[:at], RECORDED[at:]) == await deltas_of(RECORDED)


@given(st.binary(max_size=500), st.integers(0, 500), st.booleans())
async def test_any_bytes_are_read_or_refused(data: bytes, at: int, is_event: bool) -> None:
    await read_or_refused(b"data: " + data if is_event else data, at)


_SPOT = st.integers(0, len(RECORDED) - 1)


@given(st.lists(st.tuples(_SPOT, st.integers(0, 40), st.binary(max_size=8)), min_size=1, max_size=6), _SPOT)
async def test_a_recorded_stream_with_mutations_is_read_or_refused(
    mutations: list[tuple[int, int, bytes]], at: int
) -> None:
    data = bytearray(RECORDED)
    for start, length, replacement in mutations:
        data[start : start + length] = replacement
    await read_or_refused(bytes(data), at)


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_CHUNK = st.fixed_dictionaries(
    {},
    optional={
        "choices": _JSON | st.lists(st.fixed_dictionaries({"delta": _JSON, "finish_reason": _JSON}), max_size=2),
        "usage": _JSON | st.fixed_dictionaries({"prompt_tokens": _JSON, "completion_tokens": _JSON}),
        "error": _JSON,
    },
)


@given(_CHUNK | _JSON)
async def test_any_json_as_an_event_is_read_or_refused(chunk: object) -> None:
    await read_or_refused(b"data: " + json.dumps(chunk).encode() + b"\n\n", 3)


@given(st.integers(400, 599), st.binary(max_size=300) | _JSON.map(lambda value: json.dumps(value).encode()))
@fewer_examples(2)
def test_any_body_of_a_refusal_is_a_sentence(status: int, body: bytes) -> None:
    error = refusal(status, body)
    assert len(error.sentence) < 1000
    assert isinstance(error, EngineUnavailableError if status >= 500 else RequestRefusedError)


@pytest.mark.parametrize("line", [b"\n", b": ping\n", b"event: message\n", b"data: [DONE]\n", b"data:[DONE]\n"])
def test_lines_without_a_step_are_skipped(line: bytes) -> None:
    assert parse_event(line) is None


def test_a_step_is_words_reasoning_a_finish_or_a_count() -> None:
    assert parse_event(event(choices=[{"delta": {"content": "A"}}])) == Delta(content="A")
    assert parse_event(event(choices=[{"delta": {"reasoning": "A"}}])) == Delta(reasoning="A")
    assert parse_event(event(choices=[{"delta": {"reasoning_content": "A"}}])) == Delta(reasoning="A")
    assert parse_event(event(choices=[{"delta": None, "finish_reason": "stop"}])) == Delta(finish_reason="stop")
    counts = {"prompt_tokens": 7, "completion_tokens": 2}
    assert parse_event(event(choices=[], usage=counts)) == Delta(usage=Usage(7, 2))
    assert parse_event(event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": None})) == Delta(
        usage=Usage(7, 0)
    )
    assert parse_event(event(choices=[{"delta": {"content": "A"}}], error=None)) == Delta(content="A")


@pytest.mark.parametrize("error", [{"message": "out of memory"}, "out of memory"])
def test_an_error_within_a_stream_is_raised(error: object) -> None:
    with pytest.raises(EngineUnavailableError) as caught:
        parse_event(event(error=error))
    assert caught.value.message == Message("engine.request_failed", status=500, error="out of memory")


@pytest.mark.parametrize(
    "usage",
    [
        {},
        [],
        "many",
        7,
        {"prompt_tokens": "7"},
        {"prompt_tokens": -1},
        {"prompt_tokens": 1.5},
        {"prompt_tokens": 1e300},
    ],
)
def test_an_answer_without_numbers_in_its_usage_is_an_answer(usage: object) -> None:
    assert parse_event(event(choices=[{"delta": {"content": "A"}}], usage=usage)) == Delta(content="A")


@pytest.mark.parametrize(
    "text",
    [
        b"garbage", b"", b"[]", b"[1, 2]", b'"words"', b"7", b"null", b"\xff\xfe", b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b'{"choices": {}}', b'{"choices": [null]}',
        b'{"choices": [{"delta": []}]}', b'{"choices": [{"delta": {"content": 7}}]}',
        b'{"choices": [{"delta": {"content": "\\ud800"}}]}', b'{"choices": [{"finish_reason": {}}]}',
    ],
)  # fmt: skip
def test_an_event_that_cannot_be_read_is_refused_with_its_beginning(text: bytes) -> None:
    with pytest.raises(EngineAnswerError) as caught:
        parse_event(b"data: " + text + b"\n")
    assert caught.value.message.code == "engine.answer_unreadable"
    assert len(caught.value.sentence) < 500


async def test_a_line_without_end_is_refused_and_not_held() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b"data: "
        while True:
            sent += 65_536
            yield b"x" * 65_536

    with pytest.raises(EngineAnswerError) as caught:
        [delta async for delta in read_deltas(endless(), "", 300)]
    assert caught.value.message.code == "engine.answer_line_too_long"
    assert sent <= LONGEST_EVENT_BYTES + 2 * 65_536


async def test_lines_without_a_step_do_not_keep_an_answer_open() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b": still here\n\n"

    with pytest.raises(EngineAnswerError) as caught:
        [delta async for delta in read_deltas(endless(), "", 0.05)]
    assert caught.value.message == Message("engine.answer_without_steps", silence_s=0.05)


@pytest.mark.parametrize("body", [b"", b'{"choices": [{"message": {"content": "A"}}]}', b"<html>Not here</html>"])
async def test_an_answer_that_is_no_stream_is_refused(body: bytes) -> None:
    with pytest.raises(EngineAnswerError) as caught:
        await deltas_of(body, kind="text/html; charset=x\x1b[2J" + "y" * 1000)
    assert caught.value.message.code == "engine.answer_not_streamed"
    assert len(caught.value.sentence) < 200

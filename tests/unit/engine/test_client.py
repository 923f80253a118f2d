"""The client's reading of an engine's event stream."""

import json
from typing import Any

import pytest

from vedette.engine.chat_stream import Delta, Usage, parse_event
from vedette.errors import EngineUnavailableError
from vedette.language.message import Message


def event(**chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n"


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


@pytest.mark.parametrize("error", [{"message": "out of memory"}, "out of memory"])
def test_an_error_within_a_stream_is_raised(error: object) -> None:
    with pytest.raises(EngineUnavailableError) as caught:
        parse_event(event(error=error))
    assert caught.value.message == Message("engine.request_failed", status=500, error="out of memory")

"""Counts the tokens of an answer that passes through, from its last bytes: nothing is parsed. Pure."""

import re

_TAIL_BYTES = 2048
"""The usage stands at the end: of a JSON document, or of a stream's last events."""
_PROMPT = re.compile(rb'"(?:prompt|input)_tokens"\s*:\s*(\d{1,12})')
_ANSWER = re.compile(rb'"(?:completion|output)_tokens"\s*:\s*(\d{1,12})')
_EVENT = b"data: {"


class TokenCount:
    """The tokens of one answer."""

    def __init__(self) -> None:
        self._tail = b""
        self._events = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._events += chunk.count(_EVENT)
        self._tail = chunk[-_TAIL_BYTES:] if len(chunk) >= _TAIL_BYTES else (self._tail + chunk)[-_TAIL_BYTES:]

    def result(self) -> tuple[int, int]:
        """Tokens of the prompt and of the answer; without usage, one token for each event of a stream."""
        prompt, answer = _last(_PROMPT, self._tail), _last(_ANSWER, self._tail)
        return prompt or 0, self._events if answer is None else answer


def _last(pattern: "re.Pattern[bytes]", text: bytes) -> int | None:
    found = pattern.findall(text)
    return int(found[-1]) if found else None

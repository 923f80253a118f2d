"""The decode speed of a running engine."""

import time

from vedette.engine.client import EngineClient

ANSWER_TOKENS = 64
"""Enough that tokens which arrive together do not distort the rate, and soon generated."""


async def read_decode_tokens_per_s(client: EngineClient, most_answer_tokens: int) -> float | None:
    """Tokens/s of one request alone after its first token; None if the answer is too short to measure.

    most_answer_tokens: the plan's limit. Raises what `EngineClient.stream_chat` raises.
    """
    body = {
        "messages": [{"role": "user", "content": "Count from one to a hundred."}],
        "max_tokens": min(ANSWER_TOKENS, most_answer_tokens),
        "temperature": 0,
        "ignore_eos": True,
    }
    first = last = None
    tokens = 0
    async for delta in client.stream_chat(body):
        if delta.content or delta.reasoning:
            last = time.monotonic()
            first = first or last
        if delta.usage is not None:
            tokens = delta.usage.completion_tokens
    if first is None or last is None or last <= first or tokens < ANSWER_TOKENS // 4:
        return None
    return (tokens - 1) / (last - first)

"""One live answer: its request, and its figures."""

import base64
import time

from vedette.engine.chat_stream import Delta, Usage
from vedette.errors import BadInputError, EngineUnavailableError
from vedette.plan.plan import Context
from vedette.serve.live.messages import Done, Start
from vedette.sources.source import Frame


def build_request(order: Start, frame: Frame | None, context: Context, thinks: bool) -> dict[str, object]:
    """The chat request for one frame, the picture before the words. Raises BadInputError if there is neither."""
    if not order.prompt.strip() and frame is None:
        raise BadInputError("serve.no_question")
    content: list[dict[str, object]] = []
    if frame is not None:
        url = f"data:{frame.mime};base64,{base64.b64encode(frame.picture).decode()}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    content.append({"type": "text", "text": order.prompt})
    messages: list[dict[str, object]] = [{"role": "user", "content": content}]
    if order.system.strip():
        messages.insert(0, {"role": "system", "content": order.system})
    request: dict[str, object] = {"messages": messages, "max_tokens": min(order.max_tokens, context.answer_tokens)}
    thinking = thinks and order.thinking
    if thinks:
        request["chat_template_kwargs"] = {"enable_thinking": thinking}
    if not thinking:
        # The same picture should get the same answer. Reasoning keeps the model's own settings: with the likeliest
        # token every time, long reasoning repeats itself.
        request["temperature"] = 0
    return request


class Meter:
    """Measures one answer, from the request on."""

    def __init__(self, frame: Frame | None) -> None:
        self._began = time.monotonic()
        self.frame_to_request_s = self._began - frame.captured if frame else None
        self.first_token_s: float | None = None
        self._last = self._began
        self.usage: Usage | None = None
        self._finish_reason: str | None = None

    def note(self, delta: Delta) -> None:
        """Take in a step of the answer."""
        if delta.content or delta.reasoning:
            self._last = time.monotonic()
            if self.first_token_s is None:
                self.first_token_s = self._last - self._began
        self.usage = delta.usage or self.usage
        self._finish_reason = delta.finish_reason or self._finish_reason

    @property
    def total_s(self) -> float:
        """Seconds from the request to the last token so far."""
        return self._last - self._began

    def done(self, number: int) -> Done:
        """The figures. Raises EngineUnavailableError for an answer that the engine did not finish."""
        if self._finish_reason is None:
            raise EngineUnavailableError("serve.answer_cut_off")
        tokens = self.usage.completion_tokens if self.usage else None
        decoding_s = self.total_s - (self.first_token_s or 0.0)
        return Done(
            id=number,
            frame_to_request_ms=_ms(self.frame_to_request_s),
            first_token_ms=_ms(self.first_token_s),
            total_ms=round(self.total_s * 1000, 1),
            prompt_tokens=self.usage.prompt_tokens if self.usage else None,
            tokens=tokens,
            tokens_per_s=round((tokens - 1) / decoding_s, 1) if tokens and tokens > 1 and decoding_s > 0 else None,
            finish_reason=self._finish_reason,
        )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)

"""The messages of the live socket. Text messages are JSON objects with a `type`; binary messages carry a frame.

A frame is a header of 12 bytes (three big-endian unsigned 32-bit integers: the number of the ask, the time that the
page held the ask in µs, and the age of the frame when it was sent in µs), then the picture. The server sends the frames
of its own sources in the same way, with 0 for the two times.
"""

import struct
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from vedette.errors import BadInputError
from vedette.serve.documents import MessageDocument

_HEADER = struct.Struct(">III")

NO_SOURCE = "none"
"""The source of a question without a picture."""


class Start(msgspec.Struct, frozen=True, tag="start", forbid_unknown_fields=True):
    """Ask about frame after frame, or go on with another question from the next frame on."""

    source: Annotated[str, msgspec.Meta(max_length=100)]
    """`page` (the page's camera), `scene` (the drawn scene), or `none` (a question without a picture)."""
    prompt: Annotated[str, msgspec.Meta(max_length=8000)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    thinking: bool = False
    system: Annotated[str, msgspec.Meta(max_length=8000)] = ""
    once: bool = False
    """Stop after one answer."""


class Stop(msgspec.Struct, frozen=True, tag="stop", forbid_unknown_fields=True):
    """End the current answer at once and ask no more."""


class NoFrame(msgspec.Struct, frozen=True, tag="no_frame", forbid_unknown_fields=True):
    """The page has no picture for ask `id` now."""

    id: int


class Limits(msgspec.Struct, frozen=True):
    """The limits of one live request, out of the plan."""

    answer_tokens: int
    image_max_pixels: int


class Status(msgspec.Struct, frozen=True, tag="status"):
    """The state of the engine and its model, at connection and whenever it changes."""

    engine: dict[str, Any]
    """The model's object in `/api/status`."""
    now: float
    """The server's Unix time in seconds, so that elapsed times do not depend on the page's clock."""
    thinks: bool
    """Whether the model can reason before it answers."""
    sees: bool
    """Whether the model takes pictures."""
    limits: Limits | None
    """Null until there is a plan."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Send your newest frame, of at most `max_pixels`."""

    id: int
    max_pixels: int


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """The answer to `prompt` about frame `id` begins."""

    id: int
    prompt: str
    truth: str | None
    """What the frame really shows, where that is known."""


class Words(msgspec.Struct, frozen=True, tag="words", omit_defaults=True):
    """The next words of answer `id`."""

    id: int
    content: str = ""
    reasoning: str = ""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Answer `id` is complete."""

    id: int
    frame_to_request_ms: float | None
    """From the frame's capture to the request; null without a picture."""
    first_token_ms: float | None
    """From the request to the first token."""
    total_ms: float
    """From the request to the last token."""
    prompt_tokens: int | None
    tokens: int | None
    tokens_per_s: float | None
    """Decoding speed, without the first token and the prompt."""
    finish_reason: str
    """As the engine gives it: `stop`, or `length` at the limit."""


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """Nothing is asked until the next `start`."""


class Fault(msgspec.Struct, frozen=True, tag="error"):
    """An error; with `id`, in the middle of that answer."""

    code: str
    sentence: str
    """What happened, in English."""
    hint: str
    """What to do next, in English; empty where nothing can be done."""
    message: MessageDocument
    """Sentence and hint as a code of `/api/language/en` and `/api/language/zh`."""
    id: int | None = None


ClientMessage = Start | Stop | NoFrame
ServerMessage = Status | Ask | Begin | Words | Done | Stopped | Fault


@dataclass(frozen=True)
class FrameMessage:
    """A page's binary message."""

    id: int
    held_s: float
    age_s: float
    picture: bytes


_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_encoder = msgspec.json.Encoder()


def decode_text(text: str) -> ClientMessage:
    """A page's text message. Raises BadInputError."""
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadInputError("serve.message_invalid", error=str(error)) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadInputError("serve.message_not_json", error=str(error)) from error


def decode_frame(data: bytes) -> FrameMessage:
    """A page's binary message. Raises BadInputError."""
    if len(data) <= _HEADER.size:
        raise BadInputError("serve.frame_empty")
    number, held_us, age_us = _HEADER.unpack_from(data)
    return FrameMessage(number, held_us / 1e6, age_us / 1e6, data[_HEADER.size :])


def encode_frame(number: int, picture: bytes) -> bytes:
    """A binary message with a frame of a source of the server's."""
    return _HEADER.pack(number, 0, 0) + picture


def encode(message: ServerMessage) -> str:
    """A text message."""
    return _encoder.encode(message).decode()

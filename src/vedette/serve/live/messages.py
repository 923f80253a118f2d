"""The words of the live socket. Text messages are JSON objects with a `type`; binary ones carry a frame.

A frame is a 12-byte header (three big-endian unsigned 32-bit integers: the number of the ask, how long the page
held the ask in µs, how old the frame was when it was sent in µs), then the picture. The server sends frames that
it took itself the same way, the last two integers 0.
"""

import struct
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from vedette.errors import BadInputError

_HEADER = struct.Struct(">III")

Source = Literal["page", "scene", "none"]
"""Who holds the camera: the page, the server's scene, or nobody (a question without a picture)."""


class Start(msgspec.Struct, frozen=True, tag="start", forbid_unknown_fields=True):
    """Begin to ask, or go on with other wishes from the next frame on."""

    source: Source
    prompt: Annotated[str, msgspec.Meta(max_length=8000)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    thinking: bool = False
    system: Annotated[str, msgspec.Meta(max_length=8000)] = ""
    once: bool = False
    """One answer, then stop."""


class Stop(msgspec.Struct, frozen=True, tag="stop", forbid_unknown_fields=True):
    """End the present answer at once and ask no more."""


class NoFrame(msgspec.Struct, frozen=True, tag="no_frame", forbid_unknown_fields=True):
    """The page has no picture for ask `id` now."""

    id: int


class Limits(msgspec.Struct, frozen=True):
    """What one live request may use, out of the plan."""

    answer_tokens: int
    image_max_pixels: int


class Status(msgspec.Struct, frozen=True, tag="status"):
    """The engine's state, at connection and whenever it changes."""

    engine: dict[str, object]
    now: float
    """The server's Unix time, to tell elapsed time without trusting the page's clock."""
    thinks: bool
    sees: bool
    limits: Limits | None


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Send your newest frame, of at most `max_pixels`."""

    id: int
    max_pixels: int


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """The answer of `prompt` about frame `id` begins. `truth` is what the scene really holds."""

    id: int
    prompt: str
    truth: str | None


class Words(msgspec.Struct, frozen=True, tag="words", omit_defaults=True):
    """The next words of answer `id`."""

    id: int
    content: str = ""
    reasoning: str = ""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Answer `id` is complete. Times from the request; `frame_to_request_ms` from the frame's capture."""

    id: int
    frame_to_request_ms: float | None
    first_token_ms: float | None
    total_ms: float
    prompt_tokens: int | None
    tokens: int | None
    tokens_per_s: float | None
    """Decoding speed: the first token, which waits for the prompt, is left out."""
    finish_reason: str


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """No more is asked until the next start."""


class Fault(msgspec.Struct, frozen=True, tag="error"):
    """Something went wrong; with `id`, in the middle of that answer."""

    code: str
    sentence: str
    hint: str
    id: int | None = None


ServerMessage = Status | Ask | Begin | Words | Done | Stopped | Fault


@dataclass(frozen=True)
class FrameMessage:
    """A binary message in parts."""

    id: int
    held_ms: float
    age_ms: float
    picture: bytes


_decoder: msgspec.json.Decoder[Start | Stop | NoFrame] = msgspec.json.Decoder(Start | Stop | NoFrame)
_encoder = msgspec.json.Encoder()


def decode_text(text: str) -> Start | Stop | NoFrame:
    """A page's text message. Raises BadInputError."""
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadInputError(f"The message has a wrong field: {error}.", "Reload the page.") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadInputError(f"The message is no valid JSON: {error}.", "Reload the page.") from error


def decode_frame(data: bytes) -> FrameMessage:
    """A page's binary message. Raises BadInputError."""
    if len(data) <= _HEADER.size:
        raise BadInputError("The frame is empty.", "Reload the page.")
    number, held_us, age_us = _HEADER.unpack_from(data)
    return FrameMessage(number, held_us / 1000, age_us / 1000, data[_HEADER.size :])


def encode_frame(number: int, picture: bytes) -> bytes:
    return _HEADER.pack(number, 0, 0) + picture


def encode(message: ServerMessage) -> str:
    return _encoder.encode(message).decode()

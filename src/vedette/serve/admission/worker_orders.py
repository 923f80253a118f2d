"""What the picture worker is asked, what it answers, and the errors that its refusals amount to. Pure."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from vedette.errors import BadInputError, TooLargeError, VedetteError
from vedette.units import MIB


@dataclass(frozen=True)
class Bounds:
    """What the kernel lets a worker use."""

    memory_bytes: int
    """Address space, and so the most memory that decoding can take."""
    cpu_s: int
    """Processor time for one order."""


PICTURES = Bounds(192 * MIB, 8)
"""A worker has 18 MiB when idle. A photo of 48 megapixels takes 0.3 s, ten times that on a small board."""
FILMS = Bounds(448 * MIB, 20)
"""Of the address space 140 MiB are FFmpeg's, little of which is touched."""


class Order(msgspec.Struct, frozen=True):
    """What to do with a file; `bytes` of it follow."""

    do: Literal["picture", "clip", "film"]
    """A film is decoded by PyAV, anything else by Pillow."""
    bytes: int
    max_pixels: int
    max_frames: int
    max_ratio: int
    container: str = ""
    """FFmpeg's name of a film's format."""


class Answer(msgspec.Struct, frozen=True):
    """The lengths of the parts that follow, or why there are none."""

    parts: tuple[int, ...] = ()
    refused: str | None = None
    width: int = 0
    height: int = 0
    needed_bytes: int = 0
    limit_bytes: int = 0
    frames: int = 0
    most: int = 0
    most_pixels: int = 0
    codec: str = ""
    error: str = ""


def error_of(answer: Answer, order: Order, bounds: Bounds) -> VedetteError:
    """The error that a refusal amounts to."""
    width, height = answer.width, answer.height
    if answer.refused == "too_large":
        needed_mib, limit_mib = -(-answer.needed_bytes // MIB), answer.limit_bytes // MIB
        return TooLargeError(
            "serve.picture_too_large", width=width, height=height, needed_mib=needed_mib, limit_mib=limit_mib
        )
    if answer.refused == "memory":
        return too_much_memory(bounds)
    if answer.refused == "thin":
        return too_thin(width, height, order.max_ratio)
    if answer.refused == "long":
        return TooLargeError(
            "serve.clip_too_long", width=width, height=height, frames=answer.frames, most_pixels=answer.most_pixels
        )
    if answer.refused == "film_long":
        return TooLargeError("serve.film_too_long", frames=answer.frames)
    if answer.refused == "film_too_large":
        return TooLargeError("serve.film_too_large", width=width, height=height, most_pixels=answer.most_pixels)
    if answer.refused == "codec":
        return BadInputError("serve.film_of_other_codec", codec=answer.codec)
    if answer.refused == "scans":
        return TooLargeError("serve.picture_has_many_scans", most=answer.most)
    if answer.refused == "depth":
        return BadInputError("serve.picture_too_deep")
    return BadInputError("serve.picture_damaged", error=answer.error)


def too_thin(width: int, height: int, max_ratio: int) -> BadInputError:
    """The error of a picture that is much longer than wide, or the reverse."""
    return BadInputError("serve.picture_too_thin", width=width, height=height, max_ratio=max_ratio)


def too_much_memory(bounds: Bounds) -> TooLargeError:
    """The error of a file whose decoding takes more memory than there is."""
    return TooLargeError("serve.picture_takes_memory", limit_bytes=bounds.memory_bytes)


def too_much_time(bounds: Bounds) -> TooLargeError:
    """The error of a file whose decoding takes too long."""
    return TooLargeError("serve.picture_takes_long", limit_s=bounds.cpu_s)

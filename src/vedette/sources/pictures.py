"""The kind and size of a picture, read from its first bytes without decoding it."""

import struct
from dataclasses import dataclass
from struct import unpack_from

from vedette.errors import BadInputError, TooLargeError

_JPEG_SIZES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
"""Markers of JPEG's frame headers, which hold the size (ITU T.81, table B.1)."""

_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers that stand alone, without a length."""


@dataclass(frozen=True)
class Picture:
    """A picture's header."""

    mime: str
    width: int
    height: int


def check_picture(data: bytes, max_pixels: int) -> Picture:
    """The header of a JPEG, PNG or WebP of at most `max_pixels`. Raises BadInputError, TooLargeError."""
    picture = parse_header(data)
    if picture is None or not picture.width or not picture.height:
        raise BadInputError("sources.not_a_picture")
    if picture.width * picture.height > max_pixels:
        raise TooLargeError(
            "sources.picture_too_large", width=picture.width, height=picture.height, max_pixels=max_pixels
        )
    return picture


def parse_header(data: bytes) -> Picture | None:
    """Kind and size; None for anything that is not one of the three kinds."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _parse_jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            return Picture("image/png", *unpack_from(">II", data, 16))
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _parse_webp(data)
    except (IndexError, struct.error):  # the data ends before the header does
        return None
    return None


def _parse_jpeg(data: bytes) -> Picture | None:
    """Kind and size out of the first frame header; the segments before it are skipped."""
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker in _JPEG_SIZES:
            height, width = unpack_from(">HH", data, at + 5)
            return Picture("image/jpeg", width, height)
        else:
            length = unpack_from(">H", data, at + 2)[0]
            if length < 2:
                return None
            at += 2 + length
    return None


def _parse_webp(data: bytes) -> Picture | None:
    """Kind and size out of the first chunk, in its three forms (RFC 9649, section 2)."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return Picture("image/webp", 1 + _le24(data, 24), 1 + _le24(data, 27))
    if chunk == b"VP8L" and data[20] == 0x2F:
        bits = unpack_from("<I", data, 21)[0]
        return Picture("image/webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = unpack_from("<HH", data, 26)
        return Picture("image/webp", width & 0x3FFF, height & 0x3FFF)
    return None


def _le24(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16

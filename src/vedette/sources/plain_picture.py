"""Pictures that every decoder reads in the same way: their kind and size, read by strict rules without decoding.

What is passed on undecoded must not surprise the decoder behind. So only what browsers and cameras usually write is
accepted here: one frame, 8 bits a colour, no rotation, nothing compressed beside the picture itself, and one header.
Anything else may be a good picture too, but is not plain.
"""

import struct
from dataclasses import dataclass
from struct import unpack_from

_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive frame headers (ITU T.81, table B.1)."""
_PROGRESSIVE = 0xC2
_JPEG_SEGMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xE0, 0xEE, 0xFE})
"""Tables, JFIF, Adobe's colour transform, comments. EXIF (rotation) and MPF (more pictures) are in other segments."""
_MOST_SCANS = 24
"""Usual progressive pictures have about 10. Each scan costs the decoder a pass over the whole picture."""
_SCAN = b"\xff\xda"
_JPEG_END = b"\xff\xd9"

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS = {0: (1, 2, 4, 8), 2: (8,), 3: (1, 2, 4, 8), 6: (8,)}
"""Bits by kind of colour: grey, RGB, palette, RGB with alpha."""
_PNG_CHUNKS = frozenset({b"PLTE", b"IDAT", b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"tIME", b"tEXt"})
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_MOST_CHUNKS = 2000


@dataclass(frozen=True)
class Picture:
    """The kind and size of a plain picture."""

    mime: str
    width: int
    height: int


def parse_plain(data: bytes) -> Picture | None:
    """The kind and size of a plain JPEG, PNG or WebP; None for anything else, damaged files included."""
    try:
        if data.startswith(b"\xff\xd8"):
            picture = _parse_jpeg(data)
        elif data.startswith(_PNG):
            picture = _parse_png(data)
        elif data.startswith(b"RIFF"):
            picture = _parse_webp(data)
        else:
            return None
    except (IndexError, struct.error):  # the data ends before the header does
        return None
    return picture if picture is not None and picture.width and picture.height else None


def parse_plain_ends(first: bytes, last: bytes) -> Picture | None:
    """The kind and size of a plain JPEG with one scan, from its first kilobytes and its end; None for anything else.

    A decoder takes the size from before the scan: what comes between the two ends cannot change it.
    """
    try:
        header = _parse_jpeg_header(first) if first.startswith(b"\xff\xd8") else None
    except (IndexError, struct.error):
        return None
    whole = header is not None and header.one_scan and last.endswith(_JPEG_END)
    return header.picture if header and whole and header.picture.width and header.picture.height else None


@dataclass(frozen=True)
class _JpegHeader:
    picture: Picture
    scan_at: int
    """Where the first scan begins."""
    one_scan: bool
    """Whether that scan holds all there is."""


def _parse_jpeg(data: bytes) -> Picture | None:
    header = _parse_jpeg_header(data)
    if header is None or not data.endswith(_JPEG_END):
        return None
    few = header.one_scan or data.count(_SCAN, header.scan_at) <= _MOST_SCANS
    return header.picture if few else None


def _parse_jpeg_header(data: bytes) -> _JpegHeader | None:
    """Every segment up to the first scan has to be known, and just one of them may be a frame header."""
    at, colours, progressive, picture = 2, 0, False, None
    while data[at] == 0xFF and data[at + 1] != _SCAN[1]:
        marker, length = unpack_from(">xBH", data, at)
        if marker in _JPEG_FRAMES and picture is None:
            bits, height, width, colours = unpack_from(">BHHB", data, at + 4)
            if bits != 8 or colours not in (1, 3) or length != 8 + 3 * colours:
                return None
            progressive, picture = marker == _PROGRESSIVE, Picture("image/jpeg", width, height)
        elif marker not in _JPEG_SEGMENTS or length < 2:
            return None
        at += 2 + length
    if picture is None or data[at] != 0xFF:
        return None
    return _JpegHeader(picture, at, one_scan=not progressive and data[at + 4] == colours)


def _parse_png(data: bytes) -> Picture | None:
    """The header chunk, then chunks that change nothing about the size, to the end of the data."""
    length, kind, width, height, bits, colours, *methods = unpack_from(">I4sIIBBBBB", data, len(_PNG))
    if (length, kind, methods) != (13, b"IHDR", [0, 0, 0]) or bits not in _PNG_COLOURS.get(colours, ()):
        return None
    at, end = len(_PNG) + 25, len(data) - len(_PNG_END)
    for _ in range(_MOST_CHUNKS):
        if at >= end:
            break
        length, kind = unpack_from(">I4s", data, at)
        if kind not in _PNG_CHUNKS:
            return None
        at += 12 + length
    return Picture("image/png", width, height) if at == end and data.endswith(_PNG_END) else None


def _parse_webp(data: bytes) -> Picture | None:
    """One chunk with one frame (RFC 9649, sections 2.5 and 2.6); the extended form has animations and metadata."""
    size, form, kind, chunk_bytes = unpack_from("<4xI4s4sI", data)
    if form != b"WEBP" or size + 8 != len(data) or 20 + chunk_bytes + chunk_bytes % 2 != len(data):
        return None
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = unpack_from("<I", data, 21)[0]
        return Picture("image/webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = unpack_from("<HH", data, 26)
        return Picture("image/webp", width & 0x3FFF, height & 0x3FFF)
    return None

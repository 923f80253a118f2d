"""Pictures made to hurt a decoder: headers that lie, bombs, endless frames and scans, damage. By seed.

`hostile(seed)` is the same file for the same seed and version of Pillow. Making one takes little memory: what is large
is only large once it is decoded.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image

KINDS = ("PNG", "JPEG", "JPEG progressive", "WEBP", "WEBP lossless", "GIF", "AVIF", "TIFF", "BMP", "APNG", "MPO")
_SIDES = (0, 1, 7, 1000, 9400, 13_000, 16_383, 30_000, 65_500, 65_535, 170_000, 2**31 - 1, 2**32 - 1)


@dataclass(frozen=True)
class Hostile:
    """One file, and what was done to make it."""

    name: str
    data: bytes


def hostile(seed: int) -> Hostile:
    """The file of a seed; neighbouring seeds are of different kinds."""
    dice = random.Random(seed)  # noqa: S311 - the same files each time
    kind = KINDS[seed % len(KINDS)]
    tricks = (*_COMMON, *_OF_KIND.get(kind.split(maxsplit=1)[0], ()))
    trick = tricks[seed // len(KINDS) % len(tricks)]
    return Hostile(f"{seed} {kind} {trick.__name__.strip('_')}", trick(dice, kind))


@cache
def good(kind: str) -> bytes:
    """A small right file of a kind."""
    dice = random.Random(kind)  # noqa: S311 - the same pictures each time
    frames = [Image.frombytes("RGB", (16, 12), dice.randbytes(16 * 12 * 3)).resize((64, 48)) for _ in range(3)]
    by_kind: dict[str, dict[str, Any]] = {
        "JPEG progressive": {"progressive": True},
        "WEBP lossless": {"lossless": True},
        "GIF": {"save_all": True, "append_images": frames[1:], "loop": 0},
        "APNG": {"save_all": True, "append_images": frames[1:]},
        "MPO": {"save_all": True, "append_images": frames[1:]},
        "TIFF": {"compression": "tiff_lzw", "save_all": True, "append_images": frames[1:]},
    }
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG" if kind == "APNG" else kind.split()[0], **by_kind.get(kind, {}))
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its length and its sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, colours: int = 0, bits: int = 8) -> bytes:
    """The chunk that says the size."""
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width % 2**32, height % 2**32, bits, colours, 0, 0, 0))


def packed_zeros(length: int) -> bytes:
    """So many zeros as zlib packs them, a thousand times smaller."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    million = packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH)  # does not refer to what is before it
    rest = packer.compress(bytes(length % 10**6)) + packer.flush()
    return b"\x78\xda" + million * (length // 10**6) + rest + struct.pack(">HH", length % 65_521, 1)


def large_png(width: int, height: int, colours: int = 0) -> bytes:
    """A right picture that is all black."""
    pixels = packed_zeros(height * (1 + width * (3 if colours == 2 else 1)))
    data = png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_header(width, height, colours) + data


def many_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose first scan comes again and again: the decoder goes through the picture each time."""
    data = good("JPEG progressive")
    at, size = data.index(b"\xff\xda"), data.index(b"\xff\xc2") + 5
    scan = data[at : data.index(b"\xff", at + 30)]
    return data[:size] + struct.pack(">HH", height, width) + data[size + 4 : at] + scan * scans + data[at:]


def many_frames(width: int, height: int, frames: int, disposal: int = 0) -> bytes:
    """A GIF of one colour that fills its canvas again and again, of which it has packed one frame."""
    whole = _grey_gif(min(width, 4000), min(height, 3000))
    start, frame = whole[:_GIF_START], whole[_GIF_START:-1]
    control = b"!\xf9\4" + bytes((disposal << 2, 1, 0, 0, 0))
    return start[:6] + struct.pack("<HH", width, height) + start[10:] + (control + frame) * frames + b";"


_GIF_START = 13 + 3 * 256
"""Bytes of a GIF's header and of its palette."""


@cache
def _grey_gif(width: int, height: int) -> bytes:
    """One frame without extensions."""
    image = Image.new("P", (width, height), 1)
    image.putpalette(bytes(range(256)) * 3)
    buffer = io.BytesIO()
    image.save(buffer, "GIF", optimize=False)
    return buffer.getvalue()


# What can be done to any kind


def _cut(dice: random.Random, kind: str) -> bytes:
    data = good(kind)
    return data[: dice.randrange(len(data))]


def _flipped(dice: random.Random, kind: str) -> bytes:
    data = bytearray(good(kind))
    for _ in range(dice.choice((1, 3, 30))):
        data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data)


def _flipped_at_the_start(dice: random.Random, kind: str) -> bytes:
    data = bytearray(good(kind))
    for _ in range(dice.choice((1, 2, 5))):
        data[dice.randrange(4, min(200, len(data)))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
    return bytes(data)


def _joined(dice: random.Random, kind: str) -> bytes:
    return good(kind) + good(dice.choice(KINDS))


def _stretched(dice: random.Random, kind: str) -> bytes:
    """A part of the file many times over."""
    data = good(kind)
    start = dice.randrange(len(data))
    part = data[start : start + dice.choice((1, 16, 400))]
    return data[:start] + part * dice.choice((10, 1000)) + data[start:]


def _other_start(dice: random.Random, kind: str) -> bytes:
    return good(dice.choice(KINDS))[:12] + good(kind)[12:]


def _lying_size(dice: random.Random, kind: str) -> bytes:
    """The file says another size than it has."""
    width, height = dice.choice(_SIDES), dice.choice(_SIDES)
    data = good(kind)
    if kind in ("PNG", "APNG"):
        return data[:8] + png_header(width, height, 2) + data[33:]
    if kind.startswith(("JPEG", "MPO")):
        at = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
        return data[: at + 5] + struct.pack(">HH", height % 2**16, width % 2**16) + data[at + 9 :]
    if kind == "WEBP":
        return data[:26] + struct.pack("<HH", width % 2**16, height % 2**16) + data[30:]
    if kind == "WEBP lossless":
        return data[:21] + struct.pack("<I", (width & 0x3FFF) | (height & 0x3FFF) << 14) + data[25:]
    if kind == "GIF":
        return data[:6] + struct.pack("<HH", width % 2**16, height % 2**16) + data[10:]
    if kind == "BMP":
        return data[:18] + struct.pack("<ii", width % 2**31, dice.choice((1, -1)) * (height % 2**31)) + data[26:]
    if kind == "AVIF":
        at = data.index(b"ispe") + 8
        return data[:at] + struct.pack(">II", width % 2**32, height % 2**32) + data[at + 8 :]
    for tag, side in ((256, width), (257, height)):  # TIFF, little-endian
        at = data.index(struct.pack("<HH", tag, 4 if struct.pack("<HH", tag, 4) in data else 3))
        data = data[: at + 2] + struct.pack("<HII", 4, 1, side % 2**32) + data[at + 12 :]
    return data


_COMMON: tuple[Callable[[random.Random, str], bytes], ...] = (
    _lying_size,
    _flipped_at_the_start,
    _cut,
    _flipped,
    _joined,
    _stretched,
    _other_start,
)


# What can be done to one kind


def _two_headers(dice: random.Random, kind: str) -> bytes:
    large = png_header(dice.choice(_SIDES), 13_000)
    return b"\x89PNG\r\n\x1a\n" + png_header(16, 16) + large + large_png(16, 16)[33:]


def _bomb(dice: random.Random, kind: str) -> bytes:
    return large_png(*dice.choice(((13_000, 13_000), (9400, 9400), (60_000, 400), (400, 60_000), (4000, 3000))))


def _thin(dice: random.Random, kind: str) -> bytes:
    return large_png(*dice.choice(((170_000, 1), (1, 170_000), (40_000, 150), (2_000_000, 3))))


def _packed_text(dice: random.Random, kind: str) -> bytes:
    packed = packed_zeros(dice.choice((10**6, 10**8)))
    name, start = dice.choice(((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")))
    data = large_png(300, 200)
    return data[:33] + png_chunk(name, start + packed) * dice.choice((1, 200)) + data[33:]


def _wrong_sum(dice: random.Random, kind: str) -> bytes:
    data = bytearray(large_png(300, 200))
    data[dice.choice((29, 30, len(data) - 1, len(data) - 14))] ^= 0xFF
    return bytes(data)


def _many_chunks(dice: random.Random, kind: str) -> bytes:
    data = large_png(300, 200)
    return data[:33] + png_chunk(b"IDAT", b"") * dice.choice((3000, 100_000)) + data[33:]


def _frame_control(dice: random.Random, kind: str) -> bytes:
    """An animation that says it has more frames than there are, or frames of another size."""
    data = good("APNG")
    at = data.index(b"acTL")
    control = png_chunk(b"acTL", struct.pack(">II", dice.choice((0, 2**31 - 1)), 0))
    return data[: at - 4] + control + data[at + 16 :]


def _many_scans(dice: random.Random, kind: str) -> bytes:
    return many_scans(*dice.choice(((4000, 4000), (640, 480))), dice.choice((30, 3000)))


def _much_metadata(dice: random.Random, kind: str) -> bytes:
    marker = dice.choice((b"\xff\xe1", b"\xff\xe2", b"\xff\xed", b"\xff\xfe"))
    start = dice.choice(
        (b"Exif\0\0II*\0\x08\0\0\0", b"ICC_PROFILE\0\x01\xff", b"MPF\0II*\0\x08\0\0\0", b"Photoshop 3.0\0")
    )
    segment = marker + struct.pack(">H", 65_535) + start + dice.randbytes(8) + b"\xff" * (65_525 - len(start))
    return b"\xff\xd8" + segment * dice.choice((1, 100)) + good("JPEG")[2:]


def _second_frame_header(dice: random.Random, kind: str) -> bytes:
    data = good("JPEG")
    at = data.index(b"\xff\xc0")
    header = bytearray(data[at : at + 19])
    header[5:9] = struct.pack(">HH", 13_000, 13_000)
    return (
        data[:at] + bytes(header) + data[at:]
        if dice.random() < 0.5
        else data[: at + 19] + bytes(header) + data[at + 19 :]
    )


def _many_frames(dice: random.Random, kind: str) -> bytes:
    size = dice.choice(((64, 64), (4000, 3000), (65_535, 65_535)))
    return many_frames(*size, dice.choice((3, 500, 20_000 if size[0] == 64 else 1000)), dice.randrange(4))


def _lying_canvas(dice: random.Random, kind: str) -> bytes:
    """The extended form says another size than the frame inside it has."""
    inner = good(kind)[12:]
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes((dice.choice((0, 2, 0x3E)), 0, 0, 0))
    canvas += b"".join((dice.choice(_SIDES) % 2**24).to_bytes(3, "little") for _ in range(2))
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(inner)) + b"WEBP" + canvas + inner


def _directories(dice: random.Random, kind: str) -> bytes:
    """A TIFF whose directories go round in circles, or whose entries count to the end of memory."""
    count = dice.choice((1, 2**16, 2**31, 2**32 - 1))
    entries = [(256, 4, 1, 64), (257, 4, 1, 48), (258, 3, 1, 8), (259, 3, 1, dice.choice((1, 5, 8, 50_000)))]
    entries += [(262, 3, 1, 1), (273, 4, count, 8), (278, 4, 1, 48), (279, 4, count, 64 * 48), (34_675, 7, count, 8)]
    entries += [(274, 3, 1, dice.randrange(12)), (277, 3, 1, dice.choice((1, 4, 65_535)))]
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return (
        b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", dice.choice((0, 8))) + bytes(64 * 48)
    )


def _run_lengths(dice: random.Random, kind: str) -> bytes:
    width, height = dice.choice(((10_000, 10_000), (2000, 2000), (60_000, 1), (300, 200)))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, dice.choice((0, 256, 2**31)), 0)
    pixels = b"\xff\x01" * dice.choice((10, 20_000)) + b"\0\2\xff\xff" * dice.choice((0, 5000)) + b"\0\1"
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(pixels), 0, 0, 54 + 1024) + header + bytes(1024) + pixels


_OF_KIND: dict[str, tuple[Callable[[random.Random, str], bytes], ...]] = {
    "PNG": (_two_headers, _bomb, _thin, _packed_text, _wrong_sum, _many_chunks),
    "APNG": (_frame_control,),
    "JPEG": (_many_scans, _much_metadata, _second_frame_header),
    "MPO": (_much_metadata,),
    "GIF": (_many_frames,),
    "WEBP": (_lying_canvas,),
    "TIFF": (_directories,),
    "BMP": (_run_lengths,),
}

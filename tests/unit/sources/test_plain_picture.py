"""Plain pictures are read as the picture library reads them; whatever might surprise a decoder is not plain."""

import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.rig.hostile_pictures import KINDS, hostile
from vedette.sources.plain_picture import Picture, parse_plain, parse_plain_ends


def encoded(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 40).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "RGB", {"comment": b"c" * 300}),
        ("JPEG", "RGB", {"restart_marker_blocks": 3}),
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("PNG", "P", {}),
        ("PNG", "1", {}),
        ("PNG", "RGBA", {"dpi": (72, 72)}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (640, 480), (37, 1001)])
def test_sizes_are_read_as_the_picture_library_reads_them(
    kind: str, mode: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    assert parse_plain(encoded(kind, size, mode, **options)) == Picture(f"image/{kind.lower()}", *size)


PNG = encoded("PNG")
JPEG = encoded("JPEG")
SMALL_HEADER = PNG[8:33]
LARGE_HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 8, 0, 0, 0, 0))
ROTATED = Image.Exif()
ROTATED[0x0112] = 6
FRAMES = [Image.effect_noise((64, 48), 30), Image.effect_noise((64, 48), 60)]


@pytest.mark.parametrize(
    "data",
    [
        PNG[:8] + SMALL_HEADER + LARGE_HEADER + PNG[33:],
        PNG[:8] + SMALL_HEADER + chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**6))) + PNG[33:],
        PNG[:8] + SMALL_HEADER + chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**6))) + PNG[33:],
        PNG[:8] + SMALL_HEADER + chunk(b"acTL", struct.pack(">II", 2, 0)) + PNG[33:],
        PNG + b"more",
        PNG[:-12] + LARGE_HEADER + PNG[-12:],
        encoded("PNG", mode="LA"),
        encoded("PNG", mode="I;16"),
        encoded("PNG", mode="P", transparency=0),
        encoded("PNG", exif=ROTATED.tobytes()),
        encoded("JPEG", exif=ROTATED.tobytes()),
        encoded("JPEG", xmp=b'<x tiff:Orientation="6"/>'),
        encoded("JPEG", mode="CMYK"),
        encoded("MPO", save_all=True, append_images=FRAMES),
        JPEG[:-2],
        JPEG[:2] + JPEG[JPEG.index(b"\xff\xc0") : JPEG.index(b"\xff\xc4")] + JPEG[2:],
        encoded("WEBP", exif=ROTATED.tobytes()),
        encoded("WEBP", save_all=True, append_images=FRAMES),
        encoded("WEBP") + b"more",
    ],
    ids=lambda data: f"{data[:4]!r}{len(data)}",
)
def test_what_could_surprise_a_decoder_is_not_plain(data: bytes) -> None:
    assert parse_plain(data) is None


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO", "AVIF"])
def test_other_kinds_are_not_plain(kind: str) -> None:
    assert parse_plain(encoded(kind)) is None


def test_a_picture_of_many_scans_is_not_plain() -> None:
    """Each scan costs the decoder a pass over the whole picture."""
    whole = encoded("JPEG", (640, 480), progressive=True)
    first = whole.index(b"\xff\xda")
    scan = whole[first : whole.index(b"\xff", first + 20)]
    assert parse_plain(whole) is not None
    assert parse_plain(whole[:first] + scan * 500 + whole[first:]) is None


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_ends_of_a_jpeg_in_one_scan_say_as_much_as_all_of_it(mode: str) -> None:
    whole = encoded("JPEG", (640, 480), mode)
    assert parse_plain_ends(whole[:3000], whole[-6:]) == parse_plain(whole) == Picture("image/jpeg", 640, 480)
    assert parse_plain_ends(whole[:300], whole[-6:]) is None
    assert parse_plain_ends(whole[:3000], whole[-6:-1]) is None


@pytest.mark.parametrize(
    "data",
    [
        encoded("JPEG", progressive=True),
        encoded("JPEG", exif=ROTATED.tobytes()),
        JPEG[:2] + JPEG[JPEG.index(b"\xff\xc0") : JPEG.index(b"\xff\xc4")] + JPEG[2:],
        PNG,
        encoded("WEBP"),
    ],
    ids=["progressive", "rotated", "two headers", "PNG", "WebP"],
)
def test_the_ends_of_others_say_nothing(data: bytes) -> None:
    assert parse_plain_ends(data, data[-6:]) is None


@pytest.mark.parametrize("seed", range(100))
def test_the_ends_of_a_hostile_file_say_nothing_else_than_all_of_it(seed: int) -> None:
    data = hostile(seed * len(KINDS) + KINDS.index("JPEG")).data
    ends = parse_plain_ends(data[:6144], data[-6:])
    assert ends in (None, parse_plain(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_cut_file_is_not_plain(kind: str) -> None:
    whole = encoded(kind)
    assert [length for length in range(len(whole)) if parse_plain(whole[:length])] == []


@given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBP", b"RIFF1234WEBPVP8X"]), st.binary())
def test_whatever_follows_is_read_or_refused(start: bytes, rest: bytes) -> None:
    picture = parse_plain(start + rest)
    assert picture is None or (0 < picture.width < 2**32 and 0 < picture.height < 2**32)

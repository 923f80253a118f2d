import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vedette.errors import BadInputError, TooLargeError
from vedette.sources.pictures import Picture, check_picture, parse_header


def encoded(kind: str, size: tuple[int, int], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 40).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": Image.Exif().tobytes() + bytes(5000), "comment": b"c" * 300}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00" + bytes(100)}),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (640, 480), (37, 1001)])
def test_sizes_are_read_as_the_picture_library_reads_them(
    kind: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    assert parse_header(encoded(kind, size, **options)) == Picture(f"image/{kind.lower()}", *size)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(BadInputError, match="not a JPEG, PNG or WebP"):
        check_picture(encoded(kind, (16, 16)), 10**6)


def test_bombs_are_refused_by_their_header() -> None:
    bomb = bytearray(encoded("PNG", (16, 16)))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(TooLargeError, match="60000"):
        check_picture(bytes(bomb), 10**6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_truncated_headers_are_refused(kind: str) -> None:
    whole = encoded(kind, (64, 64))
    for length in range(24):
        with pytest.raises(BadInputError):
            check_picture(whole[:length], 10**6)


@given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBP", b"RIFF1234WEBPVP8X"]), st.binary())
def test_whatever_follows_is_read_or_refused(start: bytes, rest: bytes) -> None:
    picture = parse_header(start + rest)
    assert picture is None or (0 <= picture.width < 2**32 and 0 <= picture.height < 2**32)

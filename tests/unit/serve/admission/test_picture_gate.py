"""Every kind of picture through the real worker: right, or refused in a sentence that names it."""

import io
import random
from collections.abc import AsyncIterator
from typing import Any

import PIL
import pytest
import pytest_asyncio
from PIL import Image

from tests.rig.hostile_pictures import large_png, many_frames, png_header
from vedette.errors import BadInputError, TooLargeError
from vedette.serve.admission.media_url import data_url, parse_data_url
from vedette.serve.admission.picture_gate import ClipLimits, PictureGate, PictureLimits

LIMITS = PictureLimits(320 * 240)
RED, BLUE = (220, 20, 30), (20, 40, 210)


pytestmark = pytest.mark.asyncio(loop_scope="module")
reads_its_own_ycbcr = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13,
    reason="Pillow 12 cannot read such a file of its own",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate() -> AsyncIterator[PictureGate]:
    one = PictureGate()
    yield one
    await one.close()


def drawn(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """Red at the left, blue at the right, a white bar at the top left."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    image.paste((255, 255, 255), (0, 0, size[0] // 4, size[1] // 4))
    return image.quantize(8, dither=Image.Dither.NONE) if mode == "P" else image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seen(admitted: bytes) -> Image.Image:
    """What the engine sees: it decodes to RGB."""
    return Image.open(io.BytesIO(admitted)).convert("RGB")


def is_near(got: Any, wanted: tuple[int, int, int], by: int = 24) -> bool:
    return all(abs(one - other) <= by for one, other in zip(got, wanted, strict=True))


def assert_drawn(image: Image.Image, left: tuple[int, int, int] = RED, right: tuple[int, int, int] = BLUE) -> None:
    width, height = image.size
    assert is_near(image.getpixel((width // 4, height * 3 // 4)), left)
    assert is_near(image.getpixel((width * 3 // 4, height * 3 // 4)), right)
    assert is_near(image.getpixel((width // 16, height // 16)), (255, 255, 255))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_small_and_right_pictures_pass_as_they_are(gate: PictureGate, kind: str) -> None:
    data = encoded(drawn((320, 240)), kind)
    url = data_url(f"image/{kind.lower()}", [data])
    assert await gate.picture(data, LIMITS) is data
    assert await gate.picture_url(url, LIMITS) is url


async def test_a_large_jpeg_is_only_decoded_where_it_must_be(gate: PictureGate) -> None:
    noise = Image.frombytes("RGB", (320, 240), random.Random(3).randbytes(320 * 240 * 3))  # noqa: S311
    data = encoded(noise, "JPEG", quality=90)
    url = data_url("image/jpeg", [data])
    assert len(url) > 20_000
    assert await gate.picture_url(url, LIMITS) is url
    smaller = await gate.picture_url(url, PictureLimits(100 * 75))
    assert seen(parse_data_url(smaller).parts[0]).size == (100, 75)
    with pytest.raises(BadInputError, match="base64"):
        await gate.picture_url(url + ",", LIMITS)
    with pytest.raises(BadInputError, match="base64"):
        await gate.picture_url("data:image/png," + url[23:], LIMITS)


@pytest.mark.parametrize("size", [(64, 48), (800, 600)])
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "RGB", {"exif": b"Exif\0\0damaged"}),
        ("JPEG", "CMYK", {}),
        ("MPO", "RGB", {"save_all": True, "append_images": [drawn()]}),
        ("PNG", "P", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (64, 48))]}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (64, 48))], "quality": 95}),
        ("GIF", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (64, 48))]}),
        ("AVIF", "RGB", {"quality": 95}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (64, 48))]}),
        ("TIFF", "CMYK", {}),
        pytest.param("TIFF", "YCbCr", {}, marks=reads_its_own_ycbcr),
        ("BMP", "RGB", {}),
        ("BMP", "P", {}),
    ],
)
async def test_every_kind_is_seen_right(
    gate: PictureGate, kind: str, mode: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    if "append_images" in options and size != (64, 48):
        options = options | {"append_images": [Image.new("RGB", size)]}
    image = seen(await gate.picture(encoded(drawn(size, mode), kind, **options), LIMITS))
    assert image.width * image.height <= LIMITS.max_pixels
    assert abs(image.width / image.height - 4 / 3) < 0.02
    assert_drawn(image)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_rotated_photo_stands_upright(gate: PictureGate, kind: str, orientation: int) -> None:
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = drawn().transpose(back[orientation]) if orientation > 1 else drawn()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = seen(await gate.picture(encoded(stored, kind, exif=exif.tobytes()), LIMITS))
    assert image.size == (64, 48)
    assert_drawn(image)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("TIFF", "RGBA")])
@pytest.mark.parametrize("size", [(64, 48), (800, 600)])
async def test_what_is_transparent_is_white(gate: PictureGate, kind: str, mode: str, size: tuple[int, int]) -> None:
    image = drawn(size).convert("L").convert(mode) if mode == "LA" else drawn(size, mode)
    image.putalpha(Image.new("L", size, 0))
    admitted = await gate.picture(encoded(image, kind), LIMITS)
    if mode == "RGBA" and kind == "PNG" and size == (64, 48):
        assert Image.open(io.BytesIO(admitted)).mode == "RGBA"  # passed as it is: the engine puts it on white
    else:
        assert_drawn(seen(admitted), (255, 255, 255), (255, 255, 255))


async def test_the_transparent_colour_of_a_palette_is_white(gate: PictureGate) -> None:
    image = drawn(mode="P")
    red = image.getpixel((16, 40))
    assert_drawn(seen(await gate.picture(encoded(image, "PNG", transparency=red), LIMITS)), left=(255, 255, 255))
    assert_drawn(seen(await gate.picture(encoded(image, "GIF", transparency=red), LIMITS)), left=(255, 255, 255))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
async def test_16_bit_grey_keeps_its_tones(gate: PictureGate, kind: str) -> None:
    tones = [0, 255, 4096, 20_000, 32_768, 60_000, 65_535]
    image = Image.new("I;16", (len(tones), 1))
    for at, tone in enumerate(tones):
        image.putpixel((at, 0), tone)
    made = seen(await gate.picture(encoded(image, kind), LIMITS))
    assert [made.getpixel((at, 0)) for at in range(len(tones))] == [(tone >> 8,) * 3 for tone in tones]


async def test_a_photo_of_48_megapixels_is_scaled_down(gate: PictureGate) -> None:
    image = seen(await gate.picture(encoded(Image.new("L", (8000, 6000), 90), "JPEG"), LIMITS))
    assert 0.95 * LIMITS.max_pixels < image.width * image.height <= LIMITS.max_pixels
    assert image.getpixel((9, 9)) == (90, 90, 90)


@pytest.mark.parametrize(
    "data",
    [
        large_png(13_000, 13_000),
        large_png(170_000, 1000),
        b"\x89PNG\r\n\x1a\n" + png_header(16, 16) + png_header(13_000, 13_000) + large_png(16, 16)[33:],
        encoded(Image.new("L", (64, 48)), "GIF").replace(b"\x40\0\x30\0", b"\xff\xff\xff\xff", 1),
    ],
    ids=["13000x13000", "170000x1000", "two headers", "canvas of a GIF"],
)
async def test_what_is_too_large_to_decode_is_refused_with_the_numbers(gate: PictureGate, data: bytes) -> None:
    with pytest.raises(TooLargeError, match=r"(13000 × 13000|170000 × 1000|65535 × 65535) pixels.*\d+ MiB.*\d+ MiB"):
        await gate.picture(data, LIMITS)


async def test_a_thin_picture_is_refused_with_the_numbers(gate: PictureGate) -> None:
    for data in (large_png(20_100, 100), large_png(201, 1), large_png(1, 76_000)):
        with pytest.raises(BadInputError, match=r"pixels: one side is more than 200 times the other"):
            await gate.picture(data, LIMITS)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("HEIC", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"),
        ("SVG", b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'),
        ("SVG", b"<svg/>"),
        ("PDF", b"%PDF-1.7\n"),
        ("MP4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2"),
        ("WebM", b"\x1aE\xdf\xa3\x9fB\x86\x81\1"),
        ("AVI", b"RIFF\0\0\0\0AVI LIST"),
        ("a NumPy array", b"\x93NUMPY\1\0v\0{'descr': '<f4'}"),
        ("a PyTorch tensor", b"PK\3\4\0\0\x08\x08" + bytes(22) + b"archive/data.pkl"),
        ("a Python pickle", b"\x80\x02}q\0."),
        ("safetensors", b'\x40\0\0\0\0\0\0\0{"a":{}}'),
        ("the text of a Python object", b"<_io.BytesIO object at 0x7f32b0e0a4f0>"),
        ("the text of a Python object", b"<PIL.Image.Image image mode=RGB size=64x48 at 0x7F32B0E0A4F0>"),
        ("HTML", b"<!DOCTYPE html><html>"),
        ("text", b"https://example.com/cat.jpg"),
        ("data of an unknown kind", bytes(range(200, 256))),
        ("data of an unknown kind", b""),
    ],
)
async def test_what_is_no_picture_is_named(gate: PictureGate, name: str, data: bytes) -> None:
    with pytest.raises(BadInputError, match=f"sent as a picture is {name}.* vedette does not decode"):
        await gate.picture(data, LIMITS)


async def test_pictures_that_cannot_be_read_right_are_refused(gate: PictureGate) -> None:
    for mode in ("I", "F"):
        with pytest.raises(BadInputError, match="32 bits a colour"):
            await gate.picture(encoded(Image.new(mode, (64, 48)), "TIFF"), LIMITS)
    whole = encoded(drawn((640, 480)), "JPEG")
    with pytest.raises(BadInputError, match="cannot be decoded: image file is truncated"):
        await gate.picture(whole[: len(whole) // 2], LIMITS)
    with pytest.raises(BadInputError, match="cannot be decoded"):
        await gate.picture(encoded(drawn(), "PNG")[:40], LIMITS)


CLIP = ClipLimits(4, 120 * 90)


def film(frames: int, size: tuple[int, int], kind: str = "GIF", **options: Any) -> bytes:
    """Each frame is lighter than the one before."""
    made = [Image.new("RGB", size, (255 * each // max(1, frames - 1),) * 3) for each in range(frames)]
    return encoded(made[0], kind, save_all=True, append_images=made[1:], **options)


@pytest.mark.parametrize(
    ("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("AVIF", {"speed": 10})]
)
async def test_an_animation_becomes_frames_from_its_first_to_its_last(
    gate: PictureGate, kind: str, options: dict[str, Any]
) -> None:
    frames = await gate.clip([film(10, (240, 180), kind, **options)], CLIP)
    images = [seen(frame) for frame in frames]
    assert [image.size for image in images] == [(120, 90)] * 4
    assert all(
        is_near(image.getpixel((5, 5)), (255 * at // 9,) * 3) for image, at in zip(images, (0, 3, 6, 9), strict=True)
    )


async def test_a_short_animation_keeps_all_frames_and_its_size(gate: PictureGate) -> None:
    frames = await gate.clip([film(3, (64, 48))], CLIP)
    assert [seen(frame).size for frame in frames] == [(64, 48)] * 3


async def test_frames_that_are_small_and_right_pass_as_they_are(gate: PictureGate) -> None:
    jpeg = encoded(drawn(), "JPEG")
    url = data_url("video/jpeg", [jpeg] * 4)
    assert await gate.clip_url(url, CLIP) is url
    many = [encoded(Image.new("L", (64, 48), 10 * each), "JPEG") for each in range(10)]
    assert await gate.clip(many, CLIP) == (many[0], many[3], many[6], many[9])
    large = await gate.clip([encoded(drawn((640, 480)), "JPEG")] * 2, CLIP)
    assert [seen(frame).size for frame in large] == [(120, 90)] * 2


async def test_clips_that_cannot_be_used_are_refused(gate: PictureGate) -> None:
    with pytest.raises(BadInputError, match="The clip is PDF"):
        await gate.clip([b"%PDF-1.7"], CLIP)
    with pytest.raises(BadInputError, match="different sizes: 64 × 48, 64 × 50"):
        await gate.clip([encoded(drawn(), "JPEG"), encoded(drawn((64, 50)), "JPEG")], CLIP)
    with pytest.raises(BadInputError, match="takes no clips"):
        await gate.clip([film(2, (64, 48))], ClipLimits(0, 1000))
    with pytest.raises(TooLargeError, match="4000 × 3000"):
        await gate.clip([many_frames(4000, 3000, 3)], CLIP)


@pytest.mark.parametrize(
    "url", ["data:image/png,abc", "data:image/png;base64,a", "data:image/png;base64,ab\ncd", "data:"]
)
async def test_addresses_that_the_engine_could_not_read_are_refused(gate: PictureGate, url: str) -> None:
    with pytest.raises(BadInputError, match="base64"):
        await gate.picture_url(url, LIMITS)

"""Films through the real worker, with PyAV; without it, a sentence that says how to get it."""

import contextlib
import importlib
import io
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from vedette.errors import BadInputError, TooLargeError, VedetteError
from vedette.serve.admission.picture_gate import ClipLimits, PictureGate
from vedette.serve.admission.worker_process import can_decode_films

LIMITS = ClipLimits(4, 120 * 90)
MP4_START = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2"
RED, BLUE = (220, 20, 30), (20, 40, 210)

pytestmark = pytest.mark.asyncio(loop_scope="module")
needs_films = pytest.mark.skipif(not can_decode_films(), reason="PyAV is not installed")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate() -> AsyncIterator[PictureGate]:
    one = PictureGate()
    yield one
    await one.close()


def grey(number: int, of: int, size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, (255 * number // max(1, of - 1),) * 3)


def film(
    container: str = "mp4",
    codec: str = "mpeg4",
    frames: int = 10,
    size: tuple[int, int] = (320, 240),
    draw: Callable[[int, int, tuple[int, int]], Image.Image] = grey,
) -> bytes:
    """Each frame is lighter than the one before."""
    av: Any = importlib.import_module("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 2_000_000
        for number in range(frames):
            output.mux(stream.encode(av.VideoFrame.from_image(draw(number, frames, size))))
        output.mux(stream.encode())
    return buffer.getvalue()


def seen(frame: bytes) -> Image.Image:
    return Image.open(io.BytesIO(frame)).convert("RGB")


@pytest.mark.skipif(can_decode_films(), reason="PyAV is installed")
async def test_without_pyav_a_film_is_refused_in_a_sentence(gate: PictureGate) -> None:
    with pytest.raises(BadInputError, match=r"The clip is MP4, and PyAV.*is not installed.*pip install av"):
        await gate.clip([MP4_START], LIMITS)


@needs_films
@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp4", "mpeg4"),
        ("mp4", "libx264"),
        ("webm", "libvpx"),
        ("matroska", "libx264"),
        ("avi", "mjpeg"),
        ("mov", "mpeg4"),
    ],
)
async def test_a_film_becomes_frames_from_its_first_to_its_last(gate: PictureGate, container: str, codec: str) -> None:
    frames = await gate.clip([film(container, codec)], LIMITS)
    images = [seen(frame) for frame in frames]
    assert [image.size for image in images] == [(120, 90)] * 4
    for image, number in zip(images, (0, 3, 6, 9), strict=True):
        assert abs(image.getpixel((5, 5))[0] - 255 * number // 9) < 24  # type: ignore[index]


@needs_films
async def test_a_film_of_a_phone_held_upright_stands_upright(gate: PictureGate) -> None:
    def halves(_: int, __: int, size: tuple[int, int]) -> Image.Image:
        image = Image.new("RGB", size, RED)
        image.paste(BLUE, (size[0] // 2, 0, *size))
        return image

    identity = b"\0\1\0\0" + bytes(12) + b"\0\1\0\0" + bytes(12) + b"\x40\0\0\0"
    clockwise = bytes(4) + b"\0\1\0\0" + bytes(4) + b"\xff\xff\0\0" + bytes(16) + b"\x40\0\0\0"
    whole = film(draw=halves)
    at = whole.index(b"tkhd")
    turned = whole[:at] + whole[at:].replace(identity, clockwise, 1)
    assert turned != whole
    image = seen((await gate.clip([turned], LIMITS))[0])
    assert image.size == (90, 120)
    red, blue = image.getpixel((45, 20)), image.getpixel((45, 100))
    assert red[0] > 150 > red[2]  # type: ignore[index]
    assert blue[2] > 150 > blue[0]  # type: ignore[index]


@needs_films
async def test_a_long_film_is_shown_by_its_key_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    films = importlib.import_module("vedette.serve.admission.film_frames")
    monkeypatch.setattr(films, "_MOST_DECODED_PIXELS", 1000)
    greys = [image.getpixel((5, 5))[0] for image in films.read_frames(film(frames=50), "mp4", 4, lambda size: size)]
    assert len(greys) == 4
    assert greys == sorted(greys)
    assert greys[0] < 10
    assert greys[-1] > 200


@needs_films
async def test_films_that_cannot_be_used_are_refused(gate: PictureGate) -> None:
    with pytest.raises(TooLargeError, match="4096 × 4096 pixels, more than 8,294,400 pixels each"):
        await gate.clip([film(frames=1, size=(4096, 4096))], LIMITS)
    with pytest.raises(BadInputError, match="codec ffv1"):
        await gate.clip([film("matroska", "ffv1")], LIMITS)
    whole = film()
    for damaged in (MP4_START, whole[:200], whole[: len(whole) // 2], b"\x1aE\xdf\xa3" + bytes(100)):
        with pytest.raises(VedetteError, match="cannot be decoded"):
            await gate.clip([damaged], LIMITS)
    assert len(await gate.clip([film()], LIMITS)) == 4


@needs_films
async def test_damaged_films_are_refused_or_shown(gate: PictureGate) -> None:
    dice = random.Random(7)  # noqa: S311 - the same films each time
    whole = {codec: film(container, codec) for container, codec in (("mp4", "libx264"), ("webm", "libvpx"))}
    for number in range(60):
        data = bytearray(whole["libvpx" if number % 2 else "libx264"])
        for _ in range(dice.choice((1, 10, 100))):
            data[dice.randrange(12, len(data))] = dice.randrange(256)
        with contextlib.suppress(BadInputError):
            frames = await gate.clip([bytes(data)], LIMITS)
            assert 0 < len(frames) <= LIMITS.max_frames
    assert len(await gate.clip([whole["libx264"]], LIMITS)) == 4

"""Pictures and clips of every kind, through vedette's gate, to real vLLM that serves vedette-tiny."""

import asyncio
import base64
import importlib
import io
from typing import Any

import psutil
import pytest
from PIL import Image

from tests.rig.chat import ask, image_part, question
from tests.rig.hostile_pictures import large_png, many_frames, many_scans, png_header
from tests.rig.processes import Vedette
from vedette.scene import moving_scene, render
from vedette.serve.admission.worker_process import can_decode_films
from vedette.units import MIB

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body")

SEED = 21
ROTATED = Image.Exif()
ROTATED[0x0112] = 6


def drawn(kind: str, size: tuple[int, int] = (640, 480), turned: bool = False, **options: Any) -> bytes:
    image = render(moving_scene(SEED, 0.0), *size)
    buffer = io.BytesIO()
    (image.transpose(Image.Transpose.ROTATE_90) if turned else image).save(buffer, kind, **options)
    return buffer.getvalue()


def part(data: bytes, mime: str = "image/png", kind: str = "image_url") -> dict[str, Any]:
    return {"type": kind, kind: {"url": f"data:{mime};base64,{base64.b64encode(data).decode()}"}}


@pytest.mark.parametrize(
    "data",
    [
        drawn("PNG"),
        drawn("PNG", (2560, 1920)),
        drawn("JPEG", (4000, 3000), quality=90),
        drawn("JPEG", turned=True, quality=90, exif=ROTATED.tobytes()),
        drawn("WEBP", lossless=True, exif=b"Exif\0\0"),
        drawn("AVIF", quality=95, speed=10),
        drawn("TIFF", compression="tiff_lzw"),
        drawn("BMP"),
        drawn("GIF"),
    ],
    ids=["PNG", "large PNG", "12 megapixels", "rotated", "WebP", "AVIF", "TIFF", "BMP", "GIF"],
)
async def test_every_kind_of_picture_is_described_correctly(running_vedette: Vedette, data: bytes) -> None:
    status, answer = await ask(running_vedette, question(part(data)))
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip() == moving_scene(SEED, 0.0).describe()


async def test_an_animation_is_a_clip(running_vedette: Vedette) -> None:
    frames = [render(moving_scene(SEED, second / 4), 640, 480) for second in range(12)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    clip = part(buffer.getvalue(), "image/gif", "video_url")
    status, answer = await ask(running_vedette, question(clip, text="What moves?"))
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip()


@pytest.mark.skipif(not can_decode_films(), reason="PyAV is not installed")
async def test_a_film_is_a_clip(running_vedette: Vedette) -> None:
    av: Any = importlib.import_module("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for second in range(12):
            output.mux(stream.encode(av.VideoFrame.from_image(render(moving_scene(SEED, second / 4), 640, 480))))
        output.mux(stream.encode())
    status, answer = await ask(running_vedette, question(part(buffer.getvalue(), "video/mp4", "video_url")))
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip()


def memory_bytes(running: Vedette) -> tuple[int, int]:
    """What vedette holds, and what its engine holds; without a standby, which loads its modules meanwhile."""
    engine = psutil.Process(running.status()["engine_pid"])
    held = [process.memory_full_info().uss for process in (engine, *engine.children(recursive=True))]
    return psutil.Process(running.process.pid).memory_full_info().uss, sum(held)


async def test_the_worst_pictures_at_once_take_little_memory_and_others_are_served(running_vedette: Vedette) -> None:
    hostile = [
        part(large_png(13_000, 13_000)),
        part(large_png(9400, 9400)),
        part(large_png(170_000, 1000)),
        part(large_png(16, 16)[:8] + png_header(16, 16) + png_header(13_000, 13_000) + large_png(16, 16)[33:]),
        part(many_scans(4000, 4000, 3000), "image/jpeg"),
        part(many_frames(4000, 3000, 500), "image/gif"),
        part(many_frames(4000, 3000, 500), "video/mp4", "video_url"),
        part(many_frames(1000, 1000, 3000), "image/gif", "video_url"),
        part(drawn("JPEG", (8000, 6000)), "image/jpeg"),
    ]
    await ask(running_vedette, question(part(drawn("PNG"))))
    before, most = memory_bytes(running_vedette), (0, 0)
    asking = [asyncio.ensure_future(ask(running_vedette, question(each, max_tokens=1))) for each in hostile]
    others = 0
    while not all(each.done() for each in asking):
        status, _ = await ask(running_vedette, question(image_part(SEED)))
        assert status == 200
        others += 1
        now = memory_bytes(running_vedette)
        most = max(most[0], now[0]), max(most[1], now[1])
    results = [await each for each in asking]
    assert {status for status, _ in results} <= {200, 400, 413}, results
    assert [status for status, _ in results[:4]] == [413, 200, 413, 413]
    assert others > 0
    # The requests have 21 MiB: their bytes, their pictures, and what is sent on. Decoded, the first alone has 162.
    assert most[0] - before[0] < 96 * MIB
    assert most[1] - before[1] < 128 * MIB

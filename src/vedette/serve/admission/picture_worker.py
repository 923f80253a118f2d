"""Runs as a process of its own: `picture_worker.py PACKAGES MEMORY_BYTES CPU_S`. Decodes and scales pictures.

It reads orders from its standard input, one after another, and answers on its standard output: a line of JSON, then the
bytes that the line announces. The kernel bounds its memory, and its processor time for each order. It imports Pillow
and nothing of vedette, and ends when its input ends.
"""

import contextlib
import importlib
import json
import math
import os
import resource
import sys
from io import BytesIO
from typing import Any, BinaryIO

sys.path += sys.argv[1].split(os.pathsep)

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP")
_PLUGINS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
"""Imported here, so that Pillow does not import all others when it opens the first picture."""
_OWN_BYTES = 48 * 2**20
"""Address space of Python and Pillow (35 MiB), and of codecs beside their pixels."""
_CODEC_BYTES = {"WEBP": 17, "AVIF": 12}
"""A pixel, while decoding: canvases of the codec, copies, and the result. Other codecs decode into the result."""
_MODE_BYTES = {"1": 2, "L": 1, "P": 5, "RGB": 4}
"""A pixel of the result, and of what it is converted to at its full size."""
_DEEP_BYTES = 7
_OTHER_BYTES = 8
_TRANSPARENT_BYTES = 12
_ANIMATION_BYTES = 20
"""A pixel of any animation: two canvases, the frame before, and the frame."""
_MOST_CLIP_PIXELS = 500_000_000
"""Of all frames of an animation together: about 4 s of processor time."""
_MOST_SCANS = 100
"""Of a progressive JPEG. Usual ones have about 10; each costs a pass over the whole picture."""
_STREAMED = ("JPEG", "MPO", "PNG", "BMP", "GIF")
"""Read piece by piece; of others Pillow makes a copy."""
_ROTATED = 0x0112
"""EXIF's tag of the orientation (EXIF 2.32, 4.6.4)."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF")
_LONGEST_ERROR = 200
_TEXT_BYTES = 2**20


class RefusedError(Exception):
    """The order cannot be carried out; `reason` and its details go to vedette."""

    def __init__(self, reason: str, **details: object) -> None:
        super().__init__(reason)
        self.answer = {"refused": reason, **details}


def main() -> None:
    memory_bytes, cpu_s = int(sys.argv[2]), int(sys.argv[3])
    _limit(memory_bytes)
    while line := sys.stdin.buffer.readline():
        _limit_time(cpu_s)
        order = json.loads(line)
        parts: list[bytes] = []
        try:
            data = _read(sys.stdin.buffer, order["bytes"])
            parts = _carry_out(order, data, memory_bytes)
            answer: dict[str, Any] = {"parts": [len(part) for part in parts]}
        except RefusedError as error:
            answer = error.answer
        except MemoryError:
            answer = {"refused": "memory"}
        except Exception as error:  # whatever a damaged file makes of Pillow
            answer = {"refused": "damaged", "error": (str(error) or type(error).__name__)[:_LONGEST_ERROR]}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123 - starts sooner
        score.write("900")  # when memory runs out, before the engine and its standby (launcher.py, preloader.py)
    Image.MAX_IMAGE_PIXELS = None  # `_check_size` knows better
    PngImagePlugin.MAX_TEXT_MEMORY = _TEXT_BYTES
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _limit_time(cpu_s: int) -> None:
    """The kernel ends the process after this many further seconds of processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + cpu_s, most))


def _read(source: BinaryIO, length: int) -> bytes:
    data = source.read(length)
    if len(data) < length:  # vedette has ended
        os._exit(0)
    return data


def _carry_out(order: dict[str, Any], data: bytes, memory_bytes: int) -> list[bytes]:
    if order["do"] == "film":
        return _film(order, data)
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise RefusedError("damaged", error="no header of a picture") from None
    with image:
        if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > _MOST_SCANS:
            raise RefusedError("scans", most=_MOST_SCANS)
        copies = 1 if image.format in _STREAMED else 2
        room_bytes = memory_bytes - _OWN_BYTES - copies * len(data)
        if order["max_ratio"] * min(image.size) < max(image.size):
            raise RefusedError("thin", width=image.width, height=image.height)
        if order["do"] == "clip":
            return _frames(image, order, room_bytes)
        return [_picture(image, order["max_pixels"], room_bytes)]


def _picture(image: Image.Image, max_pixels: int, room_bytes: int) -> bytes:
    """The first frame, upright, at most `max_pixels`."""
    whole, size = image.size, _fitting(image.size, max_pixels)
    image.draft("RGB", size)  # a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is enough
    _check_size(image, whole, _pixel_bytes(image), room_bytes)
    plain = _plain(image, size)
    # Asked for after decoding: Pillow turns a TIFF itself, and a PNG may say it at its end.
    return _encoded(_turned(plain, _orientation(image)), "JPEG" if image.format in _LOSSY else "PNG")


def _frames(image: Image.Image, order: dict[str, Any], room_bytes: int) -> list[bytes]:
    """Frames of an animation, evenly spread over it."""
    _check_size(image, image.size, _ANIMATION_BYTES, room_bytes)
    count, most = getattr(image, "n_frames", 1), order["max_frames"]
    if count * image.width * image.height > _MOST_CLIP_PIXELS:  # the last frame cannot be had without those before it
        raise RefusedError("long", frames=count, width=image.width, height=image.height, most_pixels=_MOST_CLIP_PIXELS)
    size = _fitting(image.size, order["max_pixels"])
    wanted = range(count) if count <= most else [round(i * (count - 1) / max(1, most - 1)) for i in range(most)]
    frames = []
    for number in wanted:
        image.seek(number)
        frames.append(_encoded(_plain(image, size), "JPEG"))
    return frames


def _film(order: dict[str, Any], data: bytes) -> list[bytes]:
    sys.path.append(os.path.dirname(__file__))  # noqa: PTH120 - starts sooner
    films = importlib.import_module("film_frames")
    try:
        frames = films.read_frames(
            data, order["container"], order["max_frames"], lambda size: _fitting(size, order["max_pixels"])
        )
        return [_encoded(frame, "JPEG") for frame in frames]
    except films.FilmError as error:
        raise RefusedError(error.answer.pop("refused"), **error.answer) from None


def _fitting(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """The largest size of the same shape with at most `max_pixels`."""
    width, height = size
    if width * height <= max_pixels:
        return size
    scale = math.sqrt(max_pixels / (width * height))
    return max(1, int(width * scale)), max(1, int(height * scale))


def _check_size(image: Image.Image, whole: tuple[int, int], pixel_bytes: int, room_bytes: int) -> None:
    """Raise RefusedError for a picture that takes more memory than there is."""
    needed = image.width * image.height * pixel_bytes + _coefficients_bytes(image, whole)
    if needed > room_bytes:
        raise RefusedError(
            "too_large", width=whole[0], height=whole[1], needed_bytes=needed, limit_bytes=max(0, room_bytes)
        )


def _pixel_bytes(image: Image.Image) -> int:
    """The most bytes a pixel while a picture is decoded and converted."""
    if image.mode.startswith("I;16"):
        converted = _DEEP_BYTES
    elif _is_transparent(image):
        converted = _TRANSPARENT_BYTES
    else:
        converted = _MODE_BYTES.get(image.mode, _OTHER_BYTES)
    return max(converted, _CODEC_BYTES.get(str(image.format), 0))


def _is_transparent(image: Image.Image) -> bool:
    """Whether it has transparency that its mode alone does not resolve."""
    return image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info


def _coefficients_bytes(image: Image.Image, whole: tuple[int, int]) -> int:
    """A progressive JPEG is held as coefficients of the whole picture, two bytes each, whatever the scale."""
    layers = getattr(image, "layer", ())
    if not image.info.get("progressive") or not layers:
        return 0
    most = max(horizontal * vertical for _, horizontal, vertical, _ in layers)
    share = sum(horizontal * vertical for _, horizontal, vertical, _ in layers) / max(1, most)
    return int(whole[0] * whole[1] * share * 2)


def _plain(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in 8 bits of grey or RGB at a size, on white where it is transparent."""
    mode = image.mode
    if mode in ("I", "F"):
        raise RefusedError("depth", mode=mode)
    if mode.startswith("I;16"):
        image = image.convert("I").point([level >> 8 for level in range(1 << 16)], "L")
    elif _is_transparent(image):
        image = image.convert("RGBA")
    elif mode == "1":
        image = image.convert("L")
    elif mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGB")
    else:
        image.load()
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return image


def _orientation(image: Image.Image) -> int:
    with contextlib.suppress(Exception):  # damaged metadata rotate nothing
        return int(image.getexif().get(_ROTATED, 1))
    return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _encoded(image: Image.Image, form: str) -> bytes:
    buffer = BytesIO()
    image.info.clear()  # a colour profile or comment of the original
    if form == "JPEG":
        image.save(buffer, "JPEG", quality=92, subsampling=0)
    else:
        image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


if __name__ == "__main__":
    main()

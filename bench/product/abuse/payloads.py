"""What the attacks send: pictures, clips and requests that are small on the wire and large for their reader."""

import base64
import gzip
import io
import json
import struct
import zlib
from functools import cache
from typing import Any

from PIL import Image

MODEL = "vedette-tiny"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _header(width: int, height: int) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


@cache
def grey_png(width: int, height: int) -> bytes:
    """A right PNG, all black: 13000 × 13000 are about 20 kB twice packed, 165 kB here."""
    packer = zlib.compressobj(9)
    row = bytes(1 + width)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + _header(width, height) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


@cache
def twice_headed_png() -> bytes:
    """A PNG whose first header says 16 × 16, and whose second says 13000 × 13000."""
    data = grey_png(13_000, 13_000)
    return data[:8] + _header(16, 16) + data[8:]


@cache
def large_gif(side: int = 5000, frames: int = 10) -> bytes:
    """An animated GIF of large frames that differ in one pixel."""
    pictures = []
    for number in range(frames):
        picture = Image.new("P", (side, side))
        picture.putpalette(bytes(range(256)) * 3)
        picture.putpixel((number, number), number + 1)
        pictures.append(picture)
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], optimize=False, disposal=2)
    return buffer.getvalue()


@cache
def photo(width: int = 8000, height: int = 6000) -> bytes:
    """A JPEG of the size that a phone takes."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def url_of(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def chat(*content: dict[str, Any], **more: Any) -> bytes:
    """The body of a chat request; content: besides the words."""
    words = {"type": "text", "text": "What do you see?"}
    body = {"model": MODEL, "messages": [{"role": "user", "content": [*content, words]}], "max_tokens": 8, **more}
    return json.dumps(body).encode()


def with_picture(data: bytes, kind: str = "image/png") -> bytes:
    return chat({"type": "image_url", "image_url": {"url": url_of(data, kind)}})


def with_clip(data: bytes, kind: str = "image/gif") -> bytes:
    return chat({"type": "video_url", "video_url": {"url": url_of(data, kind)}})


def nested(depth: int) -> bytes:
    """JSON nested so deep, in the place of the messages."""
    return b'{"model": "%s", "messages": %s1%s}' % (MODEL.encode(), b"[" * depth, b"]" * depth)


def gzip_bomb() -> bytes:
    """32 MB of spaces in 32 kB."""
    return gzip.compress(b" " * 32_000_000)


def loop_of_references() -> bytes:
    """A request for JSON by a schema that refers to itself."""
    schema = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return chat(response_format=form)


def large_schema() -> bytes:
    """A request for JSON by a schema of ten thousand alternatives."""
    schema = {"anyOf": [{"type": "string", "pattern": f"^(a|b){{1,{number}}}$"} for number in range(10_000)]}
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})

"""Requests that cost an engine without limits gigabytes or minutes, each small enough to be sent by anybody."""

import base64
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from tests.rig.chat import CHAT, question
from tests.rig.hostile_pictures import large_png

TEXTS = "/v1/completions"
RESPONSES = "/v1/responses"


@dataclass(frozen=True)
class Sent:
    """One request."""

    name: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def costly_requests() -> Iterator[Sent]:
    """The worst of each kind that is known."""
    for name, url in _pictures():
        yield _json(name, CHAT, question({"type": "image_url", "image_url": {"url": url}}))
    yield _json("a clip of 200 frames", CHAT, question({"type": "video_url", "video_url": {"url": _clip()}}))
    yield _json("2000 answers", CHAT, question(n=2000, max_tokens=50))
    yield _json("a beam of 2000", CHAT, question(n=2000, use_beam_search=True))
    yield _json("2000 prompts", TEXTS, {"prompt": ["Once"] * 2000, "max_tokens": 50})
    yield _json("a text of 8 MB", CHAT, question(text="word " * 1_600_000))
    yield _json("8 MB that no model reads", CHAT, question() | {"note": "x" * 8_000_000})
    yield _json("2 million token ids", TEXTS, {"prompt": [1] * 2_000_000, "max_tokens": 1})
    yield Sent("4 million lists", CHAT, b'{"messages":[' + b"[]," * 4_000_000 + b"[]]}")
    yield Sent("100,000 levels", CHAT, b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    yield Sent("a bomb", CHAT, gzip.compress(bytes(200 * 2**20)), {"Content-Encoding": "gzip"})
    yield _json("items that are none", RESPONSES, {"model": "vedette-tiny", "input": [{"type": "x"}] * 19_000})
    yield _json("log-probabilities of a prompt", TEXTS, {"prompt": "a " * 900, "prompt_logprobs": 20, "max_tokens": 1})
    yield _json("a schema that never ends", CHAT, _schema({"$ref": "#"}))
    yield _json("a long enum", CHAT, _schema({"enum": [f"value {number}" for number in range(50_000)]}))
    yield _json("a pattern", CHAT, _schema({"type": "string", "pattern": "(" * 6 + "a" + "{100})" * 6}))
    yield _json("a template", CHAT, question(chat_template="{% for a in range(10**9) %}{{ a }}{% endfor %}"))
    yield _json("a processor", CHAT, question(mm_processor_kwargs={"max_pixels": 10**9}))


def _json(name: str, path: str, body: dict[str, object]) -> Sent:
    return Sent(name, path, json.dumps(body).encode())


def _schema(value: object) -> dict[str, object]:
    return question(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": value}})


def _pictures() -> Iterator[tuple[str, str]]:
    for width, height in ((13_000, 13_000), (9_400, 9_400), (170_000, 1000)):
        yield f"{width} × {height}", _data_url("image/png", large_png(width, height))
    photo = io.BytesIO()
    Image.linear_gradient("L").resize((8000, 6000)).convert("RGB").save(photo, "JPEG", quality=50)
    for number in range(2):
        yield f"a photo of 48 megapixels, {number}", _data_url("image/jpeg", photo.getvalue() + bytes(number))


def _clip() -> str:
    file = io.BytesIO()
    frames = [Image.new("L", (1500, 1500), number) for number in range(200)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return _data_url("image/gif", file.getvalue())


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64," + base64.b64encode(data).decode()

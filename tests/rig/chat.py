"""Chat requests about scenes, put to a running vedette."""

import base64
import io
import json
from typing import Any

import aiohttp

from tests.rig.processes import Vedette
from vedette.scene import moving_scene, render

CHAT = "/v1/chat/completions"


def scene_jpeg(seed: int, t_seconds: float = 0.0, size: tuple[int, int] = (640, 480)) -> str:
    """A scene as base64 JPEG."""
    buffer = io.BytesIO()
    render(moving_scene(seed, t_seconds), *size).save(buffer, "JPEG", quality=90)
    return base64.b64encode(buffer.getvalue()).decode()


def image_part(seed: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{scene_jpeg(seed)}"}}


def question(*content: dict[str, Any], text: str = "What do you see?", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
    return {"model": "vedette-tiny", "messages": messages, "temperature": 0, "max_tokens": 120, **more}


async def ask(running: Vedette, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.post(running.url + CHAT, json=body) as response:
        return response.status, await response.json()


async def stream(running: Vedette, body: dict[str, Any]) -> list[dict[str, Any]]:
    chunks = []
    body = body | {"stream": True}
    async with aiohttp.ClientSession() as session, session.post(running.url + CHAT, json=body) as response:
        assert response.status == 200
        async for line in response.content:
            if line.startswith(b"data: {"):
                chunks.append(json.loads(line[6:]))
    return chunks

import asyncio
import io
import json

import aiohttp
from PIL import Image

from tests.rig.stand_ins.app_stand_in import Page, Upstream


async def test_preview_is_a_picture_that_nobody_keeps(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}/api/scene.jpg") as answer:
        assert answer.content_type == "image/jpeg"
        assert answer.headers["Cache-Control"] == "no-store"
        assert Image.open(io.BytesIO(await answer.read())).size == (480, 360)


async def test_many_lookers_share_one_drawing(http: aiohttp.ClientSession, url: str) -> None:
    async def look() -> bytes:
        async with http.get(f"{url}/api/scene.jpg") as answer:
            return await answer.read()

    assert len(set(await asyncio.gather(*(look() for _ in range(20))))) < 20


async def test_scene_frame_comes_with_its_truth_and_keeps_to_the_budget(page: Page, upstream: Upstream) -> None:
    await page.start(source="scene", once=True)
    while (message := await page.socket.receive()).type.name == "TEXT":
        assert json.loads(message.data)["type"] == "status"
    number, picture = int.from_bytes(message.data[:4], "big"), message.data[12:]
    begin = await page.next("begin")
    assert begin["id"] == number
    assert " see " in begin["truth"] or begin["truth"] == "The scene is empty."
    width, height = Image.open(io.BytesIO(picture)).size
    assert 0.95 * 320 * 240 <= width * height <= 320 * 240
    done = await page.next("done")
    assert done["frame_to_request_ms"] > 0

"""Where frames come from. Every source answers one question: what is your newest frame, at this size?"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

from vedette.errors import BadInputError, VedetteError
from vedette.serve.live.messages import Ask, FrameMessage
from vedette.sources.pictures import check_picture

SCENE_ASPECT = 4 / 3
SCENE_MAX_PIXELS = 640 * 480
"""The scene gains nothing from more, and drawing it costs time."""

_SCENE_SEED = 1
_PREVIEW_EVERY_S = 0.1


@dataclass(frozen=True)
class Frame:
    """One picture to speak of."""

    id: int
    picture: bytes
    mime: str
    captured: float
    """When it was taken, as `time.monotonic()`."""
    truth: str | None = None
    """What it really shows, where that is known."""


class PageCamera:
    """The camera of one page: asks the page through `send` and takes what the page delivers."""

    def __init__(self, send: Callable[[Ask], Awaitable[None]]) -> None:
        self._send = send
        self._id = 0
        self._max_pixels = 0
        self._asked_at = 0.0
        self._answer: asyncio.Future[Frame | None] | None = None

    async def newest(self, number: int, max_pixels: int, patience_s: float) -> Frame | None:
        """The page's newest frame; None if it has none or does not send it in time. Raises BadInputError."""
        self._id, self._max_pixels = number, max_pixels
        self._answer = asyncio.get_running_loop().create_future()
        self._asked_at = time.monotonic()
        try:
            await self._send(Ask(number, max_pixels))
            return await asyncio.wait_for(self._answer, patience_s)
        except asyncio.TimeoutError:
            return None
        finally:
            self._answer = None

    def deliver(self, message: FrameMessage) -> None:
        """Takes a frame that was asked for; a late one is dropped. Raises BadInputError for one nobody asked for."""
        if message.id > self._id:
            raise BadInputError("A frame came that nobody asked for.", "Reload the page.")
        if message.id < self._id or self._answer is None or self._answer.done():
            return
        try:
            picture = check_picture(message.picture, self._max_pixels)
        except VedetteError as error:
            self._answer.set_exception(error)
            return
        # Of the time between ask and frame, half of what the page did not hold it for was the way here.
        now = time.monotonic()
        way_s = max(0.0, (now - self._asked_at) - message.held_ms / 1000) / 2
        captured = now - way_s - message.age_ms / 1000
        self._answer.set_result(Frame(message.id, message.picture, picture.mime, captured))

    def has_none(self, number: int) -> None:
        """The page says that it has no frame."""
        if number == self._id and self._answer is not None and not self._answer.done():
            self._answer.set_result(None)


class SceneCamera:
    """A moving scene drawn by the server, the same for every page; drawn only when somebody looks."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "scene")
        self._preview = b""
        self._preview_at = 0.0
        self._drawing = asyncio.Lock()

    async def newest(self, number: int, max_pixels: int) -> Frame:
        """The scene of this moment."""
        captured = time.monotonic()
        picture, truth = await self._draw(captured, min(max_pixels, SCENE_MAX_PIXELS), 90)
        return Frame(number, picture, "image/jpeg", captured, truth)

    async def preview(self, max_pixels: int = 480 * 360) -> bytes:
        """A JPEG of the scene now, shared by all who look."""
        async with self._drawing:
            if time.monotonic() - self._preview_at > _PREVIEW_EVERY_S:
                self._preview, _ = await self._draw(time.monotonic(), max_pixels, 80)
                self._preview_at = time.monotonic()
        return self._preview

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _draw(self, moment: float, max_pixels: int, quality: int) -> tuple[bytes, str]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, _draw_scene, moment, max_pixels, quality)


def _draw_scene(moment: float, max_pixels: int, quality: int) -> tuple[bytes, str]:
    """JPEG and truth of the scene at `moment` (s)."""
    from vedette.scene import moving_scene, render  # the drawing library is loaded when first needed

    scene = moving_scene(_SCENE_SEED, moment, SCENE_ASPECT)
    height = int((max_pixels / SCENE_ASPECT) ** 0.5)
    buffer = BytesIO()
    render(scene, int(height * SCENE_ASPECT), height).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue(), scene.describe()

"""A moving scene drawn by vedette: a camera where there is none, with the truth beside every picture."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

from vedette.sources.source import Frame

SCENE_ASPECT = 4 / 3
SCENE_MAX_PIXELS = 640 * 480
"""More pixels show nothing more, and take longer to draw."""

_SCENE_SEED = 1
_FRAME_QUALITY = 90
_PREVIEW_QUALITY = 80
_PREVIEW_MAX_PIXELS = 480 * 360
_PREVIEW_EVERY_S = 0.1


class SceneCamera:
    """Draws the scene for everyone, on one thread, when somebody asks for a picture."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "scene")
        self._preview = b""
        self._preview_at = 0.0
        self._drawing = asyncio.Lock()

    async def take(self, max_pixels: int) -> Frame:
        """The scene of this moment."""
        captured = time.monotonic()
        picture, truth = await self._draw(captured, min(max_pixels, SCENE_MAX_PIXELS), _FRAME_QUALITY)
        return Frame(picture, "image/jpeg", captured, truth)

    async def preview(self) -> bytes:
        """A JPEG of the scene now, shared by all pages."""
        async with self._drawing:
            if time.monotonic() - self._preview_at > _PREVIEW_EVERY_S:
                self._preview, _ = await self._draw(time.monotonic(), _PREVIEW_MAX_PIXELS, _PREVIEW_QUALITY)
                self._preview_at = time.monotonic()
        return self._preview

    def close(self) -> None:
        """End the thread; a picture that is being drawn is finished first."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _draw(self, moment: float, max_pixels: int, quality: int) -> tuple[bytes, str]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, _draw_scene, moment, max_pixels, quality)


class SceneSource:
    """The scene as one user's source."""

    def __init__(self, camera: SceneCamera) -> None:
        self._camera = camera

    async def newest(self, max_pixels: int, deadline: float) -> Frame | None:
        """The scene of this moment; None if drawing it takes until after `deadline`."""
        try:
            return await asyncio.wait_for(self._camera.take(max_pixels), max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            return None

    def close(self) -> None:
        """Do nothing: the camera draws on for others."""


def _draw_scene(moment: float, max_pixels: int, quality: int) -> tuple[bytes, str]:
    """JPEG and truth of the scene at `moment` (s)."""
    from vedette.scene import moving_scene, render  # the drawing library is loaded when first needed

    scene = moving_scene(_SCENE_SEED, moment, SCENE_ASPECT)
    height = int((max_pixels / SCENE_ASPECT) ** 0.5)
    buffer = BytesIO()
    render(scene, int(height * SCENE_ASPECT), height).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue(), scene.describe()

"""What the browser tests show to the page, and how they open it."""

import io
from collections.abc import Callable

from playwright.sync_api import Page

from vedette.scene import render
from vedette.scene.world import Scene

OpenPage = Callable[..., Page]


def jpeg(scene: Scene, width: int = 640, height: int = 480) -> bytes:
    buffer = io.BytesIO()
    render(scene, width, height).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()

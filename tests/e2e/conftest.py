"""Real Chromium in front of a real vedette. Other hosts cannot be reached, and no page may ask for one."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, sync_playwright

from tests.rig.browser import OpenPage, jpeg
from tests.rig.processes import Vedette
from vedette.scene.layout import random_scene
from vedette.scene.world import Scene

CHROMIUM = os.environ.get("VEDETTE_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    # The machine's host name also leads to this machine: browsers trust a page less that is not on localhost.
    f"--host-resolver-rules=MAP {socket.gethostname()} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="package")
def scene() -> Scene:
    """The scene that the camera shows and that is dropped on the page."""
    return random_scene(Random(20), count=3)  # noqa: S311


@pytest.fixture(scope="package")
def camera(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording that the browser uses as its camera."""
    path = tmp_path_factory.mktemp("camera") / "scene.mjpeg"
    path.write_bytes(jpeg(scene) * 20)
    return path


@pytest.fixture(scope="package")
def chromium() -> Iterator[Playwright]:
    assert Path(CHROMIUM).exists(), f"no browser at {CHROMIUM}: `apt-get install chromium`, or set VEDETTE_CHROMIUM"
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def launch(chromium: Playwright, camera: Path) -> Iterator[Callable[[str], Browser]]:
    """Browsers with a camera that shows the scene, with a forbidden camera, and without a camera; each started once."""
    kinds = {
        "camera": [*CAMERA, f"--use-file-for-fake-video-capture={camera}"],
        "forbidden": CAMERA[:1],
        "none": [],
    }
    started: dict[str, Browser] = {}

    def browser(kind: str) -> Browser:
        if kind not in started:
            started[kind] = chromium.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *kinds[kind]])
        return started[kind]

    yield browser
    for one in started.values():
        one.close()


@pytest.fixture
def open_page_of(launch: Callable[[str], Browser]) -> Iterator[OpenPage]:
    """Opens the live page of the vedette on a port once its engine is ready.

    Checks at the end that no page had an error and that no host but vedette was asked.
    """
    asked: set[str] = set()
    faults: list[str] = []

    with ExitStack() as contexts:

        def note(request: Request) -> None:
            if not request.url.startswith(("blob:", "data:")):
                asked.add(urlsplit(request.url).hostname or request.url)

        def record_error(line: ConsoleMessage) -> None:
            # A browser logs every error response; the page itself reports this one.
            if line.type == "error" and "409 (Conflict)" not in line.text:
                faults.append(line.text)

        def open_one(
            port: int, camera: str = "camera", host: str = "127.0.0.1", key: str | None = None, **options: Any
        ) -> Page:
            context = launch(camera).new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.on("request", note)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", record_error)
            page.goto(f"http://{host}:{port}/" + (f"#key={key}" if key else ""))
            page.locator("#pill[data-state=ready]").wait_for()
            return page

        yield open_one
    assert asked <= {"127.0.0.1", socket.gethostname()}
    assert faults == []


@pytest.fixture
def open_page(open_page_of: OpenPage, running_vedette: Vedette) -> OpenPage:
    """Opens the live page of a plain vedette."""
    return partial(open_page_of, running_vedette.port)


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()

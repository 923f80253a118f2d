"""The sources and their registry."""

import asyncio
import io
import time
from dataclasses import dataclass, field

import pytest
from PIL import Image

from tests.rig.stand_ins.app_stand_in import jpeg_of_size
from vedette.errors import BadInputError
from vedette.sources.page import PageSource
from vedette.sources.plain_picture import parse_plain
from vedette.sources.scene import SCENE_MAX_PIXELS, SceneCamera, SceneSource
from vedette.sources.source import Frame, Sources

PIXELS = 320 * 240
JPEG = jpeg_of_size()


@dataclass
class Browser:
    """The page's side: remembers what it was asked for."""

    asked: list[int] = field(default_factory=list)

    async def ask(self, max_pixels: int) -> None:
        self.asked.append(max_pixels)


async def admit(picture: bytes, max_pixels: int) -> bytes:
    """Lets JPEGs pass that are just as large as they may be."""
    plain = parse_plain(picture)
    if plain is None:
        raise BadInputError("serve.picture_of_other_kind", kind="GIF")
    return picture if plain.width * plain.height <= max_pixels else JPEG


async def asked(source: PageSource, patience_s: float = 5.0) -> "asyncio.Task[Frame | None]":
    """A question to the page that is under way."""
    asking = asyncio.ensure_future(source.newest(PIXELS, time.monotonic() + patience_s))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return asking


async def test_a_page_is_asked_and_its_frame_is_dated_by_its_age_and_its_way() -> None:
    browser = Browser()
    source = PageSource(browser.ask, admit)
    began = time.monotonic()
    asking = await asked(source)
    assert browser.asked == [PIXELS]
    await asyncio.sleep(0.05)
    source.deliver(JPEG, held_s=0.0, age_s=3.0)
    frame = await asking
    ended = time.monotonic()
    assert frame is not None
    assert (frame.picture, frame.mime, frame.from_page, frame.truth) == (JPEG, "image/jpeg", True, None)
    assert began + 0.02 - 3.0 <= frame.captured <= ended - 0.02 - 3.0  # the way took half of the 0.05 s
    asking = await asked(source)
    source.deliver(JPEG, held_s=100.0, age_s=1.0)  # a page that says so cannot make its frame newer than it is
    frame = await asking
    assert frame is not None
    assert frame.captured <= time.monotonic() - 1.0


async def test_only_the_first_frame_that_is_asked_for_counts() -> None:
    source = PageSource(Browser().ask, admit)
    source.deliver(JPEG, 0, 0)  # nobody has asked
    source.has_none()
    asking = await asked(source)
    source.deliver(JPEG, 0, 0)
    source.deliver(jpeg_of_size(16, 16), 0, 0)
    source.has_none()
    frame = await asking
    assert frame is not None
    assert frame.picture == JPEG


async def test_a_page_without_a_frame_says_so_and_one_that_says_nothing_is_not_waited_for() -> None:
    source = PageSource(Browser().ask, admit)
    asking = await asked(source)
    source.has_none()
    assert await asking is None
    assert await source.newest(PIXELS, time.monotonic() + 0.01) is None
    assert await source.newest(PIXELS, time.monotonic() - 1) is None
    asking = await asked(source)
    source.close()
    assert await asking is None


async def test_a_page_gets_the_gates_answer_to_what_it_sends() -> None:
    source = PageSource(Browser().ask, admit)
    asking = await asked(source)
    source.deliver(b"GIF89a", 0, 0)
    with pytest.raises(BadInputError):
        await asking
    asking = await asked(source)
    source.deliver(jpeg_of_size(321, 240), 0, 0)
    frame = await asking
    assert frame is not None
    assert frame.picture == JPEG


async def test_the_scene_is_drawn_at_the_size_asked_for_with_its_truth() -> None:
    camera = SceneCamera()
    source = SceneSource(camera)
    for asked_for, most in [(PIXELS, PIXELS), (10**9, SCENE_MAX_PIXELS)]:
        began = time.monotonic()
        frame = await source.newest(asked_for, began + 30)
        assert frame is not None
        assert began <= frame.captured <= time.monotonic()
        assert frame.truth
        assert not frame.from_page
        width, height = Image.open(io.BytesIO(frame.picture)).size
        assert 0.9 * most <= width * height <= most
    assert await source.newest(PIXELS, time.monotonic() - 1) is None
    source.close()
    assert await source.newest(PIXELS, time.monotonic() + 30) is not None  # others draw on
    first, again = await camera.preview(), await camera.preview()
    assert first == again
    camera.close()


def test_sources_are_opened_by_name_and_more_can_be_added() -> None:
    camera = SceneCamera()
    sources = Sources({"scene": lambda: SceneSource(camera)})
    more = sources | {"page": lambda: PageSource(Browser().ask, admit)}
    assert isinstance(more.open("page"), PageSource)
    assert isinstance(more.open("scene"), SceneSource)
    with pytest.raises(BadInputError, match=r"no source named 'page'.*scene"):
        sources.open("page")
    camera.close()

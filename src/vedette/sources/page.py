"""The camera of one page: the browser holds it, scales and encodes, and sends a frame when it is asked for one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vedette.sources.plain_picture import parse_plain
from vedette.sources.source import Frame


@dataclass(frozen=True)
class _Delivered:
    """What a page sent, and when it was taken, as `time.monotonic()`."""

    picture: bytes
    captured: float


class PageSource:
    """Asks a page for frames through `ask(max_pixels)` and takes what the page delivers."""

    def __init__(self, ask: Callable[[int], Awaitable[None]], admit: Callable[[bytes, int], Awaitable[bytes]]) -> None:
        """admit: turns what a page sent into a plain picture of at most so many pixels; raises VedetteError."""
        self._ask = ask
        self._admit = admit
        self._asked_at = 0.0
        self._answer: asyncio.Future[_Delivered | None] | None = None

    async def newest(self, max_pixels: int, deadline: float) -> Frame | None:
        """The page's newest frame; None if the page has none or sends none in time.

        Raises VedetteError if the page sends something that cannot be used as a picture.
        """
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._asked_at = time.monotonic()
        try:
            await self._ask(max_pixels)
            delivered = await asyncio.wait_for(answer, max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            return None
        finally:
            self._answer = None
        if delivered is None:
            return None
        admitted = await self._admit(delivered.picture, max_pixels)
        plain = parse_plain(admitted)
        assert plain is not None  # noqa: S101 - `admit` makes it so
        return Frame(admitted, plain.mime, delivered.captured, from_page=True)

    def deliver(self, picture: bytes, held_s: float, age_s: float) -> None:
        """Take the frame that was asked for; a late or second one is dropped.

        held_s: how long the page held the ask. age_s: how old the frame was when it was sent.
        """
        if self._answer is None or self._answer.done():
            return
        # Half of the time between ask and frame during which the page did not hold the ask was the way here.
        now = time.monotonic()
        way_s = max(0.0, (now - self._asked_at) - held_s) / 2
        self._answer.set_result(_Delivered(picture, now - way_s - age_s))

    def has_none(self) -> None:
        """Note that the page has no frame now."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def close(self) -> None:
        """Stop waiting for the page."""
        self.has_none()

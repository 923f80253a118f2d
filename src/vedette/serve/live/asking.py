"""The questions of one page: frame after frame from its source to the engine, and the answers back.

A frame is taken only once its turn has come, so it is the newest there is and none waits. A source that takes long
would hold a slot meanwhile: it is asked before its turn instead, which costs its own freshness and nobody else's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from vedette.errors import BadInputError
from vedette.measure.metrics import Metrics
from vedette.plan.plan import Context
from vedette.serve.access.accounts import Account
from vedette.serve.admission.picture_gate import PictureGate, PictureLimits, picture_limits
from vedette.serve.backend import Served, ready
from vedette.serve.live.answer import Meter, build_request
from vedette.serve.live.messages import NO_SOURCE, Ask, Begin, ServerMessage, Start, Words
from vedette.serve.queue import Priority, Queue, Ticket
from vedette.serve.route import ByServed
from vedette.sources.page import PageSource
from vedette.sources.source import Frame, FrameSource, Sources

PATIENCE_S = 0.6
"""How long a source may hold a slot before its frame is there."""
_LONG_PATIENCE_S = 10.0
"""How long a slow source has before its turn."""


@dataclass(frozen=True)
class Shared:
    """What all pages share."""

    queue: Queue[Served]
    sources: Sources
    metrics: Metrics
    gate: PictureGate


class Asking:
    """Takes one page's turns: a frame, a request, an answer; `order` is what the page wants now."""

    def __init__(
        self,
        served: Served,
        shared: Shared,
        account: Account,
        send: Callable[[ServerMessage], Awaitable[None]],
        show: Callable[[int, bytes], Awaitable[None]],
    ) -> None:
        """send: a message to the page. show: a frame's number and picture, for the page to display."""
        self.order = Start(NO_SOURCE, "", 1)
        self.number = 0
        """Of the last frame or answer."""
        self.page: PageSource | None = None
        """The page's own camera while it is the source."""
        self._served = served
        self._queue = shared.queue
        self._sources = shared.sources | {"page": self._open_page}
        self._metrics = shared.metrics
        self._gate = shared.gate
        self._account = account
        self._send = send
        self._show = show
        self._source: FrameSource | None = None
        self._source_name = NO_SOURCE
        self._source_is_slow = False

    async def take_turn(self) -> bool:
        """Answer one frame; False when there was no frame. Raises VedetteError."""
        self._account.take()
        order = self.order
        self._use(order.source)
        frame = None
        if self._source_is_slow:
            frame = await self._newest(_LONG_PATIENCE_S)
            if frame is None:
                return False
        async with self._queue.admit(self._ticket(order)):
            if self.order.source != order.source:  # the order may have changed meanwhile
                frame = None
                self._use(self.order.source)
            order = self.order
            if frame is None and self._source is not None:
                frame = await self._newest(PATIENCE_S)
                if frame is None:
                    return False
            await self._answer(order, frame)
        return True

    def close(self) -> None:
        """Close the source."""
        self._use(NO_SOURCE)

    def _ticket(self, order: Start) -> Ticket[Served]:
        return Ticket(ByServed(self._served), Priority.PERSON if order.once else Priority.PAGE, client=self)

    def _use(self, name: str) -> None:
        """Change to a source. Raises BadInputError for one that does not exist."""
        if name == self._source_name:
            return
        if self._source is not None:
            self._source.close()
        self._source, self._source_name, self._source_is_slow, self.page = None, NO_SOURCE, False, None
        if name != NO_SOURCE:
            self._source = self._sources.open(name)
            self._source_name = name

    def _open_page(self) -> PageSource:
        self.page = PageSource(self._ask_page, self._admit)
        return self.page

    async def _ask_page(self, max_pixels: int) -> None:
        await self._send(Ask(self.number, max_pixels))

    async def _admit(self, picture: bytes, max_pixels: int) -> bytes:
        return await self._gate.picture(picture, PictureLimits(max_pixels), client=self)

    async def _newest(self, patience_s: float) -> Frame | None:
        """The source's newest frame, shown to the page; None if it is not there in time."""
        if not self._served.sees:
            raise BadInputError("serve.model_does_not_see")
        assert self._source is not None  # noqa: S101 - only a source is asked
        self.number += 1
        began = time.monotonic()
        frame = await self._source.newest(picture_limits(self._context()).max_pixels, began + patience_s)
        self._source_is_slow = time.monotonic() - began >= PATIENCE_S
        if frame is None:
            self._metrics.frames_missed.inc()
        elif not frame.from_page:
            await self._show(self.number, frame.picture)
        return frame

    def _context(self) -> Context:
        return ready(self._served)[1]

    async def _answer(self, order: Start, frame: Frame | None) -> None:
        """Stream the answer to one frame to the page. Raises what the engine's client raises."""
        client, context = ready(self._served)
        if frame is None:
            self.number += 1
        request = build_request(order, frame, context, self._served.thinks)
        await self._send(Begin(self.number, order.prompt, frame.truth if frame else None))
        meter = Meter(frame)
        outcome = "broken"
        try:
            with self._served.busy():
                async with aclosing(client.stream_chat(request)) as deltas:
                    async for delta in deltas:
                        meter.note(delta)
                        if delta.content or delta.reasoning:
                            await self._send(Words(self.number, delta.content, delta.reasoning))
            await self._send(meter.done(self.number))
            outcome = "complete"
        except asyncio.CancelledError:
            outcome = "stopped"
            raise
        finally:
            self._count(meter, outcome)

    def _count(self, meter: Meter, outcome: str) -> None:
        metrics = self._metrics
        metrics.answers.labels(outcome=outcome).inc()
        if meter.frame_to_request_s is not None:
            metrics.frame_to_request.observe(meter.frame_to_request_s)
        if meter.first_token_s is not None:
            metrics.first_token.observe(meter.first_token_s)
        if outcome == "complete":
            metrics.total.observe(meter.total_s)
        if meter.usage is not None:
            metrics.tokens.labels(kind="prompt").inc(meter.usage.prompt_tokens)
            metrics.tokens.labels(kind="answer").inc(meter.usage.completion_tokens)
            self._account.spend(meter.usage.prompt_tokens, meter.usage.completion_tokens)

"""One page's live session: asks for a frame whenever the engine has a slot for it, and streams the answer back.

Pull, not push: a frame is asked for only once its turn has come, so it is the newest there is and none waits.
A page that takes long to send may not hold a slot meanwhile: it is asked before its turn instead, at the cost of
its own freshness and nobody else's.
"""

import asyncio
import logging
import time
from contextlib import aclosing, suppress

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from vedette.errors import BadInputError, EngineUnavailableError, VedetteError
from vedette.measure.metrics import Metrics
from vedette.serve.backend import Served, ready
from vedette.serve.live.answer import Meter, build_request
from vedette.serve.live.messages import (
    Begin,
    Fault,
    Limits,
    NoFrame,
    ServerMessage,
    Start,
    Status,
    Stop,
    Stopped,
    Words,
    decode_frame,
    decode_text,
    encode,
    encode_frame,
)
from vedette.serve.turns import Turns
from vedette.sources.cameras import Frame, PageCamera, SceneCamera

log = logging.getLogger(__name__)

MAX_FRAME_PIXELS = 2048 * 2048
"""What a page is asked for at most, whatever the plan would bear: more takes longer to send than to look at."""

PATIENCE_S = 0.6
"""How long a page may hold a slot before its frame is there."""
_LONG_PATIENCE_S = 10.0
_PAUSE_S = 0.5
"""Before asking again a page that had no frame; before asking again an engine that failed, doubled each time."""
_LONGEST_PAUSE_S = 10.0
_MESSAGES_PER_S = 50.0
_MESSAGES_AT_ONCE = 100.0


class Session:
    """Serves one page's socket."""

    def __init__(
        self, served: Served, turns: Turns, scene: SceneCamera, metrics: Metrics, socket: web.WebSocketResponse
    ) -> None:
        self._served = served
        self._turns = turns
        self._scene = scene
        self._metrics = metrics
        self._socket = socket
        self._camera = PageCamera(self._send)
        self._engine_ready = asyncio.Event()
        self._wish = Start("none", "", 1)
        self._asking: asyncio.Task[None] | None = None
        self._number = 0
        self._page_is_slow = False
        self._allowance = _MESSAGES_AT_ONCE
        self._allowance_at = time.monotonic()

    async def serve(self) -> None:
        """Obeys the page until its socket closes."""
        reporting = asyncio.create_task(self._report())
        try:
            async for message in self._socket:
                if not self._allowed():
                    await self._tell(BadInputError("The page sends too many messages.", "Reload the page."))
                    await self._socket.close(code=WSCloseCode.POLICY_VIOLATION)
                    break
                await self._receive(message)
        finally:
            await _end(reporting)
            await self._halt()

    async def _report(self) -> None:
        async for status in self._served.watch():
            context = self._served.context
            limits = Limits(context.answer_tokens, frame_pixels(context.image_max_pixels)) if context else None
            await self._send(Status(status, time.time(), self._served.thinks, self._served.sees, limits))
            if self._served.client is not None and context is not None:
                self._engine_ready.set()
            else:
                self._engine_ready.clear()

    async def _receive(self, message: WSMessage) -> None:
        try:
            if message.type is WSMsgType.BINARY:
                self._camera.deliver(decode_frame(message.data))
            elif message.type is WSMsgType.TEXT:
                await self._obey(decode_text(message.data))
        except VedetteError as error:
            await self._tell(error)

    async def _obey(self, order: Start | Stop | NoFrame) -> None:
        if isinstance(order, NoFrame):
            self._camera.has_none(order.id)
        elif isinstance(order, Stop):
            await self._halt()
            await self._send(Stopped())
        else:
            self._wish = order
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_on())

    async def _halt(self) -> None:
        if self._asking is not None:
            await _end(self._asking)

    async def _ask_on(self) -> None:
        """Frame after frame until stopped, or until a fault that asking again would only repeat."""
        pause_s = _PAUSE_S
        try:
            while True:
                await self._engine_ready.wait()
                try:
                    answered = await self._take_turn()
                    pause_s = _PAUSE_S
                except EngineUnavailableError as error:
                    await self._tell(error, self._number)
                    answered = False
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                if not answered:
                    await asyncio.sleep(pause_s)
                elif self._wish.once:
                    break
        except VedetteError as error:
            await self._tell(error, self._number)
        except ConnectionError:
            return  # the page is gone
        except Exception:
            log.exception("Fault in vedette in a live session")
            await self._tell(VedetteError("vedette met a fault of its own.", "Its log has the details."))
        await self._send(Stopped())

    async def _take_turn(self) -> bool:
        """One frame and its answer; False when there was no frame."""
        source = self._wish.source
        frame = None
        if source == "page" and self._page_is_slow:
            frame = await self._ask_page(_LONG_PATIENCE_S)
            if frame is None:
                return False
        async with self._turns.take():
            wish = self._wish  # it may have changed while waiting
            if wish.source != source:
                frame = None
            if frame is None and wish.source != "none":
                frame = await self._newest(wish)
                if frame is None:
                    return False
            await self._answer(wish, frame)
        return True

    async def _newest(self, wish: Start) -> Frame | None:
        if not self._served.sees:
            raise BadInputError("This model cannot see.", "Ask it without a picture, or start one that sees.")
        if wish.source == "page":
            return await self._ask_page(PATIENCE_S)
        self._number += 1
        frame = await self._scene.newest(self._number, self._pixels())
        await self._socket.send_bytes(encode_frame(frame.id, frame.picture))
        return frame

    async def _ask_page(self, patience_s: float) -> Frame | None:
        self._number += 1
        began = time.monotonic()
        frame = await self._camera.newest(self._number, self._pixels(), patience_s)
        self._page_is_slow = time.monotonic() - began >= PATIENCE_S
        if frame is None:
            self._metrics.frames_missed.inc()
        return frame

    def _pixels(self) -> int:
        _, context = ready(self._served)
        return frame_pixels(context.image_max_pixels)

    async def _answer(self, wish: Start, frame: Frame | None) -> None:
        """Streams the answer to one frame to the page. Raises as the engine client does."""
        client, context = ready(self._served)
        if frame is None:
            self._number += 1
        request = build_request(wish, frame, context, self._served.thinks)
        await self._send(Begin(self._number, wish.prompt, frame.truth if frame else None))
        meter = Meter(frame)
        outcome = "broken"
        try:
            with self._served.busy():
                async with aclosing(client.stream_chat(request)) as deltas:
                    async for delta in deltas:
                        meter.note(delta)
                        if delta.content or delta.reasoning:
                            await self._send(Words(self._number, delta.content, delta.reasoning))
            await self._send(meter.done(self._number))
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

    async def _send(self, message: ServerMessage) -> None:
        await self._socket.send_str(encode(message))

    async def _tell(self, error: VedetteError, number: int | None = None) -> None:
        await self._send(Fault(error.code, error.sentence, error.hint, number))

    def _allowed(self) -> bool:
        """Whether the page keeps to a bounded rate of messages; a burst is fine."""
        now = time.monotonic()
        self._allowance += (now - self._allowance_at) * _MESSAGES_PER_S
        self._allowance = min(self._allowance, _MESSAGES_AT_ONCE) - 1
        self._allowance_at = now
        return self._allowance >= 0


def frame_pixels(image_max_pixels: int | None) -> int:
    return min(image_max_pixels or MAX_FRAME_PIXELS, MAX_FRAME_PIXELS)


async def _end(task: "asyncio.Task[None]") -> None:
    """Cancels a task and waits until it is gone; an error that it ended with is raised here."""
    task.cancel()
    with suppress(asyncio.CancelledError, ConnectionError):
        await task

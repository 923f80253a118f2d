"""One page's live session: obeys the page, reports the engine's status, and asks question after question."""

import asyncio
import logging
import time
from contextlib import suppress

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from vedette.errors import (
    BadInputError,
    EngineUnavailableError,
    FaultError,
    ForbiddenError,
    TooManyRequestsError,
    UnauthorizedError,
    VedetteError,
)
from vedette.events import model_status_json
from vedette.serve.access.accounts import Account
from vedette.serve.access.principal import Role
from vedette.serve.access.redaction import public_status, without_places
from vedette.serve.admission.picture_gate import picture_limits
from vedette.serve.backend import Served
from vedette.serve.documents import MessageDocument
from vedette.serve.live.asking import Asking, Shared
from vedette.serve.live.messages import (
    ClientMessage,
    Fault,
    FrameMessage,
    Limits,
    NoFrame,
    ServerMessage,
    Status,
    Stop,
    Stopped,
    decode_frame,
    decode_text,
    encode,
    encode_frame,
)
from vedette.serve.live.rate_limit import RateLimit
from vedette.tasks import cancel, running

log = logging.getLogger(__name__)

_PAUSE_S = 0.5
"""Before the next turn of a source that had no frame; before the next of an engine that failed, doubled each time."""
_LONGEST_PAUSE_S = 10.0
_MESSAGES_PER_S = 50.0
_MESSAGES_AT_ONCE = 100.0


class Session:
    """Serves one page's socket."""

    def __init__(self, served: Served, shared: Shared, socket: web.WebSocketResponse, account: Account) -> None:
        self._served = served
        self._socket = socket
        self._account = account
        self._principal = account.principal
        self._asking = Asking(served, shared, account, self._send, self._show)
        self._engine_ready = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self.heard_at = time.monotonic()
        """When the page last sent something or got an answer, in seconds of the monotonic clock."""
        self._rate = RateLimit(_MESSAGES_PER_S, _MESSAGES_AT_ONCE)

    async def serve(self) -> None:
        """Obey the page until its socket closes."""
        try:
            async with running(self._report()):
                async for message in self._socket:
                    self.heard_at = time.monotonic()
                    if not self._rate.use():
                        await self._send_error(BadInputError("serve.too_many_messages"))
                        await self._socket.close(code=WSCloseCode.POLICY_VIOLATION)
                        break
                    await self._receive(message)
        finally:
            await self._stop()
            self._asking.close()

    async def refuse(self, error: VedetteError) -> None:
        """Send the page the reason why it cannot stay, and close its socket."""
        with suppress(ConnectionError):
            await self._send_error(error)
            await self.close(WSCloseCode.TRY_AGAIN_LATER)

    async def close(self, code: WSCloseCode, message: bytes = b"") -> None:
        """Close the page's socket."""
        await self._socket.close(code=code, message=message)

    async def _report(self) -> None:
        async for _ in self._served.watch():
            try:
                self._account.check()
            except UnauthorizedError as error:
                await self._send_error(error)
                await self.close(WSCloseCode.POLICY_VIOLATION)
                return
            context = self._served.context
            limits = Limits(context.answer_tokens, picture_limits(context).max_pixels) if context else None
            status = model_status_json(self._served.status)
            if self._principal.role is not Role.OWNER:
                status = public_status(status)
            await self._send(Status(status, time.time(), self._served.thinks, self._served.sees, limits))
            if self._served.client is not None and context is not None:
                self._engine_ready.set()
            else:
                self._engine_ready.clear()

    async def _receive(self, message: WSMessage) -> None:
        try:
            if message.type is WSMsgType.BINARY:
                self._deliver(decode_frame(message.data))
            elif message.type is WSMsgType.TEXT:
                await self._obey(decode_text(message.data))
        except VedetteError as error:
            await self._send_error(error)

    def _deliver(self, frame: FrameMessage) -> None:
        """Take a frame that was asked for; a late one is dropped. Raises BadInputError for any other."""
        if frame.id > self._asking.number:
            raise BadInputError("serve.frame_not_asked_for")
        if frame.id == self._asking.number and self._asking.page is not None:
            self._asking.page.deliver(frame.picture, frame.held_s, frame.age_s)

    async def _obey(self, order: ClientMessage) -> None:
        if isinstance(order, NoFrame):
            if order.id == self._asking.number and self._asking.page is not None:
                self._asking.page.has_none()
        elif isinstance(order, Stop):
            await self._stop()
            await self._send(Stopped())
        else:
            if self._principal.role < Role.USE:
                raise ForbiddenError("access.role_too_low", role=self._principal.role.name.lower(), needed="use")
            self._asking.order = order
            if self._loop is None or self._loop.done():
                self._loop = asyncio.create_task(self._ask_on())

    async def _stop(self) -> None:
        if self._loop is not None:
            await cancel(self._loop)

    async def _ask_on(self) -> None:
        """Take turn after turn until stopped, or until an error that the next turn would only repeat."""
        try:
            await self._take_turns()
        except UnauthorizedError as error:  # its key was revoked: the page has to show another
            await self._send_error(error, self._asking.number)
            await self.close(WSCloseCode.POLICY_VIOLATION)
            return
        except VedetteError as error:
            await self._send_error(error, self._asking.number)
        except ConnectionError:
            return  # the page has closed its socket
        except Exception:
            log.exception("Fault in vedette in a live session")
            await self._send_error(FaultError("serve.fault"))
        await self._send(Stopped())

    async def _take_turns(self) -> None:
        pause_s = _PAUSE_S
        while True:
            await self._engine_ready.wait()
            try:
                answered = await self._asking.take_turn()
                if answered:
                    self.heard_at = time.monotonic()
                pause_s = _PAUSE_S
            except (EngineUnavailableError, TooManyRequestsError) as error:
                await self._send_error(error, self._asking.number)
                answered = False
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            if not answered:
                await asyncio.sleep(pause_s)
            elif self._asking.order.once:
                return

    async def _send(self, message: ServerMessage) -> None:
        await self._socket.send_str(encode(message))

    async def _show(self, number: int, picture: bytes) -> None:
        await self._socket.send_bytes(encode_frame(number, picture))

    async def _send_error(self, error: VedetteError, number: int | None = None) -> None:
        shown = error.as_json() if self._principal.role is Role.OWNER else without_places(error.as_json())
        message = MessageDocument(**shown["message"])
        await self._send(Fault(error.code, shown["sentence"], shown["hint"], message, number))

"""One engine from launch to end: when it is ready, its client, and why it ended."""

import asyncio
import base64
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import psutil

from vedette.engine.client import EngineClient
from vedette.engine.process.process import LOG_BYTES, EngineProcess
from vedette.engine.process.process_command import SOCKET, Command
from vedette.engine.process.standby import Standby, start
from vedette.engine.process.vital_signs import Watched
from vedette.engine.process.watchdog import Signs, TrafficWatch, wait_until_stuck
from vedette.engine.state import Life, Phase
from vedette.engine.vllm.causes import SILENT, STUCK, find_cause
from vedette.engine.vllm.log import parse_line, reports_core_death, reports_core_ready, with_line
from vedette.errors import Cause, EngineDiedError, EngineFailedError, VedetteError
from vedette.language.message import Message
from vedette.plan.calibration import Reported
from vedette.plan.deadlines import Patience, StartLimits
from vedette.plan.plan import Context
from vedette.tasks import first_of

STOP_GRACE_S = 4.0
"""How long an engine may take to end by itself. With the kill after that, `vedette down` stays under 10 s."""

_POLL_S = 0.25
_SHORTEST_S = 0.01
"""Tokens that come faster than this came together after a wait, so they say nothing about the speed."""


class Engine:
    """An engine process with its client. `start` once, `stop` once."""

    def __init__(self, process: EngineProcess, client: EngineClient, life: Life) -> None:
        self.client = client
        self.pid = process.pid
        self.reported = Reported()
        """Figures of its log so far."""
        self.decode_tokens_per_s: float | None = None
        """Speed of the first answer; None before it, or if it was too short to tell."""
        self._launched_at = self._heard_at = time.monotonic()
        self._core_ready_at: float | None = None
        self._process = process
        self._life = life
        self._ended = asyncio.create_task(process.listen(self._read))

    @classmethod
    async def launch(
        cls,
        command: Command,
        log_path: Path,
        client: EngineClient,
        life: Life,
        standby: Standby | None = None,
        log_bytes: int = LOG_BYTES,
    ) -> "Engine":
        """Starts the process, or lets the standby become it; `wait_until_ready` returns when it can be used.

        The standby is used up: it takes over if it is ready and fits the command, and is ended if not.
        """
        (command.workplace / SOCKET).unlink(missing_ok=True)  # of the engine before: a socket is bound only once
        process = await start(command, standby)
        return cls(await EngineProcess.launch(command, log_path, process, log_bytes), client, life)

    async def wait_until_ready(self, context: Context, limits: StartLimits | None = None) -> None:
        """Returns once the engine has answered a real request, with a real picture if the model sees.

        Raises EngineFailedError when the engine ends before that, cannot answer, or takes longer than the limits.
        """
        limits = limits or StartLimits()
        too_late = self._raise_when_too_late(limits)
        await first_of(self._wait_until_healthy(limits.silence_s), self._raise_at_end(), too_late)
        self._life.progress(Phase.WARMING)
        too_late = self._raise_when_too_late(limits)
        try:
            self.decode_tokens_per_s = await first_of(_ask_once(self.client, context), self._raise_at_end(), too_late)
        except EngineFailedError:
            raise
        except VedetteError as error:
            raise EngineFailedError("engine.no_answer", error=error.message, hint=error.hint) from error

    async def wait_until_dead(
        self, patience: Patience | None = None, find: Callable[[], Sequence[psutil.Process]] = tuple
    ) -> Cause:
        """Why the engine ended, once it has ended, or that it is stuck. find: looks for the engine's processes."""
        watched, traffic = Watched(find, self.pid), TrafficWatch(self.client)
        stuck = wait_until_stuck(lambda: self._read_signs(traffic, watched), patience or Patience())
        death = await first_of(asyncio.shield(self._ended), stuck)
        return STUCK if death is None else find_cause(death)

    async def stop(self) -> None:
        """Ends the engine and everything it started."""
        await self.client.close()
        await self._process.stop(STOP_GRACE_S)
        await self._ended

    def _read(self, line: str) -> None:
        self._heard_at = time.monotonic()
        self.reported = with_line(self.reported, line)
        if reports_core_ready(line):
            self._core_ready_at = time.monotonic()
        if reports_core_death(line):
            self._process.stop_server()
        fact = parse_line(line)
        if fact is not None:
            self._life.progress(fact.phase, fact.detail, fact.done, fact.total)

    async def _wait_until_healthy(self, silence_s: float) -> None:
        while not await self.client.is_healthy():
            if time.monotonic() - self._heard_at > silence_s:
                raise EngineDiedError(SILENT)
            await asyncio.sleep(_POLL_S)

    async def _raise_when_too_late(self, limits: StartLimits) -> NoReturn:
        """Raises EngineDiedError once the start has taken too long."""
        while True:
            now = time.monotonic()
            if self._core_ready_at is not None and now - self._core_ready_at > limits.opening_s:
                raise EngineDiedError(Cause("too_slow", Message("engine.never_opened", limit_s=limits.opening_s)))
            if now - self._launched_at > limits.whole_s:
                raise EngineDiedError(Cause("too_slow", Message("engine.start_too_slow", limit_s=limits.whole_s)))
            await asyncio.sleep(_POLL_S)

    async def _read_signs(self, traffic: TrafficWatch, watched: Watched) -> Signs:
        """What the engine and its processes show of their work."""
        signs, vital = await traffic.read(), await asyncio.to_thread(watched.look)
        return replace(signs, computes=vital.computes, is_stopped=vital.is_stopped)

    async def _raise_at_end(self) -> NoReturn:
        raise EngineDiedError(find_cause(await asyncio.shield(self._ended)))


async def _ask_once(client: EngineClient, context: Context) -> float | None:
    """The tokens/s of the answer to a real question, after its first token; None if it is too short to tell."""
    content: list[dict[str, object]] = [{"type": "text", "text": "What do you see?"}]
    if context.image_max_pixels is not None:
        picture = await asyncio.to_thread(sample_picture, context.image_max_pixels)
        content.insert(0, {"type": "image_url", "image_url": {"url": picture}})
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": min(8, context.answer_tokens)}
    tokens = 0
    times: list[float] = []
    async for delta in client.stream_chat(body):
        if delta.usage is not None:
            tokens = delta.usage.completion_tokens
        elif delta.content or delta.reasoning:
            times.append(time.monotonic())
    if tokens == 0:
        raise EngineFailedError("engine.empty_answer")
    if len(times) < max(3, tokens - 1) or times[-1] - times[0] < _SHORTEST_S:  # the last token has no text
        return None
    return (len(times) - 1) / (times[-1] - times[0])


def sample_picture(max_pixels: int) -> str:
    """A data URL of a picture that uses the whole pixel budget, as the largest real one will.

    Its PNG is made here: a library for pictures would stay in memory for this one.
    """
    height = max(1, int((max_pixels * 3 / 4) ** 0.5))
    width = max(1, max_pixels // height)
    rows = b"".join(b"\0" + bytes([255 * row // height]) * (3 * width) for row in range(height))  # from black to white
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits each of red, green and blue
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in chunks)
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

"""One engine from launch to end: when it is ready, its client, and why it ended."""

import asyncio
import base64
import struct
import time
import zlib
from pathlib import Path
from typing import NoReturn

from vedette.engine.client import SILENCE_TIMEOUT_S, EngineClient
from vedette.engine.process.process import LOG_BYTES, EngineProcess
from vedette.engine.process.process_command import SOCKET, Command
from vedette.engine.process.standby import Standby, start
from vedette.engine.process.watchdog import wait_until_stuck
from vedette.engine.state import Life, Phase
from vedette.engine.vllm.causes import SILENT, STUCK, find_cause
from vedette.engine.vllm.log import parse_line, reports_core_death, with_line
from vedette.errors import Cause, EngineDiedError, EngineFailedError, VedetteError
from vedette.plan.calibration import Reported
from vedette.plan.plan import Context
from vedette.tasks import first_of

STOP_GRACE_S = 4.0
"""How long an engine may take to end by itself. With the kill after that, `vedette down` stays under 10 s."""

START_SILENCE_S = 900.0
"""How long an engine may print nothing while it starts: it may read weights from a slow card or compile kernels. With
too little memory it may read its own code from the disk again and again for hours, and nothing kills it."""

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
        self._heard_at = time.monotonic()
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

    async def wait_until_ready(self, context: Context, silence_s: float = START_SILENCE_S) -> None:
        """Returns once the engine has answered a real request, with a real picture if the model sees.

        Raises EngineFailedError when the engine ends before that, cannot answer, or prints nothing for `silence_s`
        seconds while it starts.
        """
        await first_of(self._wait_until_healthy(silence_s), self._raise_at_end())
        self._life.progress(Phase.WARMING)
        try:
            self.decode_tokens_per_s = await first_of(_ask_once(self.client, context), self._raise_at_end())
        except EngineFailedError:
            raise
        except VedetteError as error:
            raise EngineFailedError("engine.no_answer", error=error.message, hint=error.hint) from error

    async def wait_until_dead(self, stuck_after_s: float = SILENCE_TIMEOUT_S) -> Cause:
        """Why the engine ended, once it has ended, or that it is stuck."""
        stuck = wait_until_stuck(self.client.read_metrics, stuck_after_s)
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

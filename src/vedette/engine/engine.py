"""One engine from launch to end: when it is ready, how one speaks to it, and why it died."""

import asyncio
import base64
import io
import socket
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from PIL import Image

from vedette.engine.client import SILENCE_TIMEOUT_S, EngineClient
from vedette.engine.process.process import Command, EngineProcess
from vedette.engine.process.standby import Standby, start
from vedette.engine.process.watchdog import wait_until_stuck
from vedette.engine.state import Life, Phase
from vedette.engine.vllm.causes import SILENT, STUCK, find_cause
from vedette.engine.vllm.log import parse_line, reports_core_death, with_line
from vedette.errors import Cause, EngineDiedError, EngineFailedError, VedetteError
from vedette.plan.calibration import Reported
from vedette.plan.plan import Context

_T = TypeVar("_T")

STOP_GRACE_S = 4.0
"""How long an engine may take to end by itself; with the kill after it `down` stays under 10 s."""

START_SILENCE_S = 900.0
"""How long an engine may say nothing while it starts: weights from a slow card, or kernels that are compiled. With too
little memory it may read its own code from the disk again and again for hours, and nobody kills it."""

_POLL_S = 0.25
_SHORTEST_S = 0.01
"""Words that come faster than this came together, after a wait: they tell nothing of the speed."""


class Engine:
    """An engine process with its client. `start` once, `stop` once."""

    def __init__(self, process: EngineProcess, client: EngineClient, life: Life) -> None:
        self.client = client
        self.pid = process.pid
        self.reported = Reported()
        """What it has said of itself so far."""
        self.decode_tokens_per_s: float | None = None
        """Speed of the first answer; None before it, or if it was too short to tell."""
        self._heard_at = time.monotonic()
        self._process = process
        self._life = life
        self._ended = asyncio.create_task(process.listen(self._read))

    @classmethod
    async def launch(
        cls, command: Command, log_path: Path, client: EngineClient, life: Life, standby: Standby | None = None
    ) -> "Engine":
        """Starts the process, or makes the standby it; `wait_until_ready` says when it can be used.

        A standby is used up by this: taken over if it is ready and fits the command, else ended.
        """
        process = await start(command, standby)
        return cls(await EngineProcess.launch(command, log_path, process), client, life)

    async def wait_until_ready(self, context: Context, silence_s: float = START_SILENCE_S) -> None:
        """Returns when a real request, with a real picture if the model sees, has been answered.

        Raises EngineFailedError when the engine ends before that, cannot answer, or says nothing for `silence_s`
        seconds while it starts.
        """
        await self._unless_ended(self._wait_until_healthy(silence_s))
        self._life.progress(Phase.WARMING)
        try:
            self.decode_tokens_per_s = await self._unless_ended(_ask_once(self.client, context))
        except EngineFailedError:
            raise
        except VedetteError as error:
            raise EngineFailedError(f"The engine started but does not answer. {error.sentence}", error.hint) from error

    async def wait_until_dead(self, stuck_after_s: float = SILENCE_TIMEOUT_S) -> Cause:
        """Why the engine ended, once it has, or that it is stuck, which is no better."""
        stuck = asyncio.ensure_future(wait_until_stuck(self.client.read_metrics, stuck_after_s))
        try:
            await asyncio.wait({stuck, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            return find_cause(self._ended.result()) if self._ended.done() else STUCK
        finally:
            stuck.cancel()
            await asyncio.wait({stuck})  # awaited itself, it would swallow a cancellation that comes just now

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

    async def _unless_ended(self, work: Awaitable[_T]) -> _T:
        """The result of `work`, or EngineFailedError as soon as the engine ends."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                raise EngineDiedError(find_cause(self._ended.result()))
            return await task
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # which the engine's end explains better


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _ask_once(client: EngineClient, context: Context) -> float | None:
    """Asks a real question and returns how many tokens/s the answer came with after its first token."""
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
        raise EngineFailedError("The engine answered a test request with nothing.", "See `vedette logs`.")
    if len(times) < max(3, tokens - 1) or times[-1] - times[0] < _SHORTEST_S:  # the last token has no text
        return None
    return (len(times) - 1) / (times[-1] - times[0])


def sample_picture(max_pixels: int) -> str:
    """A data URL of a picture that uses the whole pixel budget, so that the first real one holds no surprise."""
    height = int((max_pixels * 3 / 4) ** 0.5)
    picture = Image.linear_gradient("L").resize((max(1, max_pixels // height), height)).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

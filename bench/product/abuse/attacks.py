"""The attacks on a vedette with a real engine: pictures, requests, files that a client names, and a stuck engine."""

import asyncio
import base64
import gzip
import json
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.product.abuse import payloads
from bench.product.abuse.target import Target, ask
from tests.rig.leftovers import engine_processes

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Attack:
    """An attack on a vedette with an engine."""

    name: str
    run: Callable[[Target], str]
    """Returns what the attacker got."""
    bystander: Callable[[Target], float | None] = ask


def counted(results: Iterable[str]) -> str:
    """`200 × 3, 400`."""
    return ", ".join(f"{what} × {count}" if count > 1 else what for what, count in Counter(results).most_common())


def chat(body: bytes, times: int = 1, at_once: int = 12) -> Callable[[Target], str]:
    """Send a chat request so many times."""

    def run(target: Target) -> str:
        with ThreadPoolExecutor(min(times, at_once)) as pool:
            return counted(pool.map(lambda _: target.post(CHAT, body), range(times)))

    return run


def post(path: str, body: bytes, times: int = 1, encoding: str | None = None) -> Callable[[Target], str]:
    """Send a request so many times, one after the other."""

    def run(target: Target) -> str:
        return counted(target.post(path, body, encoding=encoding) for _ in range(times))

    return run


def live_frame(picture: bytes) -> Callable[[Target], str]:
    """Give a picture to the live socket when it asks for a frame."""

    async def speak(target: Target) -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{target.url}/api/live", max_msg_size=0) as socket,
        ):
            start = {"type": "start", "source": "page", "prompt": "What?", "max_tokens": 8, "once": True}
            await socket.send_str(json.dumps(start))
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                said = json.loads(message.data)
                if said["type"] == "ask":
                    await socket.send_bytes(struct.pack(">III", said["id"], 0, 0) + picture)
                elif said["type"] in ("done", "error"):
                    return "answered" if said["type"] == "done" else f"refused ({said['code']})"
        return "closed"

    def run(target: Target) -> str:
        return asyncio.run(asyncio.wait_for(speak(target), 60))

    return run


def responses_with(picture: bytes) -> bytes:
    content = [{"type": "input_image", "image_url": payloads.url_of(picture, "image/png")}]
    return json.dumps({"model": payloads.MODEL, "input": [{"role": "user", "content": content}]}).encode()


def anthropic_with(picture: bytes) -> bytes:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(picture).decode()}
    messages = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    return json.dumps({"model": payloads.MODEL, "max_tokens": 8, "messages": messages}).encode()


def stop_the_core(target: Target) -> str:
    """Stop the engine's core as a driver that hangs does, while a client waits for its answer."""
    core = next(each for each in engine_processes(target.tree.home) if each.name().startswith("VLLM::EngineCor"))
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        core.send_signal(signal.SIGSTOP)
        in_flight = pool.submit(target.post, CHAT, payloads.chat(max_tokens=64))
        noticed = None
        while noticed is None and time.monotonic() - began < 90:
            if target.get("/healthz") != "200":
                noticed = time.monotonic() - began
            time.sleep(0.2)
        answer = in_flight.result()
        ended = f"the request in flight got {answer} after {time.monotonic() - began:.0f} s"
    return (
        f"health shows it after {noticed:.0f} s; {ended}" if noticed is not None else f"health never shows it; {ended}"
    )


def swap_to(directory: Callable[[Path], Path], *, as_owner: bool) -> Callable[[Target], str]:
    """Order a swap to a directory, as any local user can, or with the owner's key where the tree has one."""

    def run(target: Target) -> str:
        body = json.dumps({"model": str(directory(target.tree.home / "attack"))}).encode()
        key = target.tree.home / "access" / "owner.key"
        return target.post("/api/swap", body, key=key.read_text().strip() if as_owner and key.exists() else None)

    return run


def ask_patiently(target: Target) -> float | None:
    """As `ask`, for as long as an engine may take to start again."""
    return ask(target, 240)


def flood_of_one_kind(target: Target) -> str:
    """The worst of each kind at once."""
    bodies = [
        payloads.with_picture(payloads.grey_png(13_000, 13_000)),
        payloads.with_picture(payloads.grey_png(170_000, 1000)),
        payloads.with_clip(payloads.large_gif()),
        payloads.with_picture(payloads.photo(), "image/jpeg"),
        payloads.chat(n=2000, max_tokens=50, temperature=1),
        payloads.chat(logprobs=True, top_logprobs=20, n=64, max_tokens=200, temperature=1),
        payloads.large_schema(),
        payloads.nested(1000),
    ]
    with ThreadPoolExecutor(len(bodies)) as pool:
        return counted(pool.map(lambda body: target.post(CHAT, body, within_s=90), bodies))


HEAVY = [
    Attack("PNG of 13000 × 13000", chat(payloads.with_picture(payloads.grey_png(13_000, 13_000)))),
    Attack("PNG of 9400 × 9400", chat(payloads.with_picture(payloads.grey_png(9400, 9400)))),
    Attack("PNG of 170000 × 1000", chat(payloads.with_picture(payloads.grey_png(170_000, 1000)))),
    Attack("animated GIF as a clip", chat(payloads.with_clip(payloads.large_gif()))),
    Attack("photo of 48 megapixels", chat(payloads.with_picture(payloads.photo(), "image/jpeg"))),
    Attack("twelve such photos at once", chat(payloads.with_picture(payloads.photo(), "image/jpeg"), 12)),
    Attack("the PNG to /v1/responses", post("/v1/responses", responses_with(payloads.grey_png(13_000, 13_000)))),
    Attack("the PNG to /v1/messages", post("/v1/messages", anthropic_with(payloads.grey_png(13_000, 13_000)))),
    Attack("PNG with two headers, live", live_frame(payloads.twice_headed_png())),
    Attack("the worst of each kind at once", flood_of_one_kind),
]
LIGHT = [
    Attack("n = 2000", chat(payloads.chat(n=2000, max_tokens=50, temperature=1))),
    Attack(
        "64 × 20 log-probabilities",
        chat(payloads.chat(logprobs=True, top_logprobs=20, n=64, max_tokens=500, temperature=1)),
    ),
    Attack("schema of 10,000 patterns", chat(payloads.large_schema())),
    Attack("schema that refers to itself", chat(payloads.loop_of_references())),
    Attack("JSON nested 1,000 deep, 100 times", chat(payloads.nested(1000), 100, 1)),
    Attack("JSON nested 100,000 deep", chat(payloads.nested(100_000))),
    Attack("junk under gzip, 100 times", post(CHAT, b"junk" * 100, 100, encoding="gzip")),
    Attack("32 MB in 32 kB of gzip", post(CHAT, payloads.gzip_bomb(), encoding="gzip")),
    Attack("gzip of gzip", post(CHAT, gzip.compress(payloads.gzip_bomb()), encoding="gzip, gzip")),
    Attack("messages [[]]", chat(b'{"model": "%s", "messages": [[]]}' % payloads.MODEL.encode())),
    Attack(
        "picture from file:///etc/passwd",
        chat(payloads.chat({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}})),
    ),
    Attack("not a picture", chat(payloads.with_picture(b"<svg onload=alert(1)>", "image/svg+xml"))),
]
"""Attacks after which the same engine is used again if it still answers."""

"""Asks a running `vllm serve` on this machine: whether it is ready, a prompt of a given length, a picture."""

import base64
import contextlib
import io
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from PIL import Image

NAME = "bench"
FIRST_TOKEN, LAST_TOKEN = 300, 555
"""Every shape's tokenizer has its byte tokens here."""


class FailedRequest(Exception):
    """The server answered with an error, or not at all."""


def wait_ready(port: int, alive: Callable[[], bool], seconds: float) -> float | None:
    """Seconds until the server is healthy; None if it ended or took longer than `seconds`."""
    began = time.monotonic()
    while time.monotonic() - began < seconds and alive():
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return time.monotonic() - began
        time.sleep(0.05)
    return None


def ask(port: int, path: str, body: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The answer to one request. Raises FailedRequest with what the server said."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        raise FailedRequest(f"{error.code}: {error.read()[:300].decode(errors='replace')}") from error
    except OSError as error:
        raise FailedRequest(f"{type(error).__name__}: {error}") from error


def prompt_tokens(count: int) -> list[int]:
    """A prompt of `count` tokens that no cache has seen."""
    return random.choices(range(FIRST_TOKEN, LAST_TOKEN + 1), k=count)


def full_request(port: int, max_model_len: int, seconds: float) -> dict[str, Any]:
    """A prompt and an answer that fill the context together; returns the server's own count (`usage`)."""
    answer = min(16, max_model_len // 2)
    body = {
        "model": NAME,
        "prompt": prompt_tokens(max_model_len - answer),
        "max_tokens": answer,
        "ignore_eos": True,
        "temperature": 0,
    }
    usage: dict[str, Any] = ask(port, "/v1/completions", body, seconds)["usage"]
    return usage


def picture_url(width: int, height: int) -> str:
    """A noisy picture as a data URL; each call makes another one."""
    data = io.BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(width * height * 3)).save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def picture_body(urls: list[str], answer_tokens: int) -> dict[str, Any]:
    """A chat request about these pictures."""
    content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content.append({"type": "text", "text": "What is there?"})
    return {
        "model": NAME,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": answer_tokens,
        "ignore_eos": True,
        "temperature": 0,
    }


def stream(port: int, path: str, body: dict[str, Any], seconds: float) -> tuple[float, float, int]:
    """Seconds to the first token, seconds from it to the last, and tokens answered, by the server's own count."""
    sent = body | {"stream": True, "stream_options": {"include_usage": True}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(sent).encode(), {"Content-Type": "application/json"}
    )
    began = time.monotonic()
    first = last = 0.0
    tokens = 0
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            for line in answer:
                if not line.startswith(b"data: {"):
                    continue
                chunk = json.loads(line[6:])
                if chunk.get("choices"):
                    last = time.monotonic()
                    first = first or last
                if usage := chunk.get("usage"):
                    tokens = int(usage["completion_tokens"])
    except urllib.error.HTTPError as error:
        raise FailedRequest(f"{error.code}: {error.read()[:300].decode(errors='replace')}") from error
    except OSError as error:
        raise FailedRequest(f"{type(error).__name__}: {error}") from error
    return first - began, last - first, tokens

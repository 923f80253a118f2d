"""Gives the exam to a running OpenAI-compatible server and writes the results into the model card.

    python training/evaluate.py --url http://127.0.0.1:8000 --per-skill 60 [--card path/to/README.md]

Pictures go as JPEG data URLs of 320 x 240 to 1280 x 720, clips as `data:video/jpeg` sequences. An answer counts
only when it is exactly right.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "src")]

from training.exam import Case, is_right, make_cases, score_table  # noqa: E402

#: Not the seed of the exam that follows training.
SEED = 11
CARD_START, CARD_END = "<!-- served: start -->", "<!-- served: end -->"


def _picture(data: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + base64.b64encode(data).decode()}}


def _clip(frames: tuple[bytes, ...]) -> dict[str, Any]:
    joined = ",".join(base64.b64encode(frame).decode() for frame in frames)
    return {"type": "video_url", "video_url": {"url": "data:video/jpeg;base64," + joined}}


def request_of(case: Case, model: str) -> dict[str, Any]:
    """The chat completion request for a case."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": case.system}] if case.system else []
    for number, (question, answer) in enumerate(case.turns):
        parts: list[dict[str, Any]] = [_picture(data) for data in case.pictures] if number == 0 else []
        if number == 0 and case.frames:
            parts.append(_clip(case.frames))
        content: Any = [*parts, {"type": "text", "text": question}] if parts else question
        messages.append({"role": "user", "content": content})
        if number < len(case.turns) - 1:
            messages.append({"role": "assistant", "content": answer})
    request: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": 200, "temperature": 0}
    if case.thoughts:
        request["chat_template_kwargs"] = {"enable_thinking": True}
    return request


def ask(url: str, request: dict[str, Any]) -> tuple[str, str]:
    """(answer, thoughts) from the server."""
    post = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(request).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(post, timeout=120) as reply:
        message = json.load(reply)["choices"][0]["message"]
    return message.get("content") or "", message.get("reasoning") or message.get("reasoning_content") or ""


def put_into_card(card: Path, text: str) -> None:
    """Replaces the text between the card's markers."""
    before, _, rest = card.read_text().partition(CARD_START)
    after = rest.partition(CARD_END)[2]
    card.write_text(f"{before}{CARD_START}\n{text}\n{CARD_END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", default="vedette-tiny")
    parser.add_argument("--per-skill", type=int, default=60)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--server", default="vLLM", help="what serves it, for the card")
    parser.add_argument("--card", type=Path)
    arguments = parser.parse_args()
    cases = make_cases(arguments.seed, arguments.per_skill)
    begun = time.monotonic()
    with ThreadPoolExecutor(arguments.at_once) as pool:
        replies = list(pool.map(lambda case: ask(arguments.url, request_of(case, arguments.model)), cases))
    results = [(case, answer, thoughts) for case, (answer, thoughts) in zip(cases, replies, strict=True)]
    for case, answer, thoughts in results:
        if not is_right(case, answer, thoughts):
            print(f"- {case.skill}: {case.turns[-1][0]!r} -> {answer!r} not {case.answer!r}; {thoughts!r}")
    table = score_table(results)
    print(table)
    print(f"{len(cases)} questions in {time.monotonic() - begun:.0f} s")
    if arguments.card:
        command = f"python training/evaluate.py --per-skill {arguments.per_skill} --seed {arguments.seed}"
        put_into_card(arguments.card, f"Served by {arguments.server}, once (`{command}`):\n\n{table}")


if __name__ == "__main__":
    main()

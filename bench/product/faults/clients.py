"""Clients that ask a vedette questions with known answers and record how each request ended."""

import collections
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from training.evaluate import request_of
from training.exam import Case, is_right, make_cases

HANGING_S = 150.0
"""A request that takes longer counts as hanging; vedette lets one wait 60 s for an engine that is starting."""
_SKILLS = ("describe", "count", "is there a", "colour", "where", "two pictures", "no picture")
_CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin", "Japan": "Tokyo"}


@dataclass(frozen=True)
class Question:
    """A chat request and the test of its answer."""

    model: str
    body: dict[str, Any]
    is_right: Callable[[str], bool]


@dataclass(frozen=True)
class Reply:
    """How one request ended."""

    model: str
    at: float
    """time.monotonic() when it was sent."""
    took_s: float
    stream: bool
    outcome: str
    """right, wrong, refused (try again later, with Retry-After), not served (404), broken off (a stream that ended with
    an error event), cut (ended without an error), hanging, or a status."""
    detail: str = ""


def tiny_questions(model: str, seed: int, count: int) -> list[Question]:
    """Questions to vedette-tiny about drawn scenes with known answers, and some without a picture."""
    cases = [case for case in make_cases(seed, max(1, count // len(_SKILLS))) if case.skill in _SKILLS]
    return [question_of(case, model) for case in cases]


def question_of(case: Case, model: str) -> Question:
    """A case of vedette-tiny's exam as a question."""
    return Question(model, request_of(case, model), lambda answer: is_right(case, answer, ""))


def capital_questions(model: str) -> list[Question]:
    """Questions of general knowledge, which vedette-tiny does not have."""

    def ask(country: str, capital: str) -> Question:
        messages = [{"role": "user", "content": f"What is the capital of {country}?"}]
        body = {"model": model, "messages": messages, "max_tokens": 16, "temperature": 0}
        return Question(model, body, lambda answer: capital in answer)

    return [ask(country, capital) for country, capital in _CAPITALS.items()]


def ask(port: int, question: Question, stream: bool = False, limit_s: float = HANGING_S) -> Reply:
    """Asks one question and returns how the request ended; never raises."""
    at = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit_s)
    try:
        body = json.dumps(question.body | {"stream": stream})
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        outcome, detail = _read(connection.getresponse(), question, at + limit_s)
    except TimeoutError:
        outcome, detail = "hanging", ""
    except (OSError, http.client.HTTPException, ValueError) as error:
        outcome, detail = "cut", repr(error)
    finally:
        connection.close()
    return Reply(question.model, at, time.monotonic() - at, stream, outcome, detail)


def _read(response: http.client.HTTPResponse, question: Question, until: float) -> tuple[str, str]:
    if response.status != 200:
        detail, later = response.read().decode(errors="replace")[:300], response.getheader("Retry-After")
        outcome = "refused" if later else "not served" if response.status == 404 else f"status {response.status}"
        return outcome, f"{response.status} {later}: {detail}"
    if not (response.getheader("Content-Type") or "").startswith("text/event-stream"):
        found = json.loads(response.read())
        return _mark(question, found["model"], found["choices"][0]["message"]["content"] or "")
    answer, named = "", ""
    for line in response:
        if time.monotonic() > until:
            return "hanging", answer
        if line.startswith(b"data: [DONE]"):
            return _mark(question, named, answer)
        if line.startswith(b"data:"):
            chunk = json.loads(line[5:])
            if "error" in chunk:
                return "broken off", json.dumps(chunk["error"])
            named = chunk["model"]
            answer += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    return "cut", answer


def _mark(question: Question, named: str, answer: str) -> tuple[str, str]:
    # vLLM 0.26 streams the end-of-turn token as text.
    right = named == question.model and question.is_right(answer.removesuffix("<|im_end|>"))
    return ("right", "") if right else ("wrong", f"{named}: {answer[:300]}")


def answerable(port: int, questions: Sequence[Question]) -> list[Question]:
    """The questions that an undisturbed model answers correctly: any other answer to them later is a fault."""
    return [question for question in questions if ask(port, question).outcome == "right"]


@dataclass
class Load:
    """Clients that ask without pause, half of them streaming; `replies` collects their replies."""

    port: int
    questions: Sequence[Question]
    clients: int
    pause_s: float = 0.5
    """Wait after a refusal, whatever Retry-After says: so many requests meet each fault."""
    think_s: float = 0.1
    replies: list[Reply] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        for thread in self._threads:
            thread.join(HANGING_S + 10)

    def first_right(self, after: float, within_s: float) -> Reply | None:
        """The first right answer to a request sent after `after` (time.monotonic()); None if none came in time."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            for reply in list(self.replies):
                if reply.at > after and reply.outcome == "right":
                    return reply
            time.sleep(0.05)
        return None

    def _client(self, number: int) -> None:
        rng = random.Random(number)
        while not self.ending.is_set():
            reply = ask(self.port, rng.choice(self.questions), stream=number % 2 == 1)
            self.replies.append(reply)
            self.ending.wait(self.think_s if reply.outcome in ("right", "wrong") else self.pause_s)


def outcomes(replies: Sequence[Reply]) -> dict[str, int]:
    """The number of requests by outcome, most frequent first."""
    return dict(collections.Counter(reply.outcome for reply in replies).most_common())


def as_json(reply: Reply) -> dict[str, Any]:
    return asdict(reply)

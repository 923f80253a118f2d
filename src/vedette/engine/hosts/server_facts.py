"""A server that somebody else runs: what its documents say of a model, and the budget of one request there. Pure.

Read are vLLM's `/v1/models`; `/props` of llama.cpp's server (its tools/server/README.md); `/api/show` and `/api/ps` of
Ollama (its docs/openapi.yaml). A document of another server, or of another version, says nothing instead of failing.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedette.plan.plan import Context, Wish

UNKNOWN_CONTEXT = 4096
"""Tokens, where a server does not say: what Ollama takes on its own."""
PICTURE_PIXELS = 512 * 512
"""As a plan allows where nothing else is wished."""
_PIXELS_A_TOKEN = 28 * 28
"""Of the models in use those with small patches; for a server that does not count."""
_ANSWER_TOKENS = 1024
_BATCHING = 4
"""Requests at once for a server that batches, where it does not say: as in a plan."""


@dataclass(frozen=True)
class Facts:
    """What is known of one model of a server."""

    max_model_len: int | None = None
    sees: bool | None = None
    thinks: bool | None = None
    chats: bool | None = None
    concurrency: int | None = None
    efforts: bool | None = None
    """It is told by `reasoning_effort` whether to think, not by what its chat template is given."""

    def __or__(self, other: "Facts") -> "Facts":
        """What this one says, and the other where this one says nothing."""
        unsaid = [name for name, value in dataclasses.asdict(self).items() if value is None]
        return dataclasses.replace(self, **{name: getattr(other, name) for name in unsaid})


@dataclass(frozen=True)
class Asked:
    """What answers to test questions showed."""

    thought: bool
    visual_tokens: int | None
    """What a picture of the budget's size took; None for a model that sees none, or a server that does not count."""


def parse_base(address: str) -> str:
    """What comes before `/v1` in a server's address as people write it."""
    return re.sub(r"(/v1)?/*$", "", address.strip())


def parse_models(document: object) -> dict[str, Facts]:
    """Each model that `/v1/models` names, in its order."""
    found = {}
    for entry in _list(_dict(document).get("data")):
        name = _dict(entry).get("id")
        if isinstance(name, str):
            length = _positive(_dict(entry).get("max_model_len"))
            modalities = _dict(_dict(entry).get("architecture")).get("input_modalities")
            found[name] = Facts(
                max_model_len=length,
                sees="image" in modalities if isinstance(modalities, list) else None,
                concurrency=_BATCHING if length else None,  # vLLM alone says it
            )
    return found


def parse_props(document: object) -> Facts:
    """What llama.cpp's `/props` says; its context is that of one slot."""
    props = _dict(document)
    template = props.get("chat_template")
    return Facts(
        max_model_len=_positive(_dict(props.get("default_generation_settings")).get("n_ctx")),
        sees=_flag(_dict(props.get("modalities")).get("vision")),
        thinks="enable_thinking" in template if isinstance(template, str) else None,
        concurrency=_positive(props.get("total_slots")),
    )


def parse_show(document: object) -> Facts:
    """What Ollama's `/api/show` says; its context only if the model's file sets one, for its server has another."""
    show = _dict(document)
    can = show.get("capabilities")
    if not isinstance(can, list):
        return Facts()
    chosen = re.search(r"^num_ctx\s+(\d+)", str(show.get("parameters", "")), re.MULTILINE)
    return Facts(
        max_model_len=int(chosen[1]) if chosen else None,
        sees="vision" in can,
        thinks="thinking" in can,
        chats="completion" in can,
        efforts=True,
    )


def parse_running(document: object, name: str) -> Facts:
    """What Ollama's `/api/ps` says of a model that it has in memory."""
    for entry in _list(_dict(document).get("models")):
        if name in (_dict(entry).get("name"), _dict(entry).get("model")):
            return Facts(max_model_len=_positive(_dict(entry).get("context_length")))
    return Facts()


def find_name(wanted: str | None, names: Sequence[str]) -> str | None:
    """The model that is meant, by its whole name or without Ollama's `:latest`; None if it is not there."""
    if wanted is None:
        return next(iter(names), None)
    return next((name for name in names if name in (wanted, f"{wanted}:latest")), None)


def picture_pixels(wish: Wish) -> int:
    """Up to which size pictures are sent."""
    return wish.image_max_pixels or PICTURE_PIXELS


def context_of(facts: Facts, asked: Asked, wish: Wish) -> Context:
    """The budget of one request: what is wished, within what the server has."""
    known = facts.max_model_len or wish.max_model_len or UNKNOWN_CONTEXT
    length = min(known, wish.max_model_len or known)
    images = (1 if wish.images_per_request is None else wish.images_per_request) if facts.sees else 0
    pixels = picture_pixels(wish)
    visual = (asked.visual_tokens or -(-pixels // _PIXELS_A_TOKEN)) if images else 0
    if images * visual > length // 2:  # smaller ones, so that there is room for words
        pixels, visual = pixels * (length // 2) // (images * visual), length // 2 // images
    left = length - images * visual
    most = length if asked.thought or facts.thinks else _ANSWER_TOKENS
    answer = min(wish.answer_tokens or most, left // 2)
    return Context(
        max_model_len=length,
        visual_tokens=visual,
        images_per_request=images,
        prompt_tokens=left - answer,
        answer_tokens=answer,
        image_max_pixels=pixels if images else None,
        concurrency=wish.concurrency or facts.concurrency or 1,
    )


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None

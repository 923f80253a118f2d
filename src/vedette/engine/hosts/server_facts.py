"""Facts about the models of a server that vedette does not run, and the budget of one request to it. Pure.

Sources: vLLM's `/v1/models`; `/props` of llama.cpp's server (its tools/server/README.md); `/api/show` and `/api/ps` of
Ollama (its docs/openapi.yaml). A document of another server or version gives no facts, and no error.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedette.plan.plan import Context, Wish

UNKNOWN_CONTEXT = 4096
"""Tokens to assume if a server does not give its context: Ollama's default."""
PICTURE_PIXELS = 512 * 512
"""The default of a plan."""
_PIXELS_A_TOKEN = 28 * 28
"""For a server that does not count tokens: as in the models with the smallest patches."""
_ANSWER_TOKENS = 1024
_CLIP_FRAMES = 32
"""vLLM's default (vllm/multimodal/media/video.py)."""
_BATCHING = 4
"""Requests at once for a server that batches and gives no limit: the default of a plan."""

_MOST_TOKENS = 2**30
"""A larger number is no context's."""
_MOST_MODELS = 1000
_LONGEST_NAME = 300
"""Characters; a longer name, and models beyond `_MOST_MODELS`, are left out."""


@dataclass(frozen=True)
class Facts:
    """What is known of one model of a server; None is unknown."""

    max_model_len: int | None = None
    sees: bool | None = None
    thinks: bool | None = None
    chats: bool | None = None
    concurrency: int | None = None
    efforts: bool | None = None
    """Whether `reasoning_effort` switches its reasoning, and not an argument of the chat template."""

    def __or__(self, other: "Facts") -> "Facts":
        """These facts, with the other's where these are unknown."""
        unknown = [name for name, value in dataclasses.asdict(self).items() if value is None]
        return dataclasses.replace(self, **{name: getattr(other, name) for name in unknown})


@dataclass(frozen=True)
class ProbeResult:
    """What the answers to test questions showed."""

    has_reasoning: bool
    visual_tokens: int | None
    """Tokens of a picture of the planned size; None if the model takes none, or the server does not count."""


def parse_base(address: str) -> str:
    """The part of a server's address before `/v1`."""
    return re.sub(r"(/v1)?/*$", "", address.strip())


def parse_models(document: object) -> dict[str, Facts]:
    """The models of `/v1/models`, in its order."""
    found: dict[str, Facts] = {}
    for entry in _list(_dict(document).get("data")):
        name = _dict(entry).get("id")
        if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and len(found) < _MOST_MODELS:
            length = _positive(_dict(entry).get("max_model_len"))
            modalities = _dict(_dict(entry).get("architecture")).get("input_modalities")
            found[name] = Facts(
                max_model_len=length,
                sees="image" in modalities if isinstance(modalities, list) else None,
                concurrency=_BATCHING if length else None,  # only vLLM gives this length
            )
    return found


def parse_props(document: object) -> Facts:
    """The facts of llama.cpp's `/props`; its context is that of one slot."""
    props = _dict(document)
    template = props.get("chat_template")
    return Facts(
        max_model_len=_positive(_dict(props.get("default_generation_settings")).get("n_ctx")),
        sees=_flag(_dict(props.get("modalities")).get("vision")),
        thinks="enable_thinking" in template if isinstance(template, str) else None,
        concurrency=_positive(props.get("total_slots")),
    )


def parse_show(document: object) -> Facts:
    """The facts of Ollama's `/api/show`; the context only if the model's file sets it, else a default holds."""
    show = _dict(document)
    capabilities = show.get("capabilities")
    if not isinstance(capabilities, list):
        return Facts()
    chosen = re.search(r"^num_ctx[ \t]+([0-9]{1,9})$", str(show.get("parameters", "")), re.MULTILINE)
    return Facts(
        max_model_len=_positive(int(chosen[1])) if chosen else None,
        sees="vision" in capabilities,
        thinks="thinking" in capabilities,
        chats="completion" in capabilities,
        efforts=True,
    )


def parse_running(document: object, name: str) -> Facts:
    """The facts of Ollama's `/api/ps` about a model that is loaded."""
    for entry in _list(_dict(document).get("models")):
        if name in (_dict(entry).get("name"), _dict(entry).get("model")):
            return Facts(max_model_len=_positive(_dict(entry).get("context_length")))
    return Facts()


def find_name(wanted: str | None, names: Sequence[str]) -> str | None:
    """The model of this name, which may lack Ollama's `:latest`; the first if none is wanted; None if there is none."""
    if wanted is None:
        return next(iter(names), None)
    return next((name for name in names if name in (wanted, f"{wanted}:latest")), None)


def picture_pixels(wish: Wish) -> int:
    """The largest size of a picture that is sent."""
    return wish.image_max_pixels or PICTURE_PIXELS


def context_of(facts: Facts, probe: ProbeResult, wish: Wish) -> Context:
    """The budget of one request: the wish, within the limits of the server."""
    known = facts.max_model_len or wish.max_model_len or UNKNOWN_CONTEXT
    length = min(known, wish.max_model_len or known)
    images = (1 if wish.images_per_request is None else wish.images_per_request) if facts.sees else 0
    pixels = picture_pixels(wish)
    visual = (probe.visual_tokens or -(-pixels // _PIXELS_A_TOKEN)) if images else 0
    if images * visual > length // 2:  # send smaller ones, to leave room for words
        pixels, visual = pixels * (length // 2) // (images * visual), length // 2 // images
    left = length - images * visual
    most = length if probe.has_reasoning or facts.thinks else _ANSWER_TOKENS
    answer = min(wish.answer_tokens or most, left // 2)
    return Context(
        max_model_len=length,
        visual_tokens=visual,
        images_per_request=images,
        prompt_tokens=left - answer,
        answer_tokens=answer,
        image_max_pixels=pixels if images else None,
        concurrency=wish.concurrency or facts.concurrency or 1,
        clip_frames=_CLIP_FRAMES if images else 0,
    )


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_TOKENS else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None

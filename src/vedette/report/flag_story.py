"""The story of each flag that vLLM is given: what it does, why it has its value, what another value would cost."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vedette.errors import BadInputError, VedetteError
from vedette.plan.plan import Basis, Plan, Wish
from vedette.units import size


@dataclass(frozen=True)
class FlagStory:
    """What is told of one flag."""

    does: str
    """What it does in vLLM, whoever sets it."""
    subjects: tuple[str, ...] = ()
    """Subjects of the plan's reasons that decide its value, the nearest first."""
    always: str = ""
    """Why vedette sets it as it does, where no number of the plan decides that."""
    wish: str | None = None
    """Field of `Wish` that moves it."""


_CONTEXT = "max_model_len"
_PIXELS = "image_max_pixels"

STORIES: Mapping[str, FlagStory] = {
    "--served-model-name": FlagStory(
        "The name by which requests ask for the model.",
        always="requests name the model, not the directory that it lies in",
    ),
    "--host": FlagStory(
        "The address that the engine listens on.", always="only vedette talks to the engine; people talk to vedette"
    ),
    "--port": FlagStory("The port that the engine listens on.", always="a free one, found anew for each start"),
    "--dtype": FlagStory("The type that the model computes in.", ("dtype",)),
    "--max-model-len": FlagStory(
        "The longest request: pictures, prompt and answer together, in tokens. Longer ones are refused.",
        ("max_model_len",),
        wish=_CONTEXT,
    ),
    "--max-num-seqs": FlagStory(
        "How many requests are computed at the same time; further ones wait.", ("concurrency",), wish="concurrency"
    ),
    "--max-num-batched-tokens": FlagStory(
        "How many tokens one step computes at most. Long prompts go in pieces of this size, but a picture has to go in "
        "whole; the memory of activations grows with it.",
        ("max_num_batched_tokens",),
        wish=_CONTEXT,
    ),
    "--kv-cache-memory-bytes": FlagStory(
        "Memory for the keys and values of all tokens that are being served, in bytes. With it vLLM takes exactly "
        "this much, and --gpu-memory-utilization decides nothing but whether it starts.",
        ("kv_cache",),
        wish=_CONTEXT,
    ),
    "--gpu-memory-utilization": FlagStory(
        "The share of all GPU memory that has to be free for the engine to start. Without explicit cache bytes "
        "vLLM would also fill the memory up to it.",
        ("gpu_memory_utilization",),
    ),
    "--kv-cache-dtype": FlagStory(
        "The type in which keys and values are kept: in fp8 twice as many tokens find room.", ("kv_cache_dtype",)
    ),
    "--limit-mm-per-prompt": FlagStory(
        "How many pictures and clips one request may hold. If none at all, the vision tower is not even loaded.",
        ("images_per_request", "visual_tokens"),
        always="a text model takes none",
        wish="images_per_request",
    ),
    "--media-io-kwargs": FlagStory(
        "How clips are read: the number of frames taken of each.",
        ("video_frames",),
    ),
    "--mm-processor-kwargs": FlagStory(
        "What the model's picture processor is told: larger pictures are scaled down to this many pixels.",
        (_PIXELS, "visual_tokens"),
        wish=_PIXELS,
    ),
    "--mm-processor-cache-gb": FlagStory(
        "RAM for prepared pictures, kept for follow-up questions. vLLM's default is 4 GiB, in each of two processes.",
        ("processor_cache",),
        always="a few prepared pictures are enough for follow-up questions; on a board RAM is the model's memory",
    ),
    "--reasoning-parser": FlagStory(
        "Tells the model's reasoning from its answer, so that they reach the client apart.", ("reasoning_parser",)
    ),
    "--default-chat-template-kwargs": FlagStory(
        "What the chat template is told when a request says nothing itself.",
        always="who asks for nothing gets a plain answer; a request may ask for reasoning",
    ),
    "--enforce-eager": FlagStory("Runs the model without graphs and without compiling it.", ("graphs",)),
    "--compilation-config": FlagStory(
        "What is compiled, and for which batch sizes a CUDA graph is captured: a graph launches a whole step at once.",
        ("graphs", "cuda_graph"),
    ),
    "--attention-backend": FlagStory("The kernels that compute attention.", ("attention_backend",)),
    "--hf-overrides": FlagStory(
        "Values of the model's config.json that vLLM is to take as said here.",
        ("weights",),
    ),
    "--quantization": FlagStory("How the weights are packed, where config.json does not say.", ("weights_format",)),
    "--block-size": FlagStory("Tokens of one block of the KV cache: requests take whole blocks.", ("kv_cache",)),
    "--enable-prefix-caching": FlagStory(
        "Keeps the beginnings of requests, so that what was read once is not read again.",
        ("prefix_caching",),
        always="follow-up questions begin as the one before; what was read stays read",
    ),
    "--no-enable-prefix-caching": FlagStory(
        "Every request is read from its beginning, even if another began the same.", ("prefix_caching",)
    ),
    "--enable-chunked-prefill": FlagStory(
        "Reads long prompts in pieces between the steps of other requests.",
        ("chunked_prefill",),
    ),
    "--no-enable-chunked-prefill": FlagStory("Every prompt is read in one step.", ("chunked_prefill",)),
    "--skip-mm-profiling": FlagStory(
        "vLLM does not try the largest pictures at start; their memory is then not in its account.",
    ),
    "--language-model-only": FlagStory("The vision tower is not loaded: only text is served.", ("visual_tokens",)),
    "--disable-uvicorn-access-log": FlagStory(
        "The engine's log gets no line for every request.",
        always="a live page asks several times a second; the log is for what matters",
    ),
    "--allowed-media-domains": FlagStory(
        "From which hosts the engine fetches pictures that a request only names.",
        always="from none: whoever may ask must not make the engine fetch addresses; pictures come with the request",
    ),
}


OWN_OPTIONS: Mapping[str, str] = {
    "--context": "--max-model-len",
    "--concurrency": "--max-num-seqs",
    "--images": "--limit-mm-per-prompt",
    "--picture": "--mm-processor-kwargs",
}
"""vedette's own options, and the flag of vLLM that each becomes first of all."""


@dataclass(frozen=True)
class Flag:
    """One flag as it is typed; `values` is empty for a switch."""

    name: str
    values: tuple[str, ...]


def split_arguments(arguments: Sequence[str]) -> tuple[tuple[str, ...], list[Flag]]:
    """What comes before the first flag (`vllm serve MODEL`), and the flags."""
    starts = [at for at, word in enumerate(arguments) if word.startswith("--")]
    head = tuple(arguments[: starts[0]] if starts else arguments)
    ends = [*starts[1:], len(arguments)]
    return head, [Flag(arguments[at], tuple(arguments[at + 1 : end])) for at, end in zip(starts, ends, strict=True)]


@dataclass(frozen=True)
class NumberedReason:
    """One line of "why"; `basis` is None for what is no figure but a habit of vedette's."""

    number: int
    subject: str
    value: str
    why: str
    basis: Basis | None


def numbered_reasons(plan: Plan, flags: Sequence[Flag]) -> list[NumberedReason]:
    """The plan's reasons, then those of flags that no number of the plan decides."""
    spoken_of = {reason.subject for reason in plan.reasons}
    found = [
        NumberedReason(number, reason.subject, reason.value, reason.why, reason.basis)
        for number, reason in enumerate(plan.reasons, 1)
    ]
    for flag in flags:
        story = STORIES.get(flag.name)
        if story and story.always and not spoken_of.intersection(story.subjects):
            found.append(NumberedReason(len(found) + 1, flag.name, "", story.always, None))
    return found


def reason_behind(flag: Flag, reasons: Sequence[NumberedReason]) -> NumberedReason | None:
    """The reason that is nearest to a flag, if any."""
    story = STORIES.get(flag.name, FlagStory(""))
    by_subject = {reason.subject: reason for reason in reversed(reasons)}
    return next((by_subject[name] for name in (*story.subjects, flag.name) if name in by_subject), None)


def find_flag(written: str) -> str:
    """The flag that a person means, with or without dashes, or by vedette's own option.

    Raises BadInputError, naming the nearest.
    """
    name = "--" + written.strip().lower().lstrip("-").replace("_", "-").replace(" ", "-")
    name = OWN_OPTIONS.get(name, name)
    if name in STORIES:
        return name
    near = difflib.get_close_matches(name, STORIES, n=1, cutoff=0.6)
    raise BadInputError(
        f"vedette gives vLLM no flag {name}.",
        f"Did you mean {near[0]}?" if near else "`vedette plan` shows those that it gives.",
    )


@dataclass(frozen=True)
class Neighbour:
    """What another value would cost."""

    value: int
    difference_bytes: int | None
    """More memory than the plan takes (less, if negative); None if it cannot be had."""
    said: str
    """What that means, in words."""


def neighbours(name: str, plan: Plan, wish: Wish, replan: Callable[[Wish], Plan]) -> tuple[str, list[Neighbour]]:
    """The wish that moves this flag, and the plan with half and with double of it, all else held.

    Empty where no wish moves it, or the plan has no such number.
    """
    field = STORIES[name].wish
    present = _pinned(plan, wish)
    now: int | None = getattr(present, field) if field else None
    if field is None or not now:
        return "", []
    values = [value for value in (now // 2, now * 2) if value > 0]
    wishes: list[dict[str, Any]] = [{field: value} for value in values]
    return field, [_neighbour(plan, replace(present, **other), field, replan) for other in wishes]


def _pinned(plan: Plan, wish: Wish) -> Wish:
    """A wish for exactly this plan, so that only what is then changed in it changes."""
    context = plan.context
    return replace(
        wish,
        max_model_len=context.max_model_len,
        concurrency=context.concurrency,
        images_per_request=context.images_per_request,
        image_max_pixels=context.image_max_pixels,
    )


def _neighbour(plan: Plan, wish: Wish, field: str, replan: Callable[[Wish], Plan]) -> Neighbour:
    value: int = getattr(wish, field)
    try:
        other = replan(wish)
    except VedetteError as error:
        return Neighbour(value, None, error.sentence)
    if other.concession is not None:
        beyond = plan.memory.available_bytes - plan.memory.total_bytes + other.concession.missing_bytes
        return Neighbour(value, beyond, _missing(other.concession.missing_bytes))
    difference = other.memory.total_bytes - plan.memory.total_bytes
    if not other.fits:
        return Neighbour(value, difference, _missing(other.shortfall_bytes))
    return Neighbour(value, difference, _changes(plan, other, field))


def _missing(missing_bytes: int) -> str:
    return f"does not fit: {size(missing_bytes)} are missing"


def _changes(plan: Plan, other: Plan, field: str) -> str:
    """What the context of another plan gives and takes, `field` apart."""
    names = {
        "max_model_len": "context",
        "concurrency": "requests at once",
        "visual_tokens": "tokens of a picture",
        "prompt_tokens": "prompt",
        "answer_tokens": "answer",
    }
    changed = [
        f"{label} {getattr(plan.context, name):,} → {getattr(other.context, name):,}"
        for name, label in names.items()
        if name != field and getattr(plan.context, name) != getattr(other.context, name)
    ]
    return ", ".join(changed) or "nothing else changes"


def story_json(
    name: str, plan: Plan, arguments: Sequence[str], wish: Wish, replan: Callable[[Wish], Plan]
) -> dict[str, Any]:
    """One flag's story for programs; `value` is None where this plan does not give the flag, and `why` then says what
    is so instead."""
    _, flags = split_arguments(arguments)
    flag = next((flag for flag in flags if flag.name == name), None)
    reason = reason_behind(flag or Flag(name, ()), numbered_reasons(plan, flags))
    moved_by, costs = neighbours(name, plan, wish, replan) if flag else ("", [])
    return {
        "flag": name,
        "given": flag is not None,
        "value": " ".join(flag.values) if flag else None,
        "does": STORIES[name].does,
        "why": reason.why if reason else None,
        "basis": reason.basis.value if reason and reason.basis else None,
        "reason": reason.number if reason else None,
        "moved_by": moved_by or None,
        "neighbours": [
            {"value": cost.value, "memory_difference_bytes": cost.difference_bytes, "said": cost.said} for cost in costs
        ],
    }

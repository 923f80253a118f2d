"""Why the context, its parts and the number of requests are what they are. Pure."""

from collections.abc import Iterator

from vedette.language.message import Message
from vedette.plan.climb import Choice
from vedette.plan.ladder import CLIP_FRAMES, MAX_CPU_CONTEXT, PREFERENCES, Rung
from vedette.plan.memory import Site
from vedette.plan.plan import Backend, Basis, Reason, Wish, Workload
from vedette.plan.reasons.values import count_value

ENOUGH_CONTEXT = {
    Workload.LIVE: Message("plan.reason.live_context"),
    Workload.CLIP: Message("plan.reason.clip_context"),
    Workload.CHAT: Message("plan.reason.chat_context"),
    None: Message("plan.reason.mixed_context"),
}
ENOUGH_REQUESTS = {
    Workload.LIVE: Message("plan.reason.live_requests"),
    Workload.CLIP: Message("plan.reason.clip_requests"),
    Workload.CHAT: Message("plan.reason.chat_requests"),
    Workload.API: Message("plan.reason.api_requests"),
    None: Message("plan.reason.mixed_requests"),
}
_SUBJECTS = {"images": "images_per_request"}
"""Fields of `Rung` that have another name in a plan."""
_AS_ASKED = Message("plan.reason.as_asked")
_BESIDE_PICTURES = Message("plan.reason.prompt_beside_pictures")
_BESIDE_ANSWER = Message("plan.reason.prompt_beside_answer")


def context_reasons(site: Site, wish: Wish, choice: Choice) -> Iterator[Reason]:
    """Yield a reason for each number of the context."""
    rung = choice.rung
    yield _chosen("max_model_len", wish.max_model_len, _enough_context(site, wish, rung), choice)
    kind = wish.workload if rung.images or wish.workload in {Workload.CLIP, Workload.API} else Workload.CHAT
    yield _chosen("concurrency", wish.concurrency, ENOUGH_REQUESTS[kind], choice)
    yield from _picture_reasons(site, wish, choice)
    if rung.videos:
        why = Message("plan.reason.clip_frames", tokens=rung.clip_tokens)
        yield Reason("video_frames", count_value(CLIP_FRAMES), why, Basis.COMPUTED)
    rest = _BESIDE_PICTURES if rung.images else _BESIDE_ANSWER
    yield _share("prompt_tokens", wish.prompt_tokens, rung.prompt_tokens, rest)
    yield _share("answer_tokens", wish.answer_tokens, rung.answer_tokens, _enough_answer(site, wish, rung))


def given_wish(wish: Wish, rung: Rung) -> Message:
    """Return what `rung` gives of each thing that was wished for: `a context of 8,192, 150-token answers`."""
    parts = []
    if wish.max_model_len is not None:
        parts.append(Message("plan.wish.context", tokens=rung.max_model_len))
    if wish.image_max_pixels is not None and rung.image_max_pixels is not None:
        parts.append(Message("plan.wish.pixels", pixels=rung.image_max_pixels))
    if wish.images_per_request is not None:
        parts.append(_pictures(rung.images))
    if wish.prompt_tokens is not None:
        parts.append(Message("plan.wish.prompt", tokens=rung.prompt_tokens))
    if wish.answer_tokens is not None:
        parts.append(Message("plan.wish.answer", tokens=rung.answer_tokens))
    if wish.concurrency is not None:
        parts.append(_requests(rung.concurrency))
    return Message("plan.wish", parts=tuple(parts))


def missed_purpose(site: Site, wish: Wish, choice: Choice) -> tuple[Message, ...]:
    """Return a sentence if the plan leaves out what its workload is for: pictures of a live view, or clips."""
    model, rung = site.model, choice.rung
    if wish.images_per_request == 0 or wish.workload not in {Workload.LIVE, Workload.CLIP}:
        return ()
    if not rung.images:
        if model.unknown_vision:
            return (Message("plan.missed.unknown_vision", model=model.name, architecture=model.architecture),)
        return (Message("plan.missed.pictures", model=model.name),)
    if wish.workload is Workload.LIVE or rung.videos:
        return ()
    if not model.videos_per_prompt:
        return (Message("plan.missed.clips", model=model.name),)
    return (Message("plan.missed.clips_memory", needed_bytes=choice.preferred_need.total_bytes),)


def _picture_reasons(site: Site, wish: Wish, choice: Choice) -> Iterator[Reason]:
    rung, model = choice.rung, site.model
    if rung.images:
        enough = Message("plan.reason.one_picture") if rung.images == 1 else Message("plan.reason.several_pictures")
        yield _chosen("images", wish.images_per_request, enough, choice)
        if rung.image_max_pixels is not None:
            enough = _enough_pixels(wish, rung.image_max_pixels)
            yield _chosen("image_max_pixels", wish.image_max_pixels, enough, choice)
        why = Message("plan.reason.visual_tokens")
        yield Reason("visual_tokens", count_value(rung.visual_tokens), why, Basis.COMPUTED)
        if rung.videos and rung.video_max_pixels is not None and not site.engine.limits_clips:
            value = count_value(rung.video_max_pixels)
            yield Reason("video_max_pixels", value, Message("plan.reason.one_limit"), Basis.COMPUTED)
    elif model.unknown_vision:
        why = Message("plan.reason.unknown_vision", architecture=model.architecture)
        yield Reason("visual_tokens", count_value(0), why, Basis.COMPUTED)
    elif model.vision is not None:
        yield Reason("visual_tokens", count_value(0), Message("plan.reason.pictures_off"), Basis.COMPUTED)


def _chosen(name: str, wished: int | None, enough: Message, choice: Choice) -> Reason:
    """Return the reason for a number that the ladder chose: as asked, enough, the model's limit, or memory."""
    value, preferred = getattr(choice.rung, name), getattr(choice.preferred, name)
    if wished == value:
        why = _AS_ASKED
    elif preferred != value:
        why = _why_less(name, preferred, wished, choice)
    elif wished is None:
        why = enough
    else:
        why = Message("plan.reason.model_limit")
    return Reason(_SUBJECTS.get(name, name), count_value(value), why, Basis.COMPUTED)


def _share(name: str, wished: int | None, value: int, rest: Message) -> Reason:
    """Return the reason for the prompt's or the answer's part of the context."""
    if wished is None:
        why = rest
    elif wished == value:
        why = _AS_ASKED
    else:
        why = Message("plan.reason.less_than_asked", asked=wished)
    return Reason(name, count_value(value), why, Basis.COMPUTED)


def _why_less(name: str, best: int, wished: int | None, choice: Choice) -> Message:
    """Return why a number is below the first rung's: the memory that everything given up would have needed."""
    rung, preferred = choice.rung, choice.preferred
    words = {
        "max_model_len": Message("plan.wish.context", tokens=preferred.max_model_len),
        "concurrency": _requests(preferred.concurrency),
        "images": _pictures(preferred.images),
        "image_max_pixels": Message("plan.wish.pixels", pixels=preferred.image_max_pixels),
        "videos": Message("plan.wish.clips"),
    }
    given_up = {field: words[field] for field in words if getattr(rung, field) != getattr(preferred, field)}
    if wished == best:
        less = Message("plan.reason.less_than_asked", asked=best)
    else:
        less = Message("plan.reason.less_than", preferred=best)
    if next(iter(given_up)) != name:  # the first number tells about the others
        return Message("plan.reason.also_for_memory", less=less)
    needed_bytes = choice.preferred_need.total_bytes
    others = tuple(given_up[field] for field in given_up if field != name)
    if not others:
        return Message("plan.reason.would_need", less=less, needed_bytes=needed_bytes)
    return Message("plan.reason.would_need_with", less=less, others=others, needed_bytes=needed_bytes)


def _enough_context(site: Site, wish: Wish, rung: Rung) -> Message:
    length, preferred = rung.max_model_len, PREFERENCES[wish.workload].context
    if length == site.model.max_position_embeddings:
        return Message("plan.reason.whole_context")
    if preferred is None or length > preferred:
        return Message("plan.reason.twice_the_request")
    if site.backend is Backend.CPU and length == MAX_CPU_CONTEXT < preferred:
        return Message("plan.reason.cpu_context")
    return ENOUGH_CONTEXT[wish.workload] if rung.images else Message("plan.reason.text_context")


def _enough_pixels(wish: Wish, pixels: int) -> Message:
    preferred = PREFERENCES[wish.workload].pixels
    if pixels < preferred:
        return Message("plan.reason.nearest_pixels", pixels=preferred)
    return Message("plan.reason.legible_pixels")


def _enough_answer(site: Site, wish: Wish, rung: Rung) -> Message:
    left = rung.max_model_len - max(rung.images * rung.visual_tokens, rung.clip_tokens)
    if rung.answer_tokens >= (left - (wish.prompt_tokens or 0)) // 2:
        if rung.images:
            return Message("plan.reason.half_beside_pictures")
        return Message("plan.reason.half_of_context")
    return Message("plan.reason.reasoning_answer") if site.model.thinks else Message("plan.reason.long_answer")


def _pictures(images: int) -> Message:
    return Message("plan.wish.picture") if images == 1 else Message("plan.wish.pictures", images=images)


def _requests(concurrency: int) -> Message:
    return Message("plan.wish.request") if concurrency == 1 else Message("plan.wish.requests", requests=concurrency)

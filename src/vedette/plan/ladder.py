"""What to ask of the engine, from the most one would like to the least that is still useful. Pure.

A plan takes the first rung that fits, so more memory can never give a smaller context: the rungs' contexts only
shrink on the way down, and what a rung needs does not depend on how much there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vedette.errors import BadInputError
from vedette.models.facts import Model
from vedette.models.visual import most_picture_tokens
from vedette.plan.plan import Backend, Wish

MOST_CONTEXT = {Backend.CPU: 4096, Backend.CUDA: 8192}
"""A live page and a conversation need no more; longer ones are asked for (a CPU reads prompts slowly)."""
COMFORTABLE_CONTEXT = 2048
"""Below this, fewer requests at once and smaller pictures are given up before more context is."""
LEAST_CONTEXT = 256
MOST_CONCURRENCY = 4
PICTURE_PIXELS = 512 * 512
"""252 tokens for a 16:9 picture of the Qwen3-VL kind: words on a sign are legible, an answer begins soon."""
SMALLER_PIXELS = (448 * 448, 384 * 384, 320 * 320, 256 * 256)
CLIP_FRAMES = 8
FRAME_MARKER_TOKENS = 12
"""Two markers and a timestamp in words (`<3.5 seconds>`) for each pair of frames."""
LEAST_PROMPT_TOKENS = 32
LEAST_ANSWER_TOKENS = 16
MOST_WISHED = 1 << 24
"""No context, picture or concurrency is as large as this: a slip of the finger, not a wish."""


@dataclass(frozen=True)
class Rung:
    """One thing to ask for. Tokens, pixels and counts as in `plan.Context`."""

    max_model_len: int
    concurrency: int
    images: int
    videos: int
    image_max_pixels: int | None
    visual_tokens: int
    clip_tokens: int
    video_max_pixels: int | None
    prompt_tokens: int
    answer_tokens: int

    @property
    def batched_tokens(self) -> int:
        """Tokens of one step: long prompts go in pieces, but one picture or clip has to go in whole."""
        return max(512, min(2048, self.max_model_len // 4), self.visual_tokens, self.clip_tokens)


def rungs(model: Model, wish: Wish, backend: Backend) -> Iterator[Rung]:
    """Everything the plan may ask for, most first; what the person wished for is never taken back.

    Raises BadInputError for a wish that no memory could grant.
    """
    check_wish(model, wish)
    contexts = _contexts(model, wish, backend)
    comfortable = [length for length in contexts if length >= COMFORTABLE_CONTEXT] or contexts[:1]
    tight = [length for length in contexts if length < comfortable[-1]]
    concurrencies = [wish.concurrency] if wish.concurrency else _halvings(MOST_CONCURRENCY, 1)
    pixels = _pixel_limits(model, wish)
    images = wish.images_per_request if wish.images_per_request is not None else model.images_per_prompt
    if not pixels:
        images = 0
    fewest = images if wish.images_per_request is not None else min(images, 1)
    first = _Ask(comfortable[0], concurrencies[0], images, model.videos_per_prompt, pixels[0] if pixels else None)
    asks = [first]
    asks += [replace(asks[-1], max_model_len=length) for length in comfortable[1:]]
    asks += [replace(asks[-1], concurrency=count) for count in concurrencies[1:]]
    asks += [replace(asks[-1], videos=0), replace(asks[-1], videos=0, images=fewest)]
    asks += [replace(asks[-1], image_max_pixels=limit) for limit in pixels[1:]]
    asks += [replace(asks[-1], max_model_len=length) for length in tight]
    for ask in dict.fromkeys(asks):
        rung = _rung(model, wish, ask)
        if rung is not None:
            yield rung


@dataclass(frozen=True)
class _Ask:
    max_model_len: int
    concurrency: int
    images: int
    videos: int
    image_max_pixels: int | None


def _rung(model: Model, wish: Wish, ask: _Ask) -> Rung | None:
    """The context as one budget; None if pictures, prompt and answer do not all find room in it."""
    vision, limit = model.vision, ask.image_max_pixels
    visual = clip = 0
    clip_pixels = None
    if vision is not None and ask.images and limit is not None:
        visual = most_picture_tokens(vision, limit)
        if ask.videos and vision.video_max_pixels is not None:
            clip_pixels = min(vision.video_max_pixels, CLIP_FRAMES * limit)
            token_pixels = vision.temporal_patch_size * (vision.patch_size * vision.merge_size) ** 2
            clip = clip_pixels // token_pixels + CLIP_FRAMES // vision.temporal_patch_size * FRAME_MARKER_TOKENS
    left = ask.max_model_len - max(ask.images * visual, clip)
    answer = wish.answer_tokens or min(2048 if model.thinks else 1024, (left - (wish.prompt_tokens or 0)) // 2)
    prompt = wish.prompt_tokens or left - answer
    useful = (wish.prompt_tokens or prompt >= LEAST_PROMPT_TOKENS) and (
        wish.answer_tokens or answer >= LEAST_ANSWER_TOKENS
    )
    if not useful or prompt + answer > left:
        return None
    return Rung(
        max_model_len=ask.max_model_len,
        concurrency=ask.concurrency,
        images=ask.images,
        videos=ask.videos if clip else 0,
        image_max_pixels=limit if visual else None,
        visual_tokens=visual,
        clip_tokens=clip,
        video_max_pixels=clip_pixels,
        prompt_tokens=prompt,
        answer_tokens=answer,
    )


def _contexts(model: Model, wish: Wish, backend: Backend) -> list[int]:
    if wish.max_model_len:
        return [wish.max_model_len]
    needed = (wish.prompt_tokens or 0) + (wish.answer_tokens or 0)
    most = min(model.max_position_embeddings, max(MOST_CONTEXT[backend], _up_to_power_of_two(2 * needed)))
    return _halvings(most, min(most, LEAST_CONTEXT))


def _pixel_limits(model: Model, wish: Wish) -> list[int]:
    """Picture sizes to try, largest first; none for a model that does not see, or should not."""
    vision = model.vision
    if vision is None or wish.images_per_request == 0 or model.images_per_prompt == 0:
        return []
    if wish.image_max_pixels is not None:
        return [min(wish.image_max_pixels, vision.max_pixels)]
    largest = min(PICTURE_PIXELS, vision.max_pixels)
    return [largest, *(limit for limit in SMALLER_PIXELS if vision.min_pixels <= limit < largest)]


def _halvings(most: int, least: int) -> list[int]:
    values = [most]
    while values[-1] // 2 >= least:
        values.append(values[-1] // 2)
    return values


def _up_to_power_of_two(value: int) -> int:
    return 1 << max(0, value - 1).bit_length()


def check_wish(model: Model, wish: Wish) -> None:
    """Raises BadInputError for sizes that cannot be: not positive, absurd, or more than the model knows."""
    sizes = {
        "a context": wish.max_model_len,
        "a prompt": wish.prompt_tokens,
        "an answer": wish.answer_tokens,
        "a concurrency": wish.concurrency,
        "a picture": wish.image_max_pixels,
    }
    for what, size in sizes.items():
        if size is not None and not 1 <= size < MOST_WISHED:
            raise BadInputError(f"{what.capitalize()} of {size} cannot be.", "Ask for a positive size.")
    if wish.images_per_request is not None and not 0 <= wish.images_per_request <= 64:
        raise BadInputError(f"{wish.images_per_request} pictures in one request cannot be.", "Ask for 0 to 64.")
    if wish.max_model_len and wish.max_model_len > model.max_position_embeddings:
        raise BadInputError(
            f"{model.name} knows no more than {model.max_position_embeddings} positions, not {wish.max_model_len}.",
            f"Ask for a context of at most {model.max_position_embeddings}.",
        )
    factor = model.vision.patch_size * model.vision.merge_size if model.vision else 1
    if wish.image_max_pixels is not None and wish.image_max_pixels < factor**2:
        raise BadInputError(
            f"Pictures of {wish.image_max_pixels} pixels are too small to be seen by {model.name}.",
            f"Ask for at least {factor**2} pixels.",
        )

"""What to ask of the engine, from the most one would like to the least that is still useful. Pure.

A plan takes the first rung that fits, so more memory can never give a smaller context: the rungs' contexts only
shrink on the way down, and what a rung needs does not depend on how much there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vedette.errors import BadInputError
from vedette.models.model import Model
from vedette.plan.plan import Backend, Wish, Workload

COMFORTABLE_CONTEXT = 2048
"""Below this, fewer requests at once and smaller pictures are given up before more context is."""
LEAST_CONTEXT = 256
LEAST_SIXTEEN_BIT_CONTEXT = 4096
"""Where length counts most, keys and values take 8 bits rather than that the context becomes shorter than this."""
PICTURE_PIXELS = 512 * 512
"""252 tokens for a 16:9 picture of the Qwen3-VL kind: words on a sign are legible, an answer begins soon."""
CLIP_FRAMES = 8
LEAST_PROMPT_TOKENS = 32
LEAST_ANSWER_TOKENS = 16
MOST_WISHED = 1 << 24
"""No context, answer or concurrency is as large as this: a slip of the finger, not a wish."""
MOST_PIXELS = 1 << 32


@dataclass(frozen=True)
class Liking:
    """What one would like for a kind of work if memory were no matter."""

    context: int | None
    """Tokens; None for all that the model knows."""
    concurrency: int
    images: int | None
    """Pictures in one request; None for as many as the model was trained on."""
    clips: bool
    answer_tokens: int
    pixels: int = PICTURE_PIXELS


LIKINGS = {
    # A question, a picture of 640x480, a sentence or two; a second page may watch.
    Workload.LIVE: Liking(2048, 2, 1, clips=False, answer_tokens=512, pixels=640 * 480),
    Workload.CLIP: Liking(4096, 1, 1, clips=True, answer_tokens=512),
    Workload.CHAT: Liking(16_384, 4, None, clips=False, answer_tokens=2048),
    Workload.API: Liking(None, 8, None, clips=True, answer_tokens=2048),
    # A live page and conversations need no more; longer ones are asked for.
    None: Liking(8192, 4, None, clips=True, answer_tokens=2048),
}
MOST_CPU_CONTEXT = 4096
"""A CPU reads prompts slowly: longer contexts are asked for."""


@dataclass(frozen=True)
class Rung:
    """One thing to ask for. Tokens, pixels and counts as in `plan.Context`."""

    max_model_len: int
    concurrency: int
    images: int
    videos: int
    image_max_pixels: int | None
    """None where nothing is to be seen, or where every picture becomes the same number of tokens."""
    visual_tokens: int
    clip_tokens: int
    video_max_pixels: int | None
    prompt_tokens: int
    answer_tokens: int
    fp8_cache: bool = False
    """Keys and values of 8 bits: twice the context, and answers that may differ a little."""
    graphs: bool = True
    """CUDA graphs, where there is a GPU; without them tokens come many times more slowly."""

    @property
    def batched_tokens(self) -> int:
        """Tokens of one step: long prompts go in pieces, small ones where memory is so short that keys and values
        take 8 bits, but one picture or clip has to go in whole."""
        pieces = 256 if self.fp8_cache else max(512, min(2048, self.max_model_len // 4))
        return max(pieces, self.visual_tokens, self.clip_tokens, self.concurrency)


@dataclass(frozen=True)
class Ladder:
    """The rungs for one model and wish.

    relaxed: what the person wished for is where the ladder begins, not where it also ends.
    """

    model: Model
    wish: Wish
    backend: Backend
    fp8_cache: bool = False
    """The device can keep keys and values in 8 bits."""
    clips: bool = True
    """The engine can limit them."""
    relaxed: bool = False

    def rungs(self) -> Iterator[Rung]:
        """Everything the plan may ask for, most first. Raises BadInputError for a wish no memory could grant."""
        check_wish(self.model, self.wish)
        least: Rung | None = None
        for ask in dict.fromkeys(self._asks()):
            rung = self._rung(ask)
            if rung is not None:
                least = rung
                yield rung
        if least is not None and self.relaxed and self.backend is Backend.CUDA:  # all wishes give way before
            yield replace(least, graphs=False)

    def between(self, more: Rung, less: Rung, max_model_len: int) -> Rung | None:
        """`less` with another context; None unless `more` differs from it in nothing but the context."""
        return self._resized(less, max_model_len) if self._resized(more, less.max_model_len) == less else None

    def refusal(self) -> BadInputError:
        """What to say where there is no rung at all: the least that was asked for is longer than the context."""
        vision, wish, known = self.model.vision, self.wish, self.model.max_position_embeddings
        fewest = self._images()[1]
        pictures = fewest * vision.most_tokens_of_any_picture(self._pixels()[-1]) if vision and fewest else 0
        parts = {
            f"{fewest} picture{'s' * (fewest > 1)}": pictures,
            "prompt": wish.prompt_tokens or LEAST_PROMPT_TOKENS,
            "answer": wish.answer_tokens or LEAST_ANSWER_TOKENS,
        }
        needed = sum(parts.values())
        told = ", ".join(f"{name} {tokens:,}" for name, tokens in parts.items() if tokens)
        return BadInputError(
            f"What you ask of {self.model.name} takes a context of {needed:,} tokens ({told}), more than "
            + (f"the {wish.max_model_len:,} asked for." if wish.max_model_len else f"the {known:,} that it knows."),
            f"Ask for a context of at least {needed:,}, or for less." if needed <= known else "Ask for less of these.",
        )

    def _resized(self, rung: Rung, max_model_len: int) -> Rung | None:
        asked = (rung.concurrency, rung.images, rung.videos, rung.image_max_pixels, rung.fp8_cache)
        return self._rung(_Ask(max_model_len, *asked))

    def _asks(self) -> Iterator["_Ask"]:
        contexts, concurrencies, pixels = self._contexts(), self._concurrencies(), self._pixels()
        images, fewest, videos = self._images()
        ask = _Ask(contexts[0], concurrencies[0], images, videos, pixels[0])
        comfortable = [length for length in contexts if length >= self._least_comfortable]
        whole = [length for length in comfortable if self._grants_all(ask, length)] or contexts[:1]
        short = [length for length in comfortable if length < whole[-1] and self._grants_some(ask, length)]
        tight = [length for length in contexts if length < (short or whole)[-1]]
        eight_bit = [length for length in tight if COMFORTABLE_CONTEXT <= length < self._least_comfortable]
        yield ask
        if self._length_counts_most:
            for count in concurrencies[1:]:
                ask = replace(ask, concurrency=count)
                yield ask
            concurrencies = concurrencies[-1:]
        for length in whole[1:]:
            ask = replace(ask, max_model_len=length)
            yield ask
        for count in concurrencies[1:]:
            ask = replace(ask, concurrency=count)
            yield ask
        for length in short:
            ask = replace(ask, max_model_len=length)
            yield ask
        if self.fp8_cache:
            ask = replace(ask, fp8_cache=True)
            yield ask
            for length in eight_bit:
                ask = replace(ask, max_model_len=length)
                yield ask
        ask = replace(ask, videos=0)
        yield ask
        ask = replace(ask, images=fewest)
        yield ask
        for limit in pixels[1:]:
            yield replace(ask, image_max_pixels=limit)
        ask = replace(ask, image_max_pixels=pixels[-1])
        for length in tight:
            yield replace(ask, max_model_len=length)

    @property
    def _least_comfortable(self) -> int:
        """The shortest context for whose sake nothing else is given up yet."""
        return LEAST_SIXTEEN_BIT_CONTEXT if self.fp8_cache and self._length_counts_most else COMFORTABLE_CONTEXT

    @property
    def _length_counts_most(self) -> bool:
        """Whether requests at once, unless asked for, are given up before any of the context."""
        wish = self.wish
        return wish.workload is Workload.API or (wish.max_model_len is not None and wish.concurrency is None)

    def _grants_all(self, ask: "_Ask", length: int) -> bool:
        """Whether a context of this length holds the prompt, answer and pictures that were asked for, if any were."""
        wished = self.wish.prompt_tokens or self.wish.answer_tokens or self._pictures_tokens()
        strict = replace(self, relaxed=False)
        return not wished or strict._rung(replace(ask, max_model_len=length)) is not None

    def _grants_some(self, ask: "_Ask", length: int) -> bool:
        return self.relaxed and self._rung(replace(ask, max_model_len=length)) is not None

    def _rung(self, ask: "_Ask") -> Rung | None:
        """The context as one budget; None if pictures, prompt and answer do not all find room in it."""
        vision, wish = self.model.vision, self.wish
        visual = clip = 0
        clip_pixels = None
        if vision is not None and ask.images:
            visual = vision.most_tokens_of_any_picture(ask.image_max_pixels)
            if ask.videos and ask.image_max_pixels is not None:
                clip_pixels = vision.clip_max_pixels(CLIP_FRAMES, ask.image_max_pixels)
            if clip_pixels is not None:
                clip = vision.most_tokens_of_any_clip(CLIP_FRAMES, clip_pixels)
        left = ask.max_model_len - max(ask.images * visual, clip)
        asked_prompt, asked_answer = wish.prompt_tokens, wish.answer_tokens
        if self.relaxed:
            asked_answer = asked_answer and min(asked_answer, max(LEAST_ANSWER_TOKENS, left // 2))
            asked_prompt = asked_prompt and min(asked_prompt, left - (asked_answer or left // 8))
        spare = left - (asked_prompt or LEAST_PROMPT_TOKENS)
        half = max(LEAST_ANSWER_TOKENS, (left - (asked_prompt or 0)) // 2)
        answer = asked_answer or min(self._answer_tokens(), half, spare)
        prompt = asked_prompt or left - answer
        useful = (asked_prompt or prompt >= LEAST_PROMPT_TOKENS) and (asked_answer or answer >= LEAST_ANSWER_TOKENS)
        if not useful or prompt <= 0 or prompt + answer > left:
            return None
        return Rung(
            max_model_len=ask.max_model_len,
            concurrency=ask.concurrency,
            images=ask.images,
            videos=ask.videos if clip else 0,
            image_max_pixels=ask.image_max_pixels if visual else None,
            visual_tokens=visual,
            clip_tokens=clip,
            video_max_pixels=clip_pixels,
            prompt_tokens=prompt,
            answer_tokens=answer,
            fp8_cache=ask.fp8_cache,
        )

    @property
    def _liking(self) -> Liking:
        return LIKINGS[self.wish.workload]

    def _answer_tokens(self) -> int:
        most = self._liking.answer_tokens
        return most if self.model.thinks else min(most, 1024)

    def _contexts(self) -> list[int]:
        wish, known = self.wish, self.model.max_position_embeddings
        if wish.max_model_len:
            return (
                _halvings(wish.max_model_len, min(wish.max_model_len, LEAST_CONTEXT))
                if self.relaxed
                else [wish.max_model_len]
            )
        liked = self._liking.context or known
        if self.backend is Backend.CPU and wish.workload is not Workload.API:
            liked = min(liked, MOST_CPU_CONTEXT)
        needed = (wish.prompt_tokens or 0) + (wish.answer_tokens or 0) + self._pictures_tokens()
        most = min(known, max(liked, _up_to_power_of_two(2 * needed)))
        return _halvings(most, min(most, LEAST_CONTEXT))

    def _pictures_tokens(self) -> int:
        """Of the pictures of one request; only where the person said how many or how large."""
        vision, wish = self.model.vision, self.wish
        if vision is None or (wish.image_max_pixels is None and wish.images_per_request is None):
            return 0
        return self._images()[0] * vision.most_tokens_of_any_picture(self._pixels()[0])

    def _concurrencies(self) -> list[int]:
        wished = self.wish.concurrency
        if wished is not None and not self.relaxed:
            return [wished]
        return _halvings(wished or self._liking.concurrency, 1)

    def _images(self) -> tuple[int, int, int]:
        """Pictures of one request as liked and as the fewest, and clips."""
        model, wished = self.model, self.wish.images_per_request
        if model.vision is None or wished == 0 or model.images_per_prompt == 0:
            return 0, 0, 0
        liked = self._liking.images
        images = model.images_per_prompt if liked is None else min(liked, model.images_per_prompt)
        if wished is not None:
            images = wished
        fewest = images if wished is not None and not self.relaxed else min(images, 1)
        return images, fewest, model.videos_per_prompt if self._liking.clips and self.clips else 0

    def _pixels(self) -> list[int | None]:
        """Picture sizes to try, largest first; [None] where no limit can be set."""
        vision, wished = self.model.vision, self.wish.image_max_pixels
        limits = vision.pixel_limits() if vision is not None and self._images()[0] else ()
        if vision is None or not limits:
            return [None]
        largest = vision.nearest_limit(wished or self._liking.pixels)
        if wished is not None and not self.relaxed:
            return [largest]
        return [largest, *(limit for limit in limits if limit < largest)]


@dataclass(frozen=True)
class _Ask:
    max_model_len: int
    concurrency: int
    images: int
    videos: int
    image_max_pixels: int | None
    fp8_cache: bool = False


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
        "A context of {} tokens": (wish.max_model_len, MOST_WISHED),
        "A prompt of {} tokens": (wish.prompt_tokens, MOST_WISHED),
        "An answer of {} tokens": (wish.answer_tokens, MOST_WISHED),
        "A concurrency of {}": (wish.concurrency, MOST_WISHED),
        "A picture of {} pixels": (wish.image_max_pixels, MOST_PIXELS),
    }
    for what, (size, most) in sizes.items():
        if size is not None and not 1 <= size < most:
            raise BadInputError(f"{what.format(f'{size:,}')} cannot be.", f"Ask for 1 to {most - 1:,}.")
    if wish.images_per_request is not None and not 0 <= wish.images_per_request <= 64:
        raise BadInputError(f"{wish.images_per_request} pictures in one request cannot be.", "Ask for 0 to 64.")
    if wish.max_model_len and wish.max_model_len > model.max_position_embeddings:
        raise BadInputError(
            f"{model.name} knows no more than {model.max_position_embeddings:,} positions, not {wish.max_model_len:,}.",
            f"Ask for a context of at most {model.max_position_embeddings:,}.",
        )
    if model.vision is None and wish.images_per_request != 0 and (wish.images_per_request or wish.image_max_pixels):
        unknown = f": how {model.architecture} turns them into tokens is not known" if model.unknown_vision else ""
        raise BadInputError(
            f"{model.name} takes no pictures{unknown}.",
            "Leave pictures out (`--images 0`), or name another model.",
        )
    limits = model.vision.pixel_limits() if model.vision else ()
    if wish.image_max_pixels is not None and limits and wish.image_max_pixels < limits[-1] // 64:
        raise BadInputError(
            f"Pictures of {wish.image_max_pixels:,} pixels are too small to be seen by {model.name}.",
            f"Ask for at least {limits[-1] // 64:,} pixels.",
        )

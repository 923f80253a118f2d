"""Lists the engine limits to try (context, concurrency, pictures), from the preferred to the smallest useful. Pure.

Each set of limits is a rung. A plan takes the first rung that fits. More memory never gives a smaller context: from
rung to rung the context only shrinks, and the memory that a rung needs does not depend on the available memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vedette.errors import BadInputError
from vedette.language.message import Message
from vedette.models.model import Model
from vedette.plan.plan import Backend, Wish, Workload

COMFORTABLE_CONTEXT = 2048
"""A context is made shorter than this only after concurrency and picture size are reduced."""
MIN_CONTEXT = 256
MIN_SIXTEEN_BIT_CONTEXT = 4096
"""If the context has priority, the cache changes to 8 bits before the context becomes shorter than this."""
PICTURE_PIXELS = 512 * 512
"""252 tokens for a 16:9 picture in Qwen3-VL models: words on a sign are legible, and an answer begins soon."""
CLIP_FRAMES = 8
MIN_PROMPT_TOKENS = 32
MIN_ANSWER_TOKENS = 16
MAX_WISH = 1 << 24
"""Exclusive limit of contexts, prompts, answers and concurrencies. Larger numbers are typing errors."""
MAX_WISH_PIXELS = 1 << 32
MAX_WISH_IMAGES = 64


@dataclass(frozen=True)
class Preference:
    """The limits that suit a workload if there is enough memory."""

    context: int | None
    """Tokens; None for all positions of the model."""
    concurrency: int
    images: int | None
    """Pictures in one request; None for the number that the model was trained on."""
    clips: bool
    answer_tokens: int
    pixels: int = PICTURE_PIXELS


PREFERENCES = {
    # A question, a picture of 640x480 and a short answer, for two pages.
    Workload.LIVE: Preference(2048, 2, 1, clips=False, answer_tokens=512, pixels=640 * 480),
    Workload.CLIP: Preference(4096, 1, 1, clips=True, answer_tokens=512),
    Workload.CHAT: Preference(16_384, 4, None, clips=False, answer_tokens=2048),
    Workload.API: Preference(None, 8, None, clips=True, answer_tokens=2048),
    # Enough for a live page and conversations; longer contexts have to be asked for.
    None: Preference(8192, 4, None, clips=True, answer_tokens=2048),
}
MAX_CPU_CONTEXT = 4096
"""A CPU reads prompts slowly: longer contexts have to be asked for."""


@dataclass(frozen=True)
class Rung:
    """One set of limits for the engine. Tokens, pixels and counts as in `plan.Context`."""

    max_model_len: int
    concurrency: int
    images: int
    videos: int
    image_max_pixels: int | None
    """None without pictures, or if every picture becomes the same number of tokens."""
    visual_tokens: int
    clip_tokens: int
    video_max_pixels: int | None
    prompt_tokens: int
    answer_tokens: int
    fp8_cache: bool = False
    """Whether keys and values are kept in 8 bits: twice the context, but answers may differ a little."""
    small_pieces: bool = False
    """Memory is short: the cache has 8 bits although nobody ordered it."""
    graphs: bool = True
    """Whether CUDA graphs are used on a GPU. Without them generation is many times slower."""

    @property
    def batched_tokens(self) -> int:
        """Return the most tokens that the engine reads in one step.

        Long prompts are read in pieces, smaller ones where memory is short. A picture or clip is read in one step.
        """
        pieces = 256 if self.small_pieces else max(512, min(2048, self.max_model_len // 4))
        return max(pieces, self.visual_tokens, self.clip_tokens, self.concurrency)


@dataclass(frozen=True)
class Ladder:
    """Makes the rungs for one model and wish."""

    model: Model
    wish: Wish
    backend: Backend
    fp8_cache: bool = False
    """The device supports keys and values in 8 bits."""
    clips_apart: bool = True
    """The engine can limit clips separately from pictures. Else one limit holds for a picture and for a clip."""
    fp8_ordered: bool = False
    """The checkpoint was made for keys and values in 8 bits: no rung has others."""
    relaxed: bool = False
    """The rungs may give less than the wish."""

    def rungs(self) -> Iterator[Rung]:
        """Yield the rungs, the preferred one first. Raises BadInputError if no memory could satisfy the wish."""
        check_wish(self.model, self.wish)
        least: Rung | None = None
        for ask in dict.fromkeys(self._asks()):
            rung = self._rung(ask)
            if rung is not None:
                least = rung
                yield rung
        if (
            least is not None and self.relaxed and self.backend is Backend.CUDA
        ):  # the last rung: graphs are given up after everything in the wish
            yield replace(least, graphs=False)

    def between(self, more: Rung, less: Rung, max_model_len: int) -> Rung | None:
        """Return `less` with the context `max_model_len`; None if `more` and `less` differ in more than context."""
        return self._resized(less, max_model_len) if self._resized(more, less.max_model_len) == less else None

    def refusal(self) -> BadInputError:
        """Return the error for a wish without rungs: its smallest request is longer than the context."""
        vision, wish, positions = self.model.vision, self.wish, self.model.max_position_embeddings
        images = self._images()[1]
        pictures = images * vision.most_tokens_of_any_picture(self._pixels()[-1]) if vision and images else 0
        prompt, answer = wish.prompt_tokens or MIN_PROMPT_TOKENS, wish.answer_tokens or MIN_ANSWER_TOKENS
        parts = [Message("plan.part.prompt", tokens=prompt), Message("plan.part.answer", tokens=answer)]
        if images == 1:
            parts.insert(0, Message("plan.part.picture", tokens=pictures))
        elif images:
            parts.insert(0, Message("plan.part.pictures", images=images, tokens=pictures))
        needed, model = pictures + prompt + answer, self.model.name
        if wish.max_model_len and needed <= positions:
            return BadInputError(
                "plan.request_above_context", needed=needed, parts=tuple(parts), model=model, asked=wish.max_model_len
            )
        return BadInputError(
            "plan.request_above_model", needed=needed, parts=tuple(parts), model=model, positions=positions
        )

    def _resized(self, rung: Rung, max_model_len: int) -> Rung | None:
        asked = (rung.concurrency, rung.images, rung.videos, rung.image_max_pixels, rung.fp8_cache)
        return self._rung(_Ask(max_model_len, *asked))

    def _asks(self) -> Iterator["_Ask"]:
        """Yield what the rungs ask for: each changes one limit of the one before."""
        images, fewest_images, videos = self._images()
        limits = (images, videos, self._pixels()[0], self.fp8_ordered)
        ask = _Ask(self._contexts()[0], self._concurrencies()[0], *limits)
        yield ask
        for limit, values in self._reductions(self._context_steps(ask), fewest_images):
            for value in values:
                ask = replace(ask, **{limit: value})
                yield ask

    def _reductions(self, contexts: "_ContextSteps", fewest_images: int) -> Sequence[tuple[str, Sequence[Any]]]:
        """Return the limits of an `_Ask` in the order in which they are reduced, each with its values."""
        requests = ("concurrency", self._concurrencies()[1:])
        longest = ("max_model_len", contexts.whole[1:])
        clips = ("videos", [0])
        for_clips = self.wish.workload is Workload.CLIP
        return [
            # Requests at once, and context that no prompt or answer needs: the one that counts most last.
            *([requests, longest] if self._context_counts_most else [longest, requests]),
            ("max_model_len", contexts.short),  # prompt and answer get less than was asked for
            ("fp8_cache", [True] if self.fp8_cache else []),  # answers may differ a little
            ("max_model_len", contexts.eight_bit),
            *([] if for_clips else [clips]),  # pictures still work
            ("images", [fewest_images]),
            ("image_max_pixels", self._pixels()[1:]),  # details are lost
            ("max_model_len", contexts.tight),  # conversations end early
            *([clips] if for_clips else []),  # what was asked for goes last
        ]

    def _context_steps(self, ask: "_Ask") -> "_ContextSteps":
        """Sort the contexts to try by what a request with the pictures of `ask` gets in them."""
        contexts, least = self._contexts(), self._min_comfortable
        comfortable = [length for length in contexts if length >= least]
        whole = [length for length in comfortable if self._grants_all(ask, length)] or contexts[:1]
        short = [length for length in comfortable if length < whole[-1] and self._grants_some(ask, length)]
        tight = [length for length in contexts if length < (short or whole)[-1]]
        eight_bit = [length for length in tight if COMFORTABLE_CONTEXT <= length < least]
        return _ContextSteps(whole, short, eight_bit, tight)

    @property
    def _min_comfortable(self) -> int:
        """Return the shortest context to try before anything else is reduced."""
        return MIN_SIXTEEN_BIT_CONTEXT if self.fp8_cache and self._context_counts_most else COMFORTABLE_CONTEXT

    @property
    def _context_counts_most(self) -> bool:
        """Return whether the context has priority: the concurrency is reduced before the context."""
        wish = self.wish
        return wish.workload is Workload.API or (wish.max_model_len is not None and wish.concurrency is None)

    def _grants_all(self, ask: "_Ask", length: int) -> bool:
        """Return whether a context of this length holds the prompt, answer and pictures that were asked for."""
        wished = self.wish.prompt_tokens or self.wish.answer_tokens or self._pictures_tokens()
        strict = replace(self, relaxed=False)
        return not wished or strict._rung(replace(ask, max_model_len=length)) is not None

    def _grants_some(self, ask: "_Ask", length: int) -> bool:
        return self.relaxed and self._rung(replace(ask, max_model_len=length)) is not None

    def _rung(self, ask: "_Ask") -> Rung | None:
        """Divide the context between pictures, prompt and answer; return None if they do not fit into it."""
        vision, wish = self.model.vision, self.wish
        visual = clip = 0
        clip_pixels = None
        if vision is not None and ask.images:
            visual = vision.most_tokens_of_any_picture(ask.image_max_pixels)
            if ask.videos and ask.image_max_pixels is not None:
                clip_pixels = vision.clip_max_pixels(CLIP_FRAMES if self.clips_apart else 1, ask.image_max_pixels)
            if clip_pixels is not None:
                clip = vision.most_tokens_of_any_clip(CLIP_FRAMES, clip_pixels)
        left = ask.max_model_len - max(ask.images * visual, clip)
        asked_prompt, asked_answer = wish.prompt_tokens, wish.answer_tokens
        if self.relaxed:
            asked_answer = asked_answer and min(asked_answer, max(MIN_ANSWER_TOKENS, left // 2))
            asked_prompt = asked_prompt and min(asked_prompt, left - (asked_answer or left // 8))
        spare = left - (asked_prompt or MIN_PROMPT_TOKENS)
        half = max(MIN_ANSWER_TOKENS, (left - (asked_prompt or 0)) // 2)
        answer = asked_answer or min(self._answer_tokens(), half, spare)
        prompt = asked_prompt or left - answer
        useful = (asked_prompt or prompt >= MIN_PROMPT_TOKENS) and (asked_answer or answer >= MIN_ANSWER_TOKENS)
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
            small_pieces=ask.fp8_cache and not self.fp8_ordered,
        )

    @property
    def _preference(self) -> Preference:
        return PREFERENCES[self.wish.workload]

    def _answer_tokens(self) -> int:
        most = self._preference.answer_tokens
        return most if self.model.thinks else min(most, 1024)

    def _contexts(self) -> list[int]:
        wish, known = self.wish, self.model.max_position_embeddings
        if wish.max_model_len:
            return (
                _halvings(wish.max_model_len, min(wish.max_model_len, MIN_CONTEXT))
                if self.relaxed
                else [wish.max_model_len]
            )
        preferred = self._preference.context or known
        if self.backend is Backend.CPU and wish.workload is not Workload.API:
            preferred = min(preferred, MAX_CPU_CONTEXT)
        needed = (wish.prompt_tokens or 0) + (wish.answer_tokens or 0) + self._pictures_tokens()
        most = min(known, max(preferred, _up_to_power_of_two(2 * needed)))
        return _halvings(most, min(most, MIN_CONTEXT))

    def _pictures_tokens(self) -> int:
        """Return the tokens of one request's pictures; 0 if the wish sets neither their number nor their size."""
        vision, wish = self.model.vision, self.wish
        if vision is None or (wish.image_max_pixels is None and wish.images_per_request is None):
            return 0
        return self._images()[0] * vision.most_tokens_of_any_picture(self._pixels()[0])

    def _concurrencies(self) -> list[int]:
        wished = self.wish.concurrency
        if wished is not None and not self.relaxed:
            return [wished]
        return _halvings(wished or self._preference.concurrency, 1)

    def _images(self) -> tuple[int, int, int]:
        """Return the preferred number of pictures in a request, their smallest number, and the number of clips."""
        model, wished = self.model, self.wish.images_per_request
        if model.vision is None or wished == 0 or model.images_per_prompt == 0:
            return 0, 0, 0
        preferred = self._preference.images
        images = model.images_per_prompt if preferred is None else min(preferred, model.images_per_prompt)
        if wished is not None:
            images = wished
        fewest = images if wished is not None and not self.relaxed else min(images, 1)
        return images, fewest, model.videos_per_prompt if self._preference.clips else 0

    def _pixels(self) -> list[int | None]:
        """Return the picture sizes to try, largest first; [None] where no limit can be set."""
        vision, wished = self.model.vision, self.wish.image_max_pixels
        limits = vision.pixel_limits() if vision is not None and self._images()[0] else ()
        if vision is None or not limits:
            return [None]
        preferred = self._preference.pixels
        if self.wish.workload is Workload.CLIP and not self.clips_apart and self._images()[2]:
            # The clip is what was asked for: the one limit is that of all its frames, where the model counts so.
            preferred = vision.clip_max_pixels(CLIP_FRAMES, preferred) or preferred
        largest = vision.nearest_limit(wished or preferred)
        if wished is not None and not self.relaxed:
            return [largest]
        return [largest, *(limit for limit in limits if limit < largest)]


@dataclass(frozen=True)
class _Ask:
    """The limits of a rung before its tokens are counted."""

    max_model_len: int
    concurrency: int
    images: int
    videos: int
    image_max_pixels: int | None
    fp8_cache: bool = False


@dataclass(frozen=True)
class _ContextSteps:
    """The contexts to try, in tokens, each list from the longest to the shortest."""

    whole: list[int]
    """Comfortable, and with all that was asked for. The first is the preferred context."""
    short: list[int]
    """Comfortable, with less than was asked for."""
    eight_bit: list[int]
    """Comfortable only with keys and values in 8 bits."""
    tight: list[int]
    """All shorter ones."""


def _halvings(most: int, least: int) -> list[int]:
    """Return `most`, its half, its quarter and so on, down to `least`."""
    values = [most]
    while values[-1] // 2 >= least:
        values.append(values[-1] // 2)
    return values


def _up_to_power_of_two(value: int) -> int:
    return 1 << max(0, value - 1).bit_length()


def check_wish(model: Model, wish: Wish) -> None:
    """Raise BadInputError for sizes that are not positive, absurdly large, or above the model's limits."""
    _check_sizes(wish)
    context, pixels, images = wish.max_model_len, wish.image_max_pixels, wish.images_per_request
    positions, vision = model.max_position_embeddings, model.vision
    if context and context > positions:
        raise BadInputError("plan.too_many_positions", model=model.name, positions=positions, asked=context)
    if vision is None and images != 0 and (images or pixels):
        if model.unknown_vision:
            raise BadInputError("plan.unknown_vision", model=model.name, architecture=model.architecture)
        raise BadInputError("plan.no_pictures", model=model.name)
    limits = vision.pixel_limits() if vision else ()
    if pixels is not None and limits and pixels < limits[-1] // 64:
        raise BadInputError("plan.pictures_too_small", asked=pixels, model=model.name, least=limits[-1] // 64)


def _check_sizes(wish: Wish) -> None:
    def impossible(asked: int | None, end: int) -> bool:
        return asked is not None and not 1 <= asked < end

    most = MAX_WISH - 1
    if impossible(wish.max_model_len, MAX_WISH):
        raise BadInputError("plan.impossible_context", asked=wish.max_model_len, most=most)
    if impossible(wish.prompt_tokens, MAX_WISH):
        raise BadInputError("plan.impossible_prompt", asked=wish.prompt_tokens, most=most)
    if impossible(wish.answer_tokens, MAX_WISH):
        raise BadInputError("plan.impossible_answer", asked=wish.answer_tokens, most=most)
    if impossible(wish.concurrency, MAX_WISH):
        raise BadInputError("plan.impossible_concurrency", asked=wish.concurrency, most=most)
    if impossible(wish.image_max_pixels, MAX_WISH_PIXELS):
        raise BadInputError("plan.impossible_pixels", asked=wish.image_max_pixels, most=MAX_WISH_PIXELS - 1)
    images = wish.images_per_request
    if images is not None and not 0 <= images <= MAX_WISH_IMAGES:
        raise BadInputError("plan.impossible_images", asked=images, most=MAX_WISH_IMAGES)

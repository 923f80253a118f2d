"""The gate of pictures and clips: whatever a client sends comes through here on its way to the engine.

The engine decodes what it gets, at any size, in the memory that the plan gave to the model. So only plain pictures of
at most the planned size pass as they are. Any other is decoded by the worker, which is bounded, and scaled, turned and
converted there; the engine gets what the worker makes of it.
"""

import hashlib
import operator
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from vedette.errors import BadInputError, FaultError
from vedette.plan.plan import Context
from vedette.serve.admission.media_kinds import film_container, is_animation, is_decoded, kind_of
from vedette.serve.admission.media_url import FRAMES, data_url, parse_data_url, peek_data_url
from vedette.serve.admission.worker_orders import Order, too_thin
from vedette.serve.admission.worker_process import WorkerProcess, can_decode_films
from vedette.sources.plain_picture import Picture, parse_plain, parse_plain_ends
from vedette.units import MIB

MOST_PIXELS = 2048 * 2048
"""The largest picture passed on where the plan has no limit of its own: a larger one takes longer than it is worth."""
MAX_ASPECT_RATIO = 200
"""Engines refuse thinner pictures (Qwen's processor in transformers)."""
_KEPT_BYTES = 8 * MIB
"""Of pictures that the worker has made: a conversation sends its pictures again with each question."""


@dataclass(frozen=True)
class PictureLimits:
    """What one picture may be when it reaches the engine."""

    max_pixels: int


@dataclass(frozen=True)
class ClipLimits:
    """What one clip may be when it reaches the engine."""

    max_frames: int
    max_pixels: int
    """Of each frame."""


def picture_limits(context: Context) -> PictureLimits:
    """The limits of a picture under a plan."""
    return PictureLimits(min(context.image_max_pixels or MOST_PIXELS, MOST_PIXELS))


def clip_limits(context: Context) -> ClipLimits:
    """The limits of a clip under a plan."""
    return ClipLimits(context.clip_frames, picture_limits(context).max_pixels)


class PictureGate:
    """Admits pictures and clips, whose clients take turns at the worker. One for the whole app; `close` it."""

    def __init__(self, worker: WorkerProcess | None = None) -> None:
        self._worker = worker or WorkerProcess()
        self._kept = _Kept()

    async def picture(self, data: bytes, limits: PictureLimits, client: Hashable = None) -> bytes:
        """The picture for the engine: `data` itself where it is plain and small enough, else a JPEG or PNG.

        Raises BadInputError for what cannot be used, TooLargeError for what is beyond the worker's bounds, and
        OverloadedError if too many wait for the worker.
        """
        plain = parse_plain(data)
        if plain is not None:
            if _is_thin(plain):
                raise too_thin(plain.width, plain.height, MAX_ASPECT_RATIO)
            if plain.width * plain.height <= limits.max_pixels:
                return data
        elif not is_decoded(data):
            raise BadInputError("serve.picture_of_other_kind", kind=kind_of(data))
        key = (hashlib.sha256(data).digest(), limits.max_pixels)
        kept = self._kept.get(key)
        if kept is None:
            order = Order("picture", len(data), limits.max_pixels, 1, MAX_ASPECT_RATIO)
            (kept,) = await self._worker.run(order, data, client)
            _check_made(kept, limits.max_pixels)
            self._kept.add(key, kept)
        return kept

    async def picture_url(self, url: str, limits: PictureLimits, client: Hashable = None) -> str:
        """The same for a `data:` address; `url` itself where the picture may pass as it is."""
        peek = peek_data_url(url)
        plain = parse_plain_ends(*peek) if peek else None
        if plain is not None and _may_pass(plain, limits):
            return url
        data = parse_data_url(url).parts[0]
        admitted = await self.picture(data, limits, client)
        return url if admitted is data else data_url(mime_of(admitted), [admitted])

    async def clip(self, parts: Sequence[bytes], limits: ClipLimits, client: Hashable = None) -> tuple[bytes, ...]:
        """The frames for the engine, plain pictures of one size, in order and evenly spread over the clip.

        parts: a file with an animation, or the frames, each a picture. Raises what `picture` raises.
        """
        if not limits.max_frames:
            raise BadInputError("serve.no_clips")
        order = _clip_order(parts[0], limits) if len(parts) == 1 else None
        if order is not None:
            frames = await self._worker.run(order, parts[0], client)
        else:
            each = PictureLimits(limits.max_pixels)
            frames = tuple([await self.picture(part, each, client) for part in _spread(parts, limits.max_frames)])
        sizes = {_check_made(frame, limits.max_pixels) for frame in frames}
        if len(sizes) != 1:
            raise BadInputError("serve.clip_of_several_sizes", sizes=tuple(f"{w} × {h}" for w, h in sorted(sizes)))
        return frames

    async def clip_url(self, url: str, limits: ClipLimits, client: Hashable = None) -> str:
        """The same for a `data:` address; `url` itself where all frames may pass as they are."""
        media = parse_data_url(url, is_clip=True)
        frames = await self.clip(media.parts, limits, client)
        same = media.mime == FRAMES and len(frames) == len(media.parts) and all(map(operator.is_, frames, media.parts))
        return url if same else data_url(FRAMES, frames)

    async def close(self) -> None:
        """End the worker."""
        await self._worker.close()


def mime_of(admitted: bytes) -> str:
    """The kind of a picture that the gate has admitted."""
    picture = parse_plain(admitted)
    return picture.mime if picture else "application/octet-stream"


def _may_pass(picture: Picture, limits: PictureLimits) -> bool:
    return not _is_thin(picture) and picture.width * picture.height <= limits.max_pixels


def _is_thin(picture: Picture) -> bool:
    short, long = sorted((picture.width, picture.height))
    return long > MAX_ASPECT_RATIO * short


def _check_made(frame: bytes, max_pixels: int) -> tuple[int, int]:
    """The size of a picture that the worker has made, or that has passed. Raises FaultError if it must not pass."""
    picture = parse_plain(frame)
    if picture is None or picture.width * picture.height > max_pixels:
        raise FaultError("serve.fault")
    return picture.width, picture.height


def _clip_order(data: bytes, limits: ClipLimits) -> Order | None:
    """How the worker makes frames of a file; None if it is one picture. Raises BadInputError if it cannot."""
    if is_animation(data):
        return Order("clip", len(data), limits.max_pixels, limits.max_frames, MAX_ASPECT_RATIO)
    if is_decoded(data):
        return None
    container = film_container(data)
    if container is None:
        raise BadInputError("serve.clip_of_other_kind", kind=kind_of(data))
    if not can_decode_films():
        raise BadInputError("serve.films_not_installed", kind=kind_of(data))
    return Order("film", len(data), limits.max_pixels, limits.max_frames, MAX_ASPECT_RATIO, container)


def _spread(parts: Sequence[bytes], most: int) -> Sequence[bytes]:
    """At most `most` of the parts, from the first to the last."""
    if len(parts) <= most:
        return parts
    return [parts[number * (len(parts) - 1) // max(1, most - 1)] for number in range(most)]


class _Kept:
    """What the worker has made of pictures, up to `_KEPT_BYTES`; the longest unused is dropped first."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[bytes, int]) -> bytes | None:
        """What was made of a picture; None if it is not kept."""
        made = self._made.get(key)
        if made is not None:
            self._made.move_to_end(key)
        return made

    def add(self, key: tuple[bytes, int], made: bytes) -> None:
        """Keep it."""
        self._bytes += len(made) - len(self._made.pop(key, b""))
        self._made[key] = made
        while self._bytes > _KEPT_BYTES:
            self._bytes -= len(self._made.popitem(last=False)[1])

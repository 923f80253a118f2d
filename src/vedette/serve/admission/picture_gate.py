"""The gate of pictures and clips: whatever a client sends comes through here on its way to the engine.

The engine decodes what it gets, at any size, in the memory that the plan gave to the model. So only plain pictures of
at most the planned size pass as they are.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from vedette.errors import BadInputError, TooLargeError
from vedette.plan.plan import Context
from vedette.serve.admission.media_url import FRAMES, data_url, parse_data_url
from vedette.sources.plain_picture import Picture, parse_plain

MOST_PIXELS = 2048 * 2048
"""The largest picture passed on where the plan has no limit of its own: a larger one takes longer than it is worth."""
MAX_ASPECT_RATIO = 200
"""Thinner pictures are refused by engines (Qwen's processor in transformers)."""


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
    """Admits pictures and clips. One for the whole app; `close` it."""

    async def picture(self, data: bytes, limits: PictureLimits) -> bytes:
        """The picture for the engine: `data` itself where it is plain and small enough.

        Raises BadInputError for what is no picture that can be used, TooLargeError for one that is too large.
        """
        plain = parse_plain(data)
        if plain is None:
            raise BadInputError("sources.not_a_picture")
        if plain.width * plain.height > limits.max_pixels:
            raise TooLargeError(
                "sources.picture_too_large", width=plain.width, height=plain.height, max_pixels=limits.max_pixels
            )
        _check_shape(plain)
        return data

    async def picture_url(self, url: str, limits: PictureLimits) -> str:
        """The same for a `data:` address; `url` itself where the picture may pass as it is."""
        data = parse_data_url(url).parts[0]
        admitted = await self.picture(data, limits)
        return url if admitted is data else data_url("image/jpeg", [admitted])

    async def clip(self, parts: Sequence[bytes], limits: ClipLimits) -> tuple[bytes, ...]:
        """The frames for the engine, plain pictures of one size, in order.

        parts: a file with an animation, or the frames, each a picture. Raises BadInputError for what is no clip that
        can be used, TooLargeError for one that is too large.
        """
        if not limits.max_frames:
            raise BadInputError("serve.no_clips")
        return tuple(
            [await self.picture(part, PictureLimits(limits.max_pixels)) for part in parts[: limits.max_frames]]
        )

    async def clip_url(self, url: str, limits: ClipLimits) -> str:
        """The same for a `data:` address; `url` itself where all frames may pass as they are."""
        media = parse_data_url(url)
        frames = await self.clip(media.parts, limits)
        same = media.mime == FRAMES and all(map(operator.is_, frames, media.parts)) and len(frames) == len(media.parts)
        return url if same else data_url(FRAMES, frames)

    async def close(self) -> None:
        """End what runs for the gate."""


def _check_shape(picture: Picture) -> None:
    short, long = sorted((picture.width, picture.height))
    if long > MAX_ASPECT_RATIO * short:
        raise BadInputError(
            "serve.picture_too_thin", width=picture.width, height=picture.height, max_ratio=MAX_ASPECT_RATIO
        )

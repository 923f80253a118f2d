"""Visual tokens of pictures and clips, exactly as vLLM 0.32 counts them with the model's own processor. Pure.

Limits in pixels: `max_pixels` of a picture is its area; that of a clip is in the terms of `Vision.video_max_pixels`
(`clip_max_pixels` translates). Functions that count one picture or clip raise ValueError for sizes that the
processor refuses.
"""

from typing import Any

from vedette.models.families import qwen_vl as budget
from vedette.models.families import tiles
from vedette.models.families.vision import Grid, PixelBudget, Square, Tiles, Vision

PLANNED_ASPECT_RATIO = 4
"""How many times as long as wide the pictures are whose memory is planned for."""
FRAMES_PER_SECOND = 2.0
"""Of clips, unless said otherwise; only the length of the times in words depends on it."""
LONGEST_CLIP_S = 9_999.0
"""Later times have more digits, each of them a token."""
PICTURE_AREAS = (1920 * 1080, 1280 * 720, 640 * 480, 512**2, 448**2, 384**2, 320**2, 256**2)
"""Limits worth planning with, besides the model's own, where any area can be set."""


def picture_tokens(width: int, height: int, vision: Vision, max_pixels: int | None = None) -> int:
    """Tokens that one picture takes from the context, markers included."""
    match vision:
        case PixelBudget():
            return budget.picture_tokens(width, height, vision, max_pixels)
        case Tiles():
            return tiles.tiles_tokens(width, height, vision, max_pixels)
        case Square():
            return vision.picture_tokens
        case Grid():
            return tiles.grid_tokens(width, height, vision)
    raise TypeError(f"{type(vision).__name__} does not say how pictures become tokens")


def most_picture_tokens(
    vision: Vision, max_pixels: int | None = None, aspect_ratio: float = PLANNED_ASPECT_RATIO
) -> int:
    """An upper bound of `picture_tokens` for every picture at most `aspect_ratio` times as long as wide."""
    match vision:
        case PixelBudget():
            return budget.most_picture_tokens(vision, max_pixels, aspect_ratio)
        case Tiles():
            return tiles.most_tiles_tokens(vision, max_pixels)
        case Square():
            return vision.picture_tokens
        case Grid():
            return tiles.most_grid_tokens(vision)
    raise TypeError(f"{type(vision).__name__} does not say how pictures become tokens")


def most_tokens_of_any_picture(vision: Vision, max_pixels: int | None = None) -> int:
    """An upper bound for every picture that the processor accepts, however thin."""
    return most_picture_tokens(vision, max_pixels, budget.MAX_ASPECT_RATIO)


def most_tokens_of_any_clip(vision: Vision, frames: int, max_pixels: int | None = None) -> int:
    """An upper bound for every clip that the processor accepts, however thin, and up to `LONGEST_CLIP_S` long."""
    return most_clip_tokens(vision, frames, max_pixels, budget.MAX_ASPECT_RATIO, frames / LONGEST_CLIP_S)


def clip_tokens(
    frames: int,
    width: int,
    height: int,
    vision: Vision,
    max_pixels: int | None = None,
    frames_per_second: float = FRAMES_PER_SECOND,
) -> int:
    """Tokens that a clip of so many frames takes from the context, markers and times in words included."""
    if not isinstance(vision, PixelBudget):
        raise ValueError("this model takes no clips")
    return budget.clip_tokens(frames, width, height, vision, max_pixels, frames_per_second)


def most_clip_tokens(
    vision: Vision,
    frames: int,
    max_pixels: int | None = None,
    aspect_ratio: float = PLANNED_ASPECT_RATIO,
    frames_per_second: float = FRAMES_PER_SECOND,
) -> int:
    """An upper bound of `clip_tokens` for every clip whose frames are at most `aspect_ratio` times as long as wide."""
    if not isinstance(vision, PixelBudget):
        raise ValueError("this model takes no clips")
    return budget.most_clip_tokens(vision, frames, max_pixels, aspect_ratio, frames_per_second)


def profiled_clip_tokens(
    vision: Vision,
    clips: int,
    max_model_len: int,
    image_max_pixels: int | None = None,
    video_max_pixels: int | None = None,
) -> int:
    """Visual tokens of the clip that vLLM makes room for when it starts; 0 if there are to be no clips.

    clips: how many one prompt may hold. It can be longer than any clip that will come: of the models that count
    each frame by itself, vLLM takes up to 14 frames as far as the context reaches.
    """
    if not isinstance(vision, PixelBudget) or vision.video_max_pixels is None or clips == 0:
        return 0
    return budget.profiled_clip_tokens(vision, clips, max_model_len, image_max_pixels, video_max_pixels)


def encoder_patches(vision: Vision, max_pixels: int | None = None) -> int:
    """Patches that the vision encoder computes for the largest picture up to 4:1."""
    match vision:
        case PixelBudget():
            visual = most_picture_tokens(vision, max_pixels) - budget.MARKERS
            return visual * vision.merge_size**2
        case Tiles():
            rows, columns = tiles.most_tiles(vision, max_pixels)
            return (rows * columns + 1) * (vision.image_size // vision.patch_size) ** 2
        case Square():
            return (vision.image_size // vision.patch_size) ** 2
        case Grid():
            squares = (height * width // vision.image_size**2 for height, width in vision.pinpoints)
            return (max(squares) + 1) * (vision.image_size // vision.patch_size) ** 2
    raise TypeError(f"{type(vision).__name__} does not say how pictures become tokens")


def pixel_limits(vision: Vision) -> tuple[int, ...]:
    """Limits of a picture's area worth planning with, largest first; () if every picture gets the same size."""
    match vision:
        case PixelBudget():
            smaller = (area for area in PICTURE_AREAS if vision.min_pixels <= area < vision.max_pixels)
            return (vision.max_pixels, *smaller)
        case Tiles():
            most, least = vision.longest_edge // vision.tile_edge, min(2, vision.longest_edge // vision.tile_edge)
            edges = range(vision.tile_edge * most, vision.tile_edge * (least - 1), -vision.tile_edge)
            return tuple(dict.fromkeys((vision.longest_edge**2, *(edge**2 for edge in edges))))
    return ()


def nearest_limit(vision: Vision, max_pixels: int) -> int:
    """The limit that this model's processor can keep to for `max_pixels`: its own most, or whole tiles."""
    if isinstance(vision, Tiles):
        return tiles.tiles_edge(vision, max_pixels) ** 2
    return min(max_pixels, vision.max_pixels)


def clip_max_pixels(vision: Vision, frames: int, frame_pixels: int) -> int | None:
    """The limit to set for clips so that each of `frames` frames gets up to `frame_pixels`; None without clips."""
    if not isinstance(vision, PixelBudget) or vision.video_max_pixels is None:
        return None
    return min(vision.video_max_pixels, frame_pixels * frames if vision.whole_clip else frame_pixels)


def processor_arguments(
    vision: Vision, image_max_pixels: int | None, video_max_pixels: int | None
) -> dict[str, dict[str, Any]]:
    """What `--mm-processor-kwargs` has to say so that these limits hold; {} if nothing.

    vLLM would obey a limit above the model's own too: that one is left as it is.
    """
    match vision:
        case PixelBudget():
            # The limits stand apart: a plain `max_pixels` would be taken for a whole clip as well.
            limits = [
                ("images_kwargs", image_max_pixels, vision.max_pixels),
                ("videos_kwargs", video_max_pixels, vision.video_max_pixels),
            ]
            return {
                scope: {"max_pixels": min(limit, own)}
                for scope, limit, own in limits
                if limit is not None and own is not None
            }
        case Tiles() if image_max_pixels is not None:
            # In no scope: vLLM counts the tiles by what stands outside of any.
            return {"size": {"longest_edge": tiles.tiles_edge(vision, image_max_pixels)}}
    return {}

"""Visual tokens of the Qwen-VL family: pictures and clips of any size within a budget of pixels. Pure.

Source: `smart_resize` of transformers 5.19, qwen2_vl/image_processing_qwen2_vl.py and
qwen3_vl/video_processing_qwen3_vl.py (Python's round to even included), and vLLM 0.32, qwen2_vl.py and qwen3_vl.py.
"""

import math

from vedette.models.families.vision import PixelBudget

MARKERS = 2
"""`<|vision_start|>` and `<|vision_end|>`."""
MAX_ASPECT_RATIO = 200
"""How many times as long as wide a picture may be."""
MOST_PROFILED_FRAMES = 14


def fitted_size(width: int, height: int, vision: PixelBudget, max_pixels: int | None = None) -> tuple[int, int]:
    """Width and height to which the processor resizes a picture: multiples of patch x merge, within the budget.

    max_pixels: a tighter limit than the model's own.
    Raises ValueError for pictures without area or too thin, which the processor refuses too.
    """
    least, most = vision.min_pixels, _tighter(vision.max_pixels, max_pixels)
    return _fitted(width, height, vision, (least, most))


def fitted_frame_size(
    frames: int, width: int, height: int, vision: PixelBudget, max_pixels: int | None = None
) -> tuple[int, int]:
    """Width and height to which the processor resizes every frame of a clip.

    max_pixels: a tighter limit than the model's own, in the terms of `Vision.video_max_pixels`.
    Raises ValueError for frames without area or too thin, and for a clip too short to be one.
    """
    areas = _clip_areas(vision, max_pixels)
    if not vision.whole_clip:
        if frames < 1:
            raise ValueError("a clip without frames cannot be")
        return _fitted(width, height, vision, areas)
    _check_size(width, height)
    if frames < vision.temporal_patch_size:
        raise ValueError(f"a clip of fewer than {vision.temporal_patch_size} frames is none")
    factor = vision.patch_size * vision.merge_size
    if height < factor or width < factor:
        scale = max(factor / height, factor / width)
        width, height = int(width * scale), int(height * scale)
    return _fitted(width, height, vision, areas, frames)


def picture_tokens(width: int, height: int, vision: PixelBudget, max_pixels: int | None) -> int:
    """Visual tokens of one picture and the two markers."""
    fitted_width, fitted_height = fitted_size(width, height, vision, max_pixels)
    return fitted_width * fitted_height // _token_pixels(vision) + MARKERS


def clip_tokens(
    frames: int, width: int, height: int, vision: PixelBudget, max_pixels: int | None, frames_per_second: float
) -> int:
    """Visual tokens of a clip, its markers and the times in words between them."""
    fitted_width, fitted_height = fitted_frame_size(frames, width, height, vision, max_pixels)
    pairs = _pairs(frames, vision)
    return pairs * (fitted_width * fitted_height // _token_pixels(vision)) + _clip_markers(
        frames, vision, frames_per_second
    )


def most_picture_tokens(vision: PixelBudget, max_pixels: int | None, aspect_ratio: float) -> int:
    """An upper bound of `picture_tokens` for every picture at most `aspect_ratio` times as long as wide."""
    least, most = vision.min_pixels, _tighter(vision.max_pixels, max_pixels)
    return _most_tokens(least / _token_pixels(vision), most / _token_pixels(vision), aspect_ratio) + MARKERS


def most_clip_tokens(
    vision: PixelBudget, frames: int, max_pixels: int | None, aspect_ratio: float, frames_per_second: float
) -> int:
    """An upper bound of `clip_tokens` for every clip whose frames are at most `aspect_ratio` times as long as wide."""
    least, most = (area / _token_pixels(vision) for area in _clip_areas(vision, max_pixels))
    if vision.whole_clip:
        # Frames are counted as they are once the clip is resized, and in whole pairs to see whether it must be.
        counted = _rounded_frames(frames, vision)
        least, most = least / frames, most / min(frames, counted)
        # Tiny frames are first enlarged to one token's height, and their sides cut to whole pixels.
        factor = vision.patch_size * vision.merge_size
        aspect_ratio *= factor / max(1, factor - 1)
    return _pairs(frames, vision) * _most_tokens(least, most, aspect_ratio) + _clip_markers(
        frames, vision, frames_per_second
    )


def profiled_clip_tokens(
    vision: PixelBudget, clips: int, max_model_len: int, image_max_pixels: int | None, video_max_pixels: int | None
) -> int:
    """Visual tokens of the clip that vLLM prepares its encoder for, however short the clips that will come.

    clips: how many one prompt may hold.
    """
    pictures = _tighter(vision.max_pixels, image_max_pixels)
    _, whole = _clip_areas(vision, video_max_pixels)
    most = whole // vision.temporal_patch_size if vision.whole_clip else pictures
    width, height = _fullest_size(most, vision)
    if vision.whole_clip:
        fitted = fitted_frame_size(vision.temporal_patch_size, width, height, vision, video_max_pixels)
        return math.prod(fitted) // _token_pixels(vision)
    # The older ones take what is not said of clips from the picture's limits, and as many frames as the context holds.
    limits = (vision.min_pixels, vision.max_pixels if video_max_pixels is None else video_max_pixels)
    pair = math.prod(_fitted(width, height, vision, limits)) // _token_pixels(vision)
    frames = max(1, vision.temporal_patch_size * (max_model_len // pair))
    return _pairs(max(1, min(frames // clips, MOST_PROFILED_FRAMES)), vision) * pair


def _fullest_size(area: int, vision: PixelBudget) -> tuple[int, int]:
    """Width and height, in whole tokens, of the picture with the most of them within an area."""
    tokens = max(1, area // _token_pixels(vision))
    while True:
        short = next(side for side in range(math.isqrt(tokens), 0, -1) if tokens % side == 0)
        if tokens <= MAX_ASPECT_RATIO * short**2:
            factor = vision.patch_size * vision.merge_size
            return tokens // short * factor, short * factor
        tokens -= 1


def _fitted(
    width: int, height: int, vision: PixelBudget, areas: tuple[int, int], frames: int | None = None
) -> tuple[int, int]:
    """areas: smallest and largest; of a picture, or of so many `frames` together."""
    _check_size(width, height)
    factor = vision.patch_size * vision.merge_size
    fitted_width, fitted_height = round(width / factor) * factor, round(height / factor) * factor
    least, most = areas
    area = fitted_width * fitted_height * (1 if frames is None else _rounded_frames(frames, vision))
    if area > most:
        shrink = math.sqrt((frames or 1) * width * height / most)
        fitted_width = max(factor, math.floor(width / shrink / factor) * factor)
        fitted_height = max(factor, math.floor(height / shrink / factor) * factor)
    elif area < least:
        grow = math.sqrt(least / ((frames or 1) * width * height))
        fitted_width = math.ceil(width * grow / factor) * factor
        fitted_height = math.ceil(height * grow / factor) * factor
    return fitted_width, fitted_height


def _check_size(width: int, height: int) -> None:
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture of {width}x{height} pixels has no area")
    if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise ValueError(f"a picture of {width}x{height} pixels is over {MAX_ASPECT_RATIO} times as long as wide")


def _most_tokens(least: float, most: float, aspect_ratio: float) -> int:
    """Most tokens of one picture whose area is kept between `least` and `most` tokens."""
    # A small picture is enlarged to `least` and both sides then rounded up: (a + 1)(b + 1) for a*b = least.
    ratio = math.sqrt(aspect_ratio)
    grown = math.floor(least + math.sqrt(least) * (ratio + 1 / ratio) + 1)
    # A thin one has its short side kept at one token, so that its long side alone keeps to the budget.
    thin = math.floor(math.sqrt(most * aspect_ratio))
    return max(1, math.floor(most), grown, thin)


def _tighter(own: int, limit: int | None) -> int:
    return own if limit is None else min(own, limit)


def _clip_areas(vision: PixelBudget, max_pixels: int | None) -> tuple[int, int]:
    if vision.video_max_pixels is None:
        raise ValueError("this model takes no clips")
    return vision.video_min_pixels, _tighter(vision.video_max_pixels, max_pixels)


def _token_pixels(vision: PixelBudget) -> int:
    return (vision.patch_size * vision.merge_size) ** 2


def _pairs(frames: int, vision: PixelBudget) -> int:
    return math.ceil(frames / vision.temporal_patch_size)


def _rounded_frames(frames: int, vision: PixelBudget) -> int:
    return max(1, round(frames / vision.temporal_patch_size)) * vision.temporal_patch_size


def _clip_markers(frames: int, vision: PixelBudget, frames_per_second: float) -> int:
    """Markers around the clip; with timestamps also around each pair of frames, and its time in words."""
    if not vision.timestamps:
        return MARKERS
    total = MARKERS
    for pair in range(_pairs(frames, vision)):
        first = pair * vision.temporal_patch_size
        last = min(first + vision.temporal_patch_size, frames) - 1
        text = f"<{(first + last) / 2 / frames_per_second:.1f} seconds>"
        # `<`, every digit, `.`, ` seconds` and `>`; a tokenizer that splits words makes at most one token a letter.
        total += MARKERS + (len(text) - len("seconds") if vision.knows_seconds else len(text))
    return total

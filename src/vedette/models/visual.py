"""Visual tokens of the Qwen-VL family, exactly as the processor that will run counts them."""

import math

from vedette.models.vision import Vision

PICTURE_MARKERS = 2
"""`<|vision_start|>` and `<|vision_end|>` around the visual tokens of one picture."""
MAX_ASPECT_RATIO = 200
PLANNED_ASPECT_RATIO = 4


def fitted_size(width: int, height: int, vision: Vision, max_pixels: int | None = None) -> tuple[int, int]:
    """Width and height to which the processor resizes a picture: multiples of patch x merge, within the budget.

    max_pixels: a tighter limit than the model's own.
    Raises ValueError for pictures without area or more than 200 times as long as wide, which the processor
    refuses too. Source: `smart_resize` of transformers 5.19, models/qwen2_vl/image_processing_qwen2_vl.py
    (Python's round to even included).
    """
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture of {width}x{height} pixels has no area")
    if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise ValueError(f"a picture of {width}x{height} pixels is over {MAX_ASPECT_RATIO} times as long as wide")
    factor = vision.patch_size * vision.merge_size
    most = min(vision.max_pixels, max_pixels) if max_pixels is not None else vision.max_pixels
    fitted_width, fitted_height = round(width / factor) * factor, round(height / factor) * factor
    if fitted_width * fitted_height > most:
        shrink = math.sqrt(width * height / most)
        fitted_width = max(factor, math.floor(width / shrink / factor) * factor)
        fitted_height = max(factor, math.floor(height / shrink / factor) * factor)
    elif fitted_width * fitted_height < vision.min_pixels:
        grow = math.sqrt(vision.min_pixels / (width * height))
        fitted_width = math.ceil(width * grow / factor) * factor
        fitted_height = math.ceil(height * grow / factor) * factor
    return fitted_width, fitted_height


def picture_tokens(width: int, height: int, vision: Vision, max_pixels: int | None = None) -> int:
    """Tokens that one picture takes from the context: visual tokens and the two markers."""
    fitted_width, fitted_height = fitted_size(width, height, vision, max_pixels)
    factor = vision.patch_size * vision.merge_size
    return fitted_width * fitted_height // factor**2 + PICTURE_MARKERS


def most_picture_tokens(vision: Vision, max_pixels: int | None = None) -> int:
    """An upper bound of `picture_tokens` for every picture at most four times as long as wide.

    Thinner ones can take more than their pixels say: no side gets shorter than one token.
    """
    factor = vision.patch_size * vision.merge_size
    most = min(vision.max_pixels, max_pixels) if max_pixels is not None else vision.max_pixels
    # A small picture is grown to min_pixels and both sides then rounded up: (a + 1)(b + 1) for a*b = least.
    least = vision.min_pixels / factor**2
    ratio = math.sqrt(PLANNED_ASPECT_RATIO)
    grown = math.floor(least + math.sqrt(least) * (ratio + 1 / ratio) + 1)
    return max(1, most // factor**2, grown) + PICTURE_MARKERS

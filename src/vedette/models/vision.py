"""How a model's pictures become tokens, from its config.json and processor files. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vedette.models.reader import ConfigReader

PIXEL_BUDGET_VISION = {"qwen2_vl": 14, "qwen2_5_vl": 14, "qwen3_vl": 16, "qwen3_vl_moe": 16}
"""Model types whose pictures become tokens as visual.py counts them, with their default patch size."""


@dataclass(frozen=True)
class Vision:
    """How pictures become tokens in the Qwen-VL family: patches, merged, within a budget of pixels."""

    patch_size: int
    """Pixels along one side of a patch."""
    merge_size: int
    """Patches along one side that are merged into one visual token."""
    temporal_patch_size: int
    min_pixels: int
    """Smallest picture area the processor makes, in pixels."""
    max_pixels: int
    """Largest picture area the processor lets through, in pixels."""
    hidden_size: int
    depth: int
    intermediate_size: int
    video_max_pixels: int | None = None
    """Largest area of a whole clip, frames times picture; None if the model takes no clips."""


def parse_vision(
    config: Mapping[str, Any], image: Mapping[str, Any], video: Mapping[str, Any] | None, where: str
) -> Vision | None:
    """How pictures become tokens; None for a text model and for architectures that count otherwise.

    image, video: the image and video processors' own settings (`video` is None if the model takes no clips).
    Defaults are those of transformers 5.19, `Qwen2VLImageProcessor` and `Qwen3VLVideoProcessor`.
    """
    whole = ConfigReader(config, where)
    section = whole.section("vision_config")
    model_type = whole.text("model_type")
    if section is None or model_type not in PIXEL_BUDGET_VISION:
        return None
    pictures = ConfigReader(image, "the image processor's settings")
    patch_size = section.size("patch_size", default=PIXEL_BUDGET_VISION[model_type])
    hidden_size = section.size("embed_dim" if model_type == "qwen2_vl" else "hidden_size")
    return Vision(
        patch_size=patch_size,
        merge_size=section.size("spatial_merge_size", default=2),
        temporal_patch_size=section.size("temporal_patch_size", default=2),
        min_pixels=_pixels(pictures, "min_pixels", "shortest_edge", 56 * 56),
        max_pixels=_pixels(pictures, "max_pixels", "longest_edge", 28 * 28 * 1280),
        hidden_size=hidden_size,
        depth=section.size("depth"),
        intermediate_size=section.size("intermediate_size", default=4 * hidden_size),
        video_max_pixels=None
        if video is None
        else _pixels(
            ConfigReader(video, "the video processor's settings"), "max_pixels", "longest_edge", 32 * 32 * 768
        ),
    )


def _pixels(processor: ConfigReader, name: str, edge: str, default: int) -> int:
    """A pixel limit, which older files keep by its name and newer ones, misleadingly, as an edge of `size`."""
    if processor.values.get(name) is not None:
        return processor.size(name)
    size = processor.section("size")
    return default if size is None else size.size(edge, default=default)

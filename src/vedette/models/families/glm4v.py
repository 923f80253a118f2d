"""GLM-4.1V and newer: pictures of any size, counted as clips of two frames. Pure.

Source: vLLM 0.32, glm4_1v.py; `smart_resize` of transformers 5.19, glm4v/image_processing_glm4v.py.
"""

from dataclasses import dataclass
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.models.families.family import PLANNED_ASPECT_RATIO, Family, VisionFiles
from vedette.models.families.qwen_vl import QwenVision
from vedette.models.families.tile_grid import check_area

FRAMES = 2
"""The processor's areas are those of so many frames together."""


@dataclass(frozen=True, kw_only=True)
class Glm4vVision(QwenVision):
    """Like Qwen's, but thin pictures are first enlarged until their short side is one token."""

    def fitted_size(self, width: int, height: int, max_pixels: int | None = None) -> tuple[int, int]:
        check_area(width, height)
        side = self.patch_size * self.merge_size
        if height < side or width < side:
            scale = max(side / height, side / width)
            width, height = int(width * scale), int(height * scale)
        return super().fitted_size(width, height, max_pixels)

    def most_picture_tokens(self, max_pixels: int | None = None, aspect_ratio: float = PLANNED_ASPECT_RATIO) -> int:
        side = self.patch_size * self.merge_size
        return super().most_picture_tokens(max_pixels, aspect_ratio * side / max(1, side - 1))

    def processor_arguments(self, image_max_pixels: int | None, video_max_pixels: int | None) -> dict[str, Any]:
        if image_max_pixels is None:
            return {}
        most = FRAMES * min(image_max_pixels, self.max_pixels)
        return {"size": {"shortest_edge": min(FRAMES * self.min_pixels, most), "longest_edge": most}}


def parse(files: VisionFiles) -> Glm4vVision:
    """The vision part of a GLM-4.xV model."""
    encoder, size = files.encoder, files.pictures.section("size") or files.pictures
    least, most = size.size("shortest_edge", default=112 * 112), size.size("longest_edge", default=28 * 28 * 15_000)
    if least > most:
        raise ModelCorruptError(
            "models.pixel_limits_crossed", where=files.pictures.where, min_pixels=least, max_pixels=most
        )
    hidden_size = encoder.size("hidden_size", default=1536)
    return Glm4vVision(
        patch_size=encoder.size("patch_size", default=14),
        merge_size=encoder.size("spatial_merge_size", default=2),
        max_pixels=max(1, most // FRAMES),
        hidden_size=hidden_size,
        intermediate_size=encoder.size("intermediate_size", default=13_696),
        output_size=encoder.size("out_hidden_size", default=4096),
        min_pixels=max(1, -(-least // FRAMES)),
        temporal_patch_size=encoder.size("temporal_patch_size", default=2),
        timestamps=False,
    )


FAMILY = Family({"glm4v": "glm4v_text", "glm4v_moe": "glm4v_moe_text"}, parse)

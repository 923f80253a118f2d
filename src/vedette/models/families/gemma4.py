"""Gemma 4: every picture is fitted into a fixed budget of tokens. Pure.

Source: vLLM 0.32, `_compute_num_soft_tokens` of gemma4_mm.py; transformers 5.19, gemma4/image_processing_gemma4.py.
"""

import math
from dataclasses import dataclass
from typing import Any

from vedette.models.families.family import PLANNED_ASPECT_RATIO, Family, Vision, VisionFiles
from vedette.models.families.square_encoder import parse_layer_sizes
from vedette.models.families.tile_grid import check_area

BUDGETS = (1120, 560, 280, 140, 70)
"""Tokens that the processor takes as a budget, and no others."""
NEARLY = 0.8
"""140 tokens for a picture of 640 x 480 or 512 x 512."""
MARKERS = 2
"""`<|image>` and `<image|>`."""


@dataclass(frozen=True, kw_only=True)
class Gemma4Vision(Vision):
    """Pictures keep their shape, and are enlarged or shrunk to as many tokens as the budget has."""

    budget: int
    """Tokens of a picture where nobody asks for others."""

    hidden_states = 6
    bidirectional_pictures = True

    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        check_area(width, height)
        budget, side = self.limited_budget(max_pixels), self._side
        patches = (height / self.patch_size) * (width / self.patch_size)
        scale = math.sqrt(budget * self.merge_size**2 / patches)
        rows, columns = (max(side, math.floor(length * scale / side) * side) for length in (height, width))
        tokens = (rows // self.patch_size) * (columns // self.patch_size) // self.merge_size**2
        return min(tokens, budget) + MARKERS

    def most_picture_tokens(self, max_pixels: int | None = None, aspect_ratio: float = PLANNED_ASPECT_RATIO) -> int:
        return self.limited_budget(max_pixels) + MARKERS

    def encoder_patches(self, max_pixels: int | None = None) -> int:
        return self.limited_budget(max_pixels) * self.merge_size**2

    def pixel_limits(self) -> tuple[int, ...]:
        budgets = (self.budget, *(budget for budget in BUDGETS if budget < self.budget))
        return tuple(budget * self._side**2 for budget in budgets)

    def nearest_limit(self, max_pixels: int) -> int:
        """The smallest budget with nearly as many pixels: the next smaller one has half of them."""
        enough = (budget * self._side**2 for budget in (*reversed(BUDGETS), self.budget))
        fitting = (area for area in enough if area >= NEARLY * max_pixels and area <= self.max_pixels)
        return next(fitting, self.max_pixels)

    def processor_arguments(self, image_max_pixels: int | None, video_max_pixels: int | None) -> dict[str, Any]:
        return {} if image_max_pixels is None else {"max_soft_tokens": self.limited_budget(image_max_pixels)}

    def limited_budget(self, max_pixels: int | None) -> int:
        """The largest budget of the processor's whose picture has no more than `max_pixels`; at least the smallest."""
        if max_pixels is None:
            return self.budget
        fitting = (budget for budget in BUDGETS if budget <= self.budget and budget * self._side**2 <= max_pixels)
        return next(fitting, min(self.budget, BUDGETS[-1]))

    @property
    def _side(self) -> int:
        """Pixels along one side of a token."""
        return self.patch_size * self.merge_size


def parse(files: VisionFiles) -> Gemma4Vision:
    """The vision part of a Gemma 4 model."""
    patch_size, pooled = (
        files.encoder.size("patch_size", default=16),
        files.encoder.size("pooling_kernel_size", default=3),
    )
    budget = files.encoder.size("default_output_length", default=280)
    return Gemma4Vision(
        patch_size=patch_size,
        merge_size=pooled,
        max_pixels=budget * (patch_size * pooled) ** 2,
        **parse_layer_sizes(files.encoder),
        budget=budget,
    )


FAMILY = Family({"gemma4": "gemma4_text"}, parse)

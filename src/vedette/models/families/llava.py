"""LLaVA-1.5 (one square for each picture) and LLaVA-NeXT (a square and a grid of squares). Pure.

Source: vLLM 0.32, llava.py and llava_next.py; transformers 5.19, `select_best_resolution` of
image_processing_utils.py.
"""

from dataclasses import dataclass

from vedette.errors import ModelCorruptError
from vedette.models.config_reader import ConfigReader
from vedette.models.families.family import PLANNED_ASPECT_RATIO, Family, Vision, VisionFiles
from vedette.models.families.square_encoder import MAX_IMAGE_SIZE, SquareVision, parse_layer_sizes, parse_square

MAX_PINPOINTS = 256
DEFAULT_PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


@dataclass(frozen=True, kw_only=True)
class LlavaVision(SquareVision):
    """LLaVA-1.5: every picture becomes one square."""


@dataclass(frozen=True, kw_only=True)
class LlavaNextVision(Vision):
    """LLaVA-NeXT: one square of the whole picture, and a grid of squares of the best-fitting shape."""

    image_size: int
    """Pixels along one side of a square."""
    pinpoints: tuple[tuple[int, int], ...]
    """Heights and widths, in pixels, of the grids that a picture may be fitted into."""
    square_tokens: int
    """Tokens of the whole picture's square."""

    hidden_states = 4

    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        """Tokens of the whole picture and of the grid's patches, its padding left out."""
        if width <= 0 or height <= 0:
            raise ValueError(f"a picture of {width}x{height} pixels has no area")
        rows, columns = self._grid_patches(*self._best_pinpoint(width, height))
        if width / height > columns / rows:
            rows -= 2 * ((rows - int(round(height * (columns / width), 7))) // 2)
        else:
            columns -= 2 * ((columns - int(round(width * (rows / height), 7))) // 2)
        return rows * columns + rows + self.square_tokens

    def most_picture_tokens(self, max_pixels: int | None = None, aspect_ratio: float = PLANNED_ASPECT_RATIO) -> int:
        """Every patch of the largest grid, and one token at the end of each row."""
        grids = (self._grid_patches(height, width) for height, width in self.pinpoints)
        return max(rows * columns + rows for rows, columns in grids) + self.square_tokens

    def encoder_patches(self, max_pixels: int | None = None) -> int:
        squares = max(height * width // self.image_size**2 for height, width in self.pinpoints)
        return (squares + 1) * (self.image_size // self.patch_size) ** 2

    def pixel_limits(self) -> tuple[int, ...]:
        return ()

    def _grid_patches(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches of a grid with these sides in pixels."""
        side = self.image_size // self.patch_size
        return side * (height // self.image_size), side * (width // self.image_size)

    def _best_pinpoint(self, width: int, height: int) -> tuple[int, int]:
        """The shape that keeps the most of a picture; of equals the one that wastes the least, then the first."""

        def kept_and_wasted(pinpoint: tuple[int, int]) -> tuple[int, int]:
            fit_height, fit_width = pinpoint
            scale = min(fit_width / width, fit_height / height)
            kept = min(int(width * scale) * int(height * scale), width * height)
            return kept, kept - fit_width * fit_height

        return max(self.pinpoints, key=kept_and_wasted)


def parse(files: VisionFiles) -> Vision | None:
    """The vision part of a LLaVA model; None with another encoder than CLIP and SigLIP (Pixtral keeps the shape)."""
    kind = files.encoder.text("model_type") or "clip_vision_model"
    if kind not in {"clip_vision_model", "siglip_vision_model"}:
        return None
    clip = kind == "clip_vision_model"
    image_size, patch_size = parse_square(files.encoder, default_patch_size=32 if clip else 16)
    # CLIP puts a token for the whole picture before those of the patches; by default the first token is left out.
    tokens = (image_size // patch_size) ** 2 + clip
    if (files.config.text("vision_feature_select_strategy") or "default") == "default":
        tokens = max(1, tokens - 1)
    sizes = parse_layer_sizes(files.encoder) | {
        "patch_size": patch_size,
        "merge_size": 1,
        "max_pixels": image_size**2,
        "image_size": image_size,
    }
    if files.model_type == "llava":
        return LlavaVision(**sizes, tokens_per_picture=tokens)
    return LlavaNextVision(**sizes, pinpoints=_pinpoints(files.config, image_size), square_tokens=tokens)


def _pinpoints(config: ConfigReader, image_size: int) -> tuple[tuple[int, int], ...]:
    found = config.values.get("image_grid_pinpoints")
    if found is None:
        found = DEFAULT_PINPOINTS
    usable = isinstance(found, list) and 0 < len(found) <= MAX_PINPOINTS
    for pair in found if usable else ():
        sides = pair if isinstance(pair, list) and len(pair) == 2 else (0, 0)
        usable = usable and all(type(side) is int and image_size <= side < MAX_IMAGE_SIZE for side in sides)
    if not usable:
        raise ModelCorruptError("models.wrong_pinpoints", where=config.where)
    return tuple((height, width) for height, width in found)


FAMILY = Family({"llava": "llama", "llava_next": "llama"}, parse)

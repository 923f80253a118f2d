"""How a model's pictures become tokens, from its config.json and processor files. Pure.

Published files leave values out; the defaults here are those of the classes of transformers 5.19 that read them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.models.json_values import HINT, ConfigReader

PIXEL_BUDGET = {"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"}
TILES = {"idefics3", "smolvlm"}
MOST_PINPOINTS = 256
MOST_TILES = 64
"""In a row or column; published models have 4."""


@dataclass(frozen=True)
class Vision:
    """What every family has: the encoder, and the areas between which it sees a picture.

    Pictures of one step go through the encoder together, whatever the family (vLLM 0.32).
    """

    patch_size: int
    """Pixels along one side of a patch."""
    merge_size: int
    """Patches along one side that are merged into one visual token."""
    temporal_patch_size: int
    """Frames of a clip that are merged into one."""
    min_pixels: int
    """Smallest picture area the processor makes, in pixels."""
    max_pixels: int
    """Largest picture area the processor lets through, in pixels."""
    hidden_size: int
    depth: int
    intermediate_size: int
    video_max_pixels: int | None = None
    """Largest area of a clip as its processor takes it (`PixelBudget.whole_clip`); None if it takes no clips."""
    heads: int = 16
    output_size: int = 0
    """Elements of one visual token as the language model gets it; 0 if it is the language model's hidden size."""
    outputs: int = 1
    """Vectors of `output_size` that one visual token has: Qwen3-VL adds those of deeper layers (deepstack)."""
    window_size: int | None = None
    """Pixels along one side of the square that most layers attend within; None if all see the whole picture."""


@dataclass(frozen=True)
class PixelBudget(Vision):
    """Qwen-VL: any size, both sides rounded to whole tokens, the area kept within [min_pixels, max_pixels]."""

    video_min_pixels: int = 1
    """Smallest area of a clip, in the same terms as `video_max_pixels`."""
    whole_clip: bool = True
    """The clip's areas count all of its frames together (Qwen3-VL on), not each of them (before)."""
    timestamps: bool = True
    """Each pair of frames has markers and its time in words of its own (Qwen3-VL on)."""
    knows_seconds: bool = True
    """The tokenizer has a token for ` seconds`, as Qwen's has: times are counted exactly, not bounded."""


@dataclass(frozen=True, kw_only=True)
class Tiles(Vision):
    """Idefics3, SmolVLM: enlarged to one length, cut into tiles, and the whole picture once more as a tile."""

    longest_edge: int
    """Pixels that the longer side of every picture gets."""
    tile_edge: int
    image_size: int
    """Pixels along one side of what the encoder sees of a tile."""
    knows_markers: bool
    """The tokenizer has a token for `<row_1_col_1>` and its kind: markers are counted exactly, not bounded."""
    knows_blank_line: bool
    """Two line ends are one token."""


@dataclass(frozen=True, kw_only=True)
class Square(Vision):
    """Gemma 3, LLaVA-1.5: every picture becomes one square of the same size and the same number of tokens."""

    image_size: int
    picture_tokens: int
    """Markers included."""


@dataclass(frozen=True, kw_only=True)
class Grid(Vision):
    """LLaVA-NeXT: one square of the whole picture and a grid of squares of the best-fitting shape."""

    image_size: int
    pinpoints: tuple[tuple[int, int], ...]
    """Heights and widths, in pixels, that a picture may be fitted into."""
    square_tokens: int


def parse_vision(
    config: Mapping[str, Any],
    image: Mapping[str, Any],
    video: Mapping[str, Any] | None,
    where: str,
    tokenizer: bytes = b"",
) -> Vision | None:
    """How pictures become tokens; None for a text model and for architectures that count otherwise.

    image, video: the image and video processors' own settings (`video` is None if they are nowhere written).
    tokenizer: the text of tokenizer.json, in which a few tokens are looked for; empty if there is none.
    Raises ModelCorruptError for missing or impossible values.
    """
    whole = ConfigReader(config, where)
    section = whole.section("vision_config")
    if section is None:
        return None
    pictures = ConfigReader(image, "the image processor's settings")
    match whole.text("model_type"):
        case str(model_type) if model_type in PIXEL_BUDGET:
            # Where no video processor is described, the older ones take the image processor's limits.
            clips = image if video is None and model_type.startswith("qwen2") else video
            return _pixel_budget(model_type, section, pictures, clips, _has(tokenizer, "Ġseconds"))
        case str(model_type) if model_type in TILES:
            return _tiles(whole, section, pictures, tokenizer)
        case "gemma3":
            return _gemma3(whole, section)
        case "llava" | "llava_next" as model_type:
            return _llava(model_type, whole, section)
    return None


def _pixel_budget(
    model_type: str, section: ConfigReader, pictures: ConfigReader, video: Mapping[str, Any] | None, seconds: bool
) -> PixelBudget:
    older = model_type in {"qwen2_vl", "qwen2_5_vl"}
    patch_size = section.size("patch_size", default=14 if older else 16)
    merge_size = section.size("spatial_merge_size", default=2)
    hidden_size = section.size("embed_dim" if model_type == "qwen2_vl" else "hidden_size")
    outputs = {"qwen3_vl": 3, "qwen3_vl_moe": 3}.get(model_type, 0)
    deepstack = section.values.get("deepstack_visual_indexes")
    least, most = _areas(pictures, 56 * 56, 28 * 28 * 1280)
    factor = 28 if older else 32
    clips = None if video is None else ConfigReader(video, "the video processor's settings")
    clip_least, clip_most = (1, None) if clips is None else _areas(clips, 128 * factor**2, 768 * factor**2, older)
    return PixelBudget(
        patch_size=patch_size,
        merge_size=merge_size,
        temporal_patch_size=section.size("temporal_patch_size", default=2),
        min_pixels=least,
        max_pixels=most,
        hidden_size=hidden_size,
        depth=section.size("depth"),
        intermediate_size=section.size("intermediate_size", default=4 * hidden_size),
        video_max_pixels=clip_most,
        heads=section.size("num_heads", default=16),
        output_size=section.size("hidden_size" if model_type == "qwen2_vl" else "out_hidden_size", default=3584),
        outputs=1 + (len(deepstack) if isinstance(deepstack, list) else outputs),
        window_size=section.size("window_size", default=112) if model_type == "qwen2_5_vl" else None,
        video_min_pixels=clip_least,
        whole_clip=not older,
        timestamps=not older,
        knows_seconds=seconds,
    )


def _areas(processor: ConfigReader, least: int, most: int, named: bool = True) -> tuple[int, int]:
    """The smallest and largest area, which newer files keep, misleadingly, as edges of `size`.

    named: older names (`min_pixels`, `max_pixels`) are heeded too, and come first.
    """
    size = processor.section("size") or ConfigReader({}, processor.where)
    found = []
    for name, edge, default in (("min_pixels", "shortest_edge", least), ("max_pixels", "longest_edge", most)):
        if named and processor.values.get(name) is not None:
            found.append(processor.size(name))
        else:
            found.append(size.size(edge, default=default))
    if found[0] > found[1]:
        raise ModelCorruptError(f"{processor.where} want at least {found[0]} and at most {found[1]} pixels.", HINT)
    return found[0], found[1]


def _tiles(whole: ConfigReader, section: ConfigReader, pictures: ConfigReader, tokenizer: bytes) -> Tiles:
    image_size, patch_size = _square_sides(section, 32)
    size, tile = pictures.section("size"), pictures.section("max_image_size")
    tile_edge = 364 if tile is None else tile.size("longest_edge")
    # transformers never makes a picture longer than 4096 pixels.
    longest_edge = min(4096, 4 * 364 if size is None else size.size("longest_edge"))
    if pictures.values.get("do_image_splitting") is False:
        longest_edge = tile_edge
    if longest_edge > MOST_TILES * tile_edge:
        across = -(-longest_edge // tile_edge)
        raise ModelCorruptError(f"{pictures.where} cut pictures into {across}x{across} tiles.", HINT)
    merge_size = whole.size("scale_factor", default=2)
    if merge_size > image_size // patch_size:
        raise ModelCorruptError(f"scale_factor in {whole.where} merges more patches than a picture has.", HINT)
    return Tiles(
        patch_size=patch_size,
        merge_size=merge_size,
        temporal_patch_size=1,
        min_pixels=tile_edge**2,
        max_pixels=max(tile_edge, longest_edge) ** 2,
        hidden_size=section.size("hidden_size", default=1152),
        depth=section.size("num_hidden_layers", default=12),
        intermediate_size=section.size("intermediate_size", default=3072),
        heads=section.size("num_attention_heads", default=16),
        longest_edge=longest_edge,
        tile_edge=tile_edge,
        image_size=image_size,
        knows_markers=_has(tokenizer, "<row_1_col_1>"),
        knows_blank_line=_has(tokenizer, "ĊĊ"),
    )


def _gemma3(whole: ConfigReader, section: ConfigReader) -> Square:
    """Pan and scan, which would add crops of long pictures, is off in Gemma3ProcessorKwargs whatever files say."""
    image_size, patch_size = _square_sides(section, 16)
    tokens = whole.size("mm_tokens_per_image", default=256)
    return Square(
        patch_size=patch_size,
        merge_size=max(1, image_size // patch_size // max(1, round(tokens**0.5))),
        **_siglip_or_clip(section, image_size),
        image_size=image_size,
        # Around the tokens: <start_of_image>, <end_of_image> and a blank line, one token, on either side.
        picture_tokens=tokens + 4,
    )


def _llava(model_type: str, whole: ConfigReader, section: ConfigReader) -> Vision | None:
    kind = section.text("model_type") or "clip_vision_model"
    if kind not in {"clip_vision_model", "siglip_vision_model"}:
        return None  # Pixtral keeps the picture's shape
    clip = kind == "clip_vision_model"
    image_size, patch_size = _square_sides(section, 32 if clip else 16)
    # CLIP puts a token for the whole before those of the patches; the default is to leave the first one out.
    tokens = (image_size // patch_size) ** 2 + clip
    if (whole.text("vision_feature_select_strategy") or "default") == "default":
        tokens = max(1, tokens - 1)
    encoder = _siglip_or_clip(section, image_size)
    if model_type == "llava":
        return Square(patch_size=patch_size, merge_size=1, **encoder, image_size=image_size, picture_tokens=tokens)
    return Grid(
        patch_size=patch_size,
        merge_size=1,
        **encoder,
        image_size=image_size,
        pinpoints=_pinpoints(whole, image_size),
        square_tokens=tokens,
    )


def _siglip_or_clip(section: ConfigReader, image_size: int) -> dict[str, int]:
    return {
        "temporal_patch_size": 1,
        "min_pixels": image_size**2,
        "max_pixels": image_size**2,
        "hidden_size": section.size("hidden_size", default=768),
        "depth": section.size("num_hidden_layers", default=12),
        "intermediate_size": section.size("intermediate_size", default=3072),
        "heads": section.size("num_attention_heads", default=12),
    }


def _square_sides(section: ConfigReader, default_patch: int) -> tuple[int, int]:
    """Pixels along one side of the encoder's square and of its patches."""
    image_size, patch_size = section.size("image_size", default=224), section.size("patch_size", default=default_patch)
    if patch_size > image_size or image_size > 1 << 16:
        raise ModelCorruptError(
            f"{section.where} cuts pictures of {image_size} pixels into patches of {patch_size}.", HINT
        )
    return image_size, patch_size


def _pinpoints(whole: ConfigReader, image_size: int) -> tuple[tuple[int, int], ...]:
    found = whole.values.get("image_grid_pinpoints")
    if found is None:
        found = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    usable = isinstance(found, list) and 0 < len(found) <= MOST_PINPOINTS
    for pair in found if usable else ():
        sides = pair if isinstance(pair, list) and len(pair) == 2 else (0, 0)
        usable = usable and all(type(side) is int and image_size <= side < 1 << 16 for side in sides)
    if not usable:
        raise ModelCorruptError(f"image_grid_pinpoints in {whole.where} is no list of heights and widths.", HINT)
    return tuple((height, width) for height, width in found)


def _has(tokenizer: bytes, token: str) -> bool:
    """Whether tokenizer.json holds this token, in either way that JSON may write it."""
    escaped = "".join(letter if letter.isascii() else f"\\u{ord(letter):04x}" for letter in token)
    return any(f'"{text}"'.encode() in tokenizer for text in (token, escaped))

"""Qwen-VL: pictures and clips of any size, with limits for their areas. Pure.

Source: `smart_resize` of transformers 5.19, qwen2_vl/image_processing_qwen2_vl.py and
qwen3_vl/video_processing_qwen3_vl.py (Python's round to even included), and vLLM 0.32, qwen2_vl.py and qwen3_vl.py.
"""

import math
from dataclasses import dataclass
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.models.config_reader import ConfigReader
from vedette.models.families.family import FRAMES_PER_SECOND, PLANNED_ASPECT_RATIO, Family, Vision, VisionFiles

MARKERS = 2
"""`<|vision_start|>` and `<|vision_end|>`."""
MAX_ASPECT_RATIO = 200
MAX_PROFILED_FRAMES = 14
SMALL_PICTURE_PATCHES = 1024
"""Patches of a picture of 512x512 pixels."""
PICTURE_AREAS = (1920 * 1080, 1280 * 720, 640 * 480, 512**2, 448**2, 384**2, 320**2, 256**2)
"""Limits worth planning with, besides the model's own."""


@dataclass(frozen=True, kw_only=True)
class QwenVision(Vision):
    """Both sides are rounded to whole tokens, and the area is kept within [min_pixels, max_pixels]."""

    min_pixels: int
    """Smallest picture area that the processor makes."""
    temporal_patch_size: int
    """Frames of a clip that are merged into one."""
    video_min_pixels: int = 1
    """Smallest area of a clip, in the terms of `whole_clip`."""
    video_max_pixels: int | None = None
    """Largest area of a clip, in the terms of `whole_clip`; None if the model takes no clips."""
    whole_clip: bool = True
    """A clip's areas are those of all frames together (Qwen3-VL and newer), not of each frame (older)."""
    timestamps: bool = True
    """Each group of merged frames has its own markers and its time in words (Qwen3-VL and newer)."""
    knows_seconds: bool = True
    """The tokenizer has a token for ` seconds`, as Qwen's has: times are counted exactly, not bounded."""

    hidden_states = 5
    max_aspect_ratio = MAX_ASPECT_RATIO

    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        fitted_width, fitted_height = self.fitted_size(width, height, max_pixels)
        return fitted_width * fitted_height // self._token_pixels + MARKERS

    def most_picture_tokens(self, max_pixels: int | None = None, aspect_ratio: float = PLANNED_ASPECT_RATIO) -> int:
        least, most = self.min_pixels, _lower(self.max_pixels, max_pixels)
        return _most_tokens(least / self._token_pixels, most / self._token_pixels, aspect_ratio) + MARKERS

    def encoder_patches(self, max_pixels: int | None = None) -> int:
        return (self.most_picture_tokens(max_pixels) - MARKERS) * self.merge_size**2

    def encoder_elements(self, patches: int, pictures: int) -> int:
        elements = super().encoder_elements(patches, pictures)
        if not self.timestamps:
            return elements
        # For small pictures the interpolated positions need more memory than the layers (Qwen3-VL and newer).
        small = min(patches, pictures * SMALL_PICTURE_PATCHES)
        return max(elements, small * (3 * self.intermediate_size + 11 * self.hidden_size))

    def pixel_limits(self) -> tuple[int, ...]:
        return (self.max_pixels, *(area for area in PICTURE_AREAS if self.min_pixels <= area < self.max_pixels))

    def processor_arguments(self, image_max_pixels: int | None, video_max_pixels: int | None) -> dict[str, Any]:
        # One dictionary for each modality: a plain `max_pixels` would also limit a whole clip.
        limits = [
            ("images_kwargs", image_max_pixels, self.max_pixels),
            ("videos_kwargs", video_max_pixels, self.video_max_pixels),
        ]
        return {
            modality: {"max_pixels": min(limit, own)}
            for modality, limit, own in limits
            if limit is not None and own is not None
        }

    def joint_arguments(self, max_pixels: int) -> dict[str, Any]:
        # Newer processors read their areas from `size` alone (qwen3_vl.py of vLLM 0.11.2 and 0.15.1).
        if self.whole_clip:
            least = min(self.min_pixels, self.video_min_pixels, max_pixels)
            return {"size": {"shortest_edge": least, "longest_edge": max_pixels}}
        return {"max_pixels": max_pixels}

    @property
    def takes_clips(self) -> bool:
        return self.video_max_pixels is not None

    def clip_tokens(
        self,
        frames: int,
        width: int,
        height: int,
        max_pixels: int | None = None,
        frames_per_second: float = FRAMES_PER_SECOND,
    ) -> int:
        fitted_width, fitted_height = self.fitted_frame_size(frames, width, height, max_pixels)
        visual = self._merged_frames(frames) * (fitted_width * fitted_height // self._token_pixels)
        return visual + self._clip_markers(frames, frames_per_second)

    def most_clip_tokens(
        self,
        frames: int,
        max_pixels: int | None = None,
        aspect_ratio: float = PLANNED_ASPECT_RATIO,
        frames_per_second: float = FRAMES_PER_SECOND,
    ) -> int:
        least, most = (area / self._token_pixels for area in self._clip_areas(max_pixels))
        if self.whole_clip:
            # The processor divides the area by the frames, and compares it by frames rounded to whole groups.
            least, most = least / frames, most / min(frames, self._rounded_frames(frames))
            # Tiny frames are first enlarged to one token's height, and their sides cut to whole pixels.
            aspect_ratio *= self._token_side / max(1, self._token_side - 1)
        visual = self._merged_frames(frames) * _most_tokens(least, most, aspect_ratio)
        return visual + self._clip_markers(frames, frames_per_second)

    def profiled_clip_tokens(
        self,
        clips: int,
        max_model_len: int,
        image_max_pixels: int | None = None,
        video_max_pixels: int | None = None,
    ) -> int:
        """As in `Vision`. It can be longer than any clip that will come: of models that limit each frame by itself,
        vLLM takes up to MAX_PROFILED_FRAMES frames as far as the context reaches."""
        if not self.takes_clips or clips == 0:
            return 0
        if self.whole_clip:
            _, most = self._clip_areas(video_max_pixels)
            width, height = self._fullest_size(most // self.temporal_patch_size)
            fitted = self.fitted_frame_size(self.temporal_patch_size, width, height, video_max_pixels)
            return math.prod(fitted) // self._token_pixels
        # Older models use the picture's limits where none is set for clips.
        width, height = self._fullest_size(_lower(self.max_pixels, image_max_pixels))
        limits = (self.min_pixels, self.max_pixels if video_max_pixels is None else video_max_pixels)
        group = math.prod(self._fitted(width, height, limits)) // self._token_pixels
        frames = max(1, self.temporal_patch_size * (max_model_len // group))
        return self._merged_frames(max(1, min(frames // clips, MAX_PROFILED_FRAMES))) * group

    def clip_max_pixels(self, frames: int, frame_pixels: int) -> int | None:
        if self.video_max_pixels is None:
            return None
        return min(self.video_max_pixels, frame_pixels * frames if self.whole_clip else frame_pixels)

    def fitted_size(self, width: int, height: int, max_pixels: int | None = None) -> tuple[int, int]:
        """Width and height to which the processor resizes a picture.

        Raises ValueError for pictures without area or too thin, which the processor refuses too.
        """
        return self._fitted(width, height, (self.min_pixels, _lower(self.max_pixels, max_pixels)))

    def fitted_frame_size(self, frames: int, width: int, height: int, max_pixels: int | None = None) -> tuple[int, int]:
        """Width and height to which the processor resizes every frame of a clip.

        Raises ValueError for frames without area or too thin, and for a clip with too few frames.
        """
        areas = self._clip_areas(max_pixels)
        least_frames = self.temporal_patch_size if self.whole_clip else 1
        _check_size(width, height)
        if frames < least_frames:
            raise ValueError(f"a clip has at least {least_frames} frames, not {frames}")
        if not self.whole_clip:
            return self._fitted(width, height, areas)
        if height < self._token_side or width < self._token_side:
            scale = max(self._token_side / height, self._token_side / width)
            width, height = int(width * scale), int(height * scale)
        return self._fitted(width, height, areas, frames)

    @property
    def _token_side(self) -> int:
        """Pixels along one side of a visual token."""
        return self.patch_size * self.merge_size

    @property
    def _token_pixels(self) -> int:
        return self._token_side**2

    def _merged_frames(self, frames: int) -> int:
        return math.ceil(frames / self.temporal_patch_size)

    def _rounded_frames(self, frames: int) -> int:
        return max(1, round(frames / self.temporal_patch_size)) * self.temporal_patch_size

    def _clip_areas(self, max_pixels: int | None) -> tuple[int, int]:
        if self.video_max_pixels is None:
            raise ValueError("this model takes no clips")
        return self.video_min_pixels, _lower(self.video_max_pixels, max_pixels)

    def _fullest_size(self, area: int) -> tuple[int, int]:
        """Width and height, in pixels of whole tokens, of the picture with the most tokens within an area."""
        tokens = max(1, area // self._token_pixels)
        while True:
            short = next(side for side in range(math.isqrt(tokens), 0, -1) if tokens % side == 0)
            if tokens <= MAX_ASPECT_RATIO * short**2:
                return tokens // short * self._token_side, short * self._token_side
            tokens -= 1

    def _fitted(self, width: int, height: int, areas: tuple[int, int], frames: int | None = None) -> tuple[int, int]:
        """Width and height in whole tokens.

        areas: the smallest and largest area of a picture, or of `frames` frames together.
        """
        _check_size(width, height)
        side = self._token_side
        fitted_width, fitted_height = round(width / side) * side, round(height / side) * side
        least, most = areas
        area = fitted_width * fitted_height * (1 if frames is None else self._rounded_frames(frames))
        if area > most:
            shrink = math.sqrt((frames or 1) * width * height / most)
            fitted_width = max(side, math.floor(width / shrink / side) * side)
            fitted_height = max(side, math.floor(height / shrink / side) * side)
        elif area < least:
            grow = math.sqrt(least / ((frames or 1) * width * height))
            fitted_width = math.ceil(width * grow / side) * side
            fitted_height = math.ceil(height * grow / side) * side
        return fitted_width, fitted_height

    def _clip_markers(self, frames: int, frames_per_second: float) -> int:
        """Markers around the clip; with timestamps also around each group of frames, and its time in words."""
        if not self.timestamps:
            return MARKERS
        total = MARKERS
        for group in range(self._merged_frames(frames)):
            first = group * self.temporal_patch_size
            last = min(first + self.temporal_patch_size, frames) - 1
            text = f"<{(first + last) / 2 / frames_per_second:.1f} seconds>"
            # `<`, every digit, `.`, ` seconds` and `>`; a tokenizer that splits words makes at most one token a letter.
            total += MARKERS + (len(text) - len("seconds") if self.knows_seconds else len(text))
        return total


def _check_size(width: int, height: int) -> None:
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture of {width}x{height} pixels has no area")
    if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise ValueError(f"a picture of {width}x{height} pixels is over {MAX_ASPECT_RATIO} times as long as wide")


def _most_tokens(least: float, most: float, aspect_ratio: float) -> int:
    """Most tokens of one picture whose area is kept between `least` and `most` tokens."""
    # A small picture is enlarged to `least` and both sides are then rounded up: (a + 1)(b + 1) for a*b = least.
    ratio = math.sqrt(aspect_ratio)
    grown = math.floor(least + math.sqrt(least) * (ratio + 1 / ratio) + 1)
    # A thin picture keeps a short side of one token, so that its long side alone has to keep to the limit.
    thin = math.floor(math.sqrt(most * aspect_ratio))
    return max(1, math.floor(most), grown, thin)


def _lower(own: int, limit: int | None) -> int:
    return own if limit is None else min(own, limit)


def parse(files: VisionFiles) -> QwenVision:
    """The vision part of a Qwen-VL model, from Qwen2-VL to Qwen3.5."""
    first, older = files.model_type == "qwen2_vl", files.model_type in {"qwen2_vl", "qwen2_5_vl"}
    encoder = files.encoder
    hidden_size = encoder.size("embed_dim" if first else "hidden_size")
    min_pixels, max_pixels = _areas(files.pictures, 56 * 56, 28 * 28 * 1280)
    # Where no video processor is described, the older models use the image processor's limits.
    clips = files.pictures if files.clips is None and older else files.clips
    factor = 28 if older else 32
    clip_areas = (1, None) if clips is None else _areas(clips, 128 * factor**2, 768 * factor**2, older_names=older)
    return QwenVision(
        patch_size=encoder.size("patch_size", default=14 if older else 16),
        merge_size=encoder.size("spatial_merge_size", default=2),
        max_pixels=max_pixels,
        hidden_size=hidden_size,
        intermediate_size=encoder.size("intermediate_size", default=4 * hidden_size),
        output_size=encoder.size("hidden_size" if first else "out_hidden_size", default=3584),
        outputs=1 + _deepstack_levels(files),
        min_pixels=min_pixels,
        temporal_patch_size=encoder.size("temporal_patch_size", default=2),
        video_min_pixels=clip_areas[0],
        video_max_pixels=clip_areas[1],
        whole_clip=not older,
        timestamps=not older,
        knows_seconds=files.knows_token("Ġseconds"),
    )


def _deepstack_levels(files: VisionFiles) -> int:
    """Deeper layers whose outputs are added to each visual token."""
    indexes = files.encoder.values.get("deepstack_visual_indexes")
    if isinstance(indexes, list):
        return len(indexes)
    return 3 if files.model_type in {"qwen3_vl", "qwen3_vl_moe"} else 0


def _areas(processor: ConfigReader, least: int, most: int, *, older_names: bool = True) -> tuple[int, int]:
    """The smallest and largest area. Newer files store areas as `size.shortest_edge` and `size.longest_edge`.

    older_names: `min_pixels` and `max_pixels` are used too, and come first.
    """
    size = processor.section("size") or ConfigReader({}, processor.where)
    found = []
    for name, edge, default in (("min_pixels", "shortest_edge", least), ("max_pixels", "longest_edge", most)):
        if older_names and processor.values.get(name) is not None:
            found.append(processor.size(name))
        else:
            found.append(size.size(edge, default=default))
    if found[0] > found[1]:
        raise ModelCorruptError(
            "models.pixel_limits_crossed", where=processor.where, min_pixels=found[0], max_pixels=found[1]
        )
    return found[0], found[1]


FAMILY = Family(
    {
        "qwen2_vl": "qwen2_vl_text",
        "qwen2_5_vl": "qwen2_5_vl_text",
        "qwen3_vl": "qwen3_vl_text",
        "qwen3_vl_moe": "qwen3_vl_moe_text",
        "qwen3_5": "qwen3_5_text",
        "qwen3_5_moe": "qwen3_5_moe_text",
    },
    parse,
)

"""Visual tokens of pictures and clips, against values that the real processors gave (bench/lab/oracle_tokens.md)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.models.families.family import Vision
from vedette.models.families.gemma3 import Gemma3Vision
from vedette.models.families.idefics3 import Idefics3Vision
from vedette.models.families.llava import LlavaNextVision
from vedette.models.families.qwen_vl import MARKERS, QwenVision

QWEN3_VL = QwenVision(
    patch_size=16,
    merge_size=2,
    max_pixels=16_777_216,
    hidden_size=1024,
    intermediate_size=4096,
    min_pixels=65_536,
    temporal_patch_size=2,
    video_min_pixels=4096,
    video_max_pixels=25_165_824,
)
TINY = replace(
    QWEN3_VL,
    max_pixels=81_920,
    hidden_size=256,
    intermediate_size=1024,
    min_pixels=50_176,
    video_min_pixels=163_840,
    video_max_pixels=327_680,
)
QWEN2_5_VL = replace(
    QWEN3_VL,
    patch_size=14,
    max_pixels=12_845_056,
    hidden_size=1280,
    intermediate_size=3420,
    min_pixels=3136,
    video_min_pixels=3136,
    video_max_pixels=12_845_056,
    whole_clip=False,
    timestamps=False,
)
SMOLVLM = Idefics3Vision(
    patch_size=16,
    merge_size=4,
    max_pixels=2048**2,
    hidden_size=768,
    intermediate_size=3072,
    longest_edge=2048,
    tile_edge=512,
    image_size=512,
    knows_markers=True,
    knows_blank_line=True,
)
GEMMA3 = Gemma3Vision(
    patch_size=14,
    merge_size=4,
    max_pixels=896**2,
    hidden_size=1152,
    intermediate_size=4304,
    image_size=896,
    tokens_per_picture=260,
)
LLAVA_NEXT = LlavaNextVision(
    patch_size=14,
    merge_size=1,
    max_pixels=336**2,
    hidden_size=1024,
    intermediate_size=4096,
    image_size=336,
    pinpoints=((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)),
    square_tokens=576,
)
FAMILIES = [QWEN3_VL, TINY, QWEN2_5_VL, SMOLVLM, GEMMA3, LLAVA_NEXT]
SIDES = st.integers(min_value=1, max_value=8000)
LIMITS = st.sampled_from([None, 1024, 5000, 65_536, 81_920, 150_528, 262_144, 921_600])
FRAMES = st.integers(min_value=2, max_value=64)


@pytest.mark.parametrize(
    ("width", "height", "max_pixels", "tokens"),
    [
        (640, 480, 262_144, 234),
        (1280, 720, 262_144, 252),
        (1920, 1080, 262_144, 252),
        (448, 336, 150_528, 140),
        (672, 224, 150_528, 147),
        (4096, 4096, None, 16_384),
        (16, 16, None, 64),
    ],
)
def test_tokens_of_one_picture(width: int, height: int, max_pixels: int | None, tokens: int) -> None:
    assert QWEN3_VL.picture_tokens(width, height, max_pixels) == tokens + MARKERS


@pytest.mark.parametrize(
    ("vision", "size", "max_pixels", "tokens"),
    [
        (SMOLVLM, (640, 640), None, 16 * 66 + 4 + 67),
        (SMOLVLM, (1280, 720), None, 12 * 66 + 3 + 67),
        (SMOLVLM, (1280, 720), 512 * 512, 333),
        (SMOLVLM, (100, 101), 1024 * 1024, 4 * 66 + 2 + 67),
        (replace(SMOLVLM, knows_blank_line=False), (100, 101), 1024 * 1024, 4 * 66 + 3 + 67),
        (replace(SMOLVLM, knows_markers=False), (9, 9), 512 * 512, 392),
        (GEMMA3, (4000, 30), None, 260),
        (LLAVA_NEXT, (336, 336), None, 24 * 24 + 24 + 576),
    ],
)
def test_tokens_of_one_picture_in_other_families(
    vision: Vision, size: tuple[int, int], max_pixels: int | None, tokens: int
) -> None:
    assert vision.picture_tokens(*size, max_pixels) == tokens


@pytest.mark.parametrize(
    ("vision", "clip", "max_pixels", "tokens"),
    [
        # Four pairs of 320x224: 70 tokens, two markers and `<0.2 seconds>`; and two markers around them all.
        (QWEN3_VL, (8, 640, 480), 8 * 81_920, 4 * (70 + 2 + 6) + 2),
        # From the eleventh pair on, at 10.2 seconds, the time has a second digit.
        (QWEN3_VL, (44, 32, 32), None, 22 * (1 + 2 + 6) + 12 + 2),
        (replace(QWEN3_VL, knows_seconds=False), (2, 32, 32), None, 4 + 2 + 13 + 2),
        (QWEN2_5_VL, (3, 56, 56), None, 2 * 4 + 2),
        (QWEN2_5_VL, (8, 640, 480), 81_920, 4 * (11 * 8) + 2),
    ],
)
def test_tokens_of_a_clip(vision: Vision, clip: tuple[int, int, int], max_pixels: int | None, tokens: int) -> None:
    assert vision.clip_tokens(*clip, max_pixels) == tokens


def test_markers_beyond_the_sixth_row_and_column_are_plain_text() -> None:
    large = replace(SMOLVLM, longest_edge=4096, max_pixels=4096**2)
    known, plain = 6 * 6, 8 * 8 - 6 * 6
    markers = known + plain * len("<row_7_col_1>")
    assert large.picture_tokens(4096, 4096) == 8 * 8 * (1 + 64) + markers + 8 + 67


@pytest.mark.parametrize("size", [(1, 3), (3, 1), (1, 1)])
@pytest.mark.parametrize("vision", [QWEN3_VL, SMOLVLM, LLAVA_NEXT])
def test_a_picture_may_be_one_pixel_wide(vision: Vision, size: tuple[int, int]) -> None:
    assert vision.picture_tokens(*size) > 0


def test_sizes_round_half_to_even_as_the_processor_does() -> None:
    # 1104 / 32 is 34.5 and 1040 / 32 is 32.5: rounding half up would give 1120 x 1056.
    assert QWEN3_VL.fitted_size(1104, 1040) == (1088, 1024)


@pytest.mark.parametrize(("width", "height"), [(0, 480), (640, -1), (20_100, 100)])
@pytest.mark.parametrize("vision", [QWEN3_VL, QWEN2_5_VL])
def test_pictures_that_the_processor_refuses(width: int, height: int, vision: QwenVision) -> None:
    with pytest.raises(ValueError, match="picture"):
        vision.picture_tokens(width, height)
    with pytest.raises(ValueError, match="picture"):
        vision.clip_tokens(4, width, height)


@pytest.mark.parametrize("vision", [SMOLVLM, LLAVA_NEXT])
def test_pictures_without_area(vision: Vision) -> None:
    with pytest.raises(ValueError, match="no area"):
        vision.picture_tokens(0, 480)


@pytest.mark.parametrize(("vision", "frames"), [(QWEN3_VL, 1), (QWEN2_5_VL, 0), (GEMMA3, 8)])
def test_impossible_clips(vision: Vision, frames: int) -> None:
    with pytest.raises(ValueError, match="clip"):
        vision.clip_tokens(frames, 640, 480)


@given(width=SIDES, height=SIDES, max_pixels=LIMITS, vision=st.sampled_from(FAMILIES))
def test_no_picture_takes_more_than_was_planned(
    width: int, height: int, max_pixels: int | None, vision: Vision
) -> None:
    if max(width, height) > 200 * min(width, height):
        return
    tokens = vision.picture_tokens(width, height, max_pixels)
    assert 0 < tokens <= vision.most_tokens_of_any_picture(max_pixels)
    if max(width, height) <= 4 * min(width, height):
        assert tokens <= vision.most_picture_tokens(max_pixels)


@given(
    frames=FRAMES,
    width=SIDES,
    height=SIDES,
    max_pixels=LIMITS,
    vision=st.sampled_from([QWEN3_VL, TINY, QWEN2_5_VL]),
)
def test_no_clip_takes_more_than_was_planned(
    frames: int, width: int, height: int, max_pixels: int | None, vision: QwenVision
) -> None:
    if max(width, height) > 4 * min(width, height):
        return
    assert 0 < vision.clip_tokens(frames, width, height, max_pixels) <= vision.most_clip_tokens(frames, max_pixels)


@given(frames=FRAMES, width=SIDES, height=SIDES, vision=st.sampled_from([QWEN3_VL, TINY]))
def test_fitted_sizes_keep_to_the_limits(frames: int, width: int, height: int, vision: QwenVision) -> None:
    if max(width, height) > 4 * min(width, height):
        return
    fitted_width, fitted_height = vision.fitted_size(width, height)
    assert vision.min_pixels <= fitted_width * fitted_height <= vision.max_pixels
    frame_width, frame_height = vision.fitted_frame_size(frames, width, height)
    assert frame_width % 32 == frame_height % 32 == 0
    assert frame_width * frame_height > 0


@pytest.mark.parametrize(("size", "fitted"), [((1000, 20), (1600, 32)), ((20, 1000), (32, 1600)), ((8, 8), (64, 64))])
def test_tiny_frames_are_first_enlarged_to_one_token(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert QWEN3_VL.fitted_frame_size(2, *size) == fitted


def test_the_bound_is_reached() -> None:
    assert QWEN3_VL.most_picture_tokens(262_144) == QWEN3_VL.picture_tokens(512, 512, 262_144) == 258
    assert TINY.most_picture_tokens() == TINY.picture_tokens(320, 256) == 82
    assert SMOLVLM.most_picture_tokens() == SMOLVLM.picture_tokens(9, 9)
    assert LLAVA_NEXT.most_picture_tokens() == LLAVA_NEXT.picture_tokens(672, 672)


def test_thin_pictures_can_take_more_than_their_pixels_say() -> None:
    small = replace(QWEN3_VL, min_pixels=1024)
    assert small.picture_tokens(6400, 32, 8192) == 40 + MARKERS <= small.most_tokens_of_any_picture(8192)
    assert small.most_picture_tokens(8192) < 40


@pytest.mark.parametrize(
    ("vision", "max_pixels", "patches"),
    [
        (QWEN3_VL, 262_144, 1024),
        (QWEN3_VL, None, 65_536),
        (SMOLVLM, None, 17 * 1024),
        (SMOLVLM, 512**2, 5 * 1024),
        (GEMMA3, None, 4096),
        (LLAVA_NEXT, None, 5 * 576),
    ],
)
def test_patches_of_the_largest_picture(vision: Vision, max_pixels: int | None, patches: int) -> None:
    assert vision.encoder_patches(max_pixels) == patches


@pytest.mark.parametrize(
    ("vision", "patches", "pictures", "elements"),
    [
        (QWEN3_VL, 65_536, 1, 65_536 * (3 * 4096 + 5 * 1024)),
        # Small pictures: interpolated positions need more than the layers.
        (QWEN3_VL, 1100, 1, 1024 * (3 * 4096 + 11 * 1024)),
        (QWEN3_VL, 1000, 1, 1000 * (3 * 4096 + 11 * 1024)),
        (QWEN2_5_VL, 1000, 1, 1000 * (3 * 3420 + 5 * 1280)),
        (SMOLVLM, 1000, 1, 1000 * (3 * 3072 + 6 * 768)),
        (GEMMA3, 4096, 2, 4096 * (3 * 4304 + 1152)),
        (LLAVA_NEXT, 2880, 1, 2880 * (3 * 4096 + 4 * 1024)),
    ],
)
def test_elements_in_memory_at_the_encoders_peak(vision: Vision, patches: int, pictures: int, elements: int) -> None:
    assert vision.encoder_elements(patches, pictures) == elements


def test_limits_worth_planning_with() -> None:
    assert TINY.pixel_limits() == (81_920, 65_536)
    published = (2_073_600, 921_600, 307_200, 262_144, 200_704, 147_456, 102_400, 65_536)
    assert QWEN3_VL.pixel_limits() == (16_777_216, *published)
    assert SMOLVLM.pixel_limits() == (2048**2, 1536**2, 1024**2)
    assert GEMMA3.pixel_limits() == LLAVA_NEXT.pixel_limits() == ()


def test_processor_arguments() -> None:
    assert QWEN3_VL.processor_arguments(262_144, 524_288) == {
        "images_kwargs": {"max_pixels": 262_144},
        "videos_kwargs": {"max_pixels": 524_288},
    }
    assert QWEN3_VL.processor_arguments(262_144, None) == {"images_kwargs": {"max_pixels": 262_144}}
    assert TINY.processor_arguments(300_007, None) == {"images_kwargs": {"max_pixels": 81_920}}
    assert SMOLVLM.processor_arguments(1_500_000, None) == {"size": {"longest_edge": 1024}}
    assert SMOLVLM.processor_arguments(None, None) == GEMMA3.processor_arguments(262_144, None) == {}


def test_the_limit_of_a_clip_is_for_all_frames_or_for_each() -> None:
    assert QWEN3_VL.clip_max_pixels(8, 262_144) == 8 * 262_144
    assert TINY.clip_max_pixels(8, 262_144) == 327_680
    assert QWEN2_5_VL.clip_max_pixels(8, 262_144) == 262_144
    assert GEMMA3.clip_max_pixels(8, 262_144) is None


@pytest.mark.parametrize(
    ("vision", "clips", "context", "limits", "tokens"),
    [
        (QWEN3_VL, 1, 4096, (262_144, 8 * 262_144), 1024),
        # 251 tokens could only stand in a row, and that is too thin.
        (QWEN3_VL, 1, 4096, (None, 2 * 251 * 1024), 250),
        (QWEN2_5_VL, 1, 4096, (262_144, 262_144), 7 * 334),
        (QWEN2_5_VL, 1, 1024, (262_144, 262_144), 3 * 334),
        (QWEN2_5_VL, 3, 2048, (262_144, 262_144), 2 * 334),
        (QWEN2_5_VL, 1, 256, (262_144, 262_144), 334),
        (QWEN2_5_VL, 0, 4096, (None, None), 0),
        (GEMMA3, 1, 4096, (None, None), 0),
    ],
)
def test_the_clip_that_the_engine_profiles(
    vision: Vision, clips: int, context: int, limits: tuple[int | None, int | None], tokens: int
) -> None:
    assert vision.profiled_clip_tokens(clips, context, *limits) == tokens

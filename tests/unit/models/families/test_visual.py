"""Visual tokens of pictures and clips, against values that the real processors gave (bench/plan/oracle_tokens.md)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.models.families.qwen_vl import MARKERS, fitted_frame_size, fitted_size
from vedette.models.families.vision import Grid, PixelBudget, Square, Tiles, Vision
from vedette.models.families.visual import (
    clip_max_pixels,
    clip_tokens,
    encoder_patches,
    most_clip_tokens,
    most_picture_tokens,
    most_tokens_of_any_picture,
    picture_tokens,
    pixel_limits,
    processor_arguments,
    profiled_clip_tokens,
)

QWEN3_VL = PixelBudget(16, 2, 2, 65_536, 16_777_216, 1024, 24, 4096, 25_165_824, video_min_pixels=4096)
TINY = PixelBudget(16, 2, 2, 50_176, 81_920, 256, 6, 1024, 327_680, video_min_pixels=163_840)
QWEN2_5_VL = PixelBudget(
    14, 2, 2, 3136, 12_845_056, 1280, 32, 3420, 12_845_056, video_min_pixels=3136, whole_clip=False, timestamps=False
)
SMOLVLM = Tiles(
    patch_size=16,
    merge_size=4,
    temporal_patch_size=1,
    min_pixels=512**2,
    max_pixels=2048**2,
    hidden_size=768,
    depth=12,
    intermediate_size=3072,
    longest_edge=2048,
    tile_edge=512,
    image_size=512,
    knows_markers=True,
    knows_blank_line=True,
)
GEMMA3 = Square(14, 4, 1, 896**2, 896**2, 1152, 27, 4304, image_size=896, picture_tokens=260)
LLAVA_NEXT = Grid(
    *(14, 1, 1, 336**2, 336**2, 1024, 24, 4096),
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
    assert picture_tokens(width, height, QWEN3_VL, max_pixels) == tokens + MARKERS


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
    assert picture_tokens(*size, vision, max_pixels) == tokens


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
    assert clip_tokens(*clip, vision, max_pixels) == tokens


def test_sizes_round_half_to_even_as_the_processor_does() -> None:
    # 1104 / 32 is 34.5 and 1040 / 32 is 32.5: rounding half up would give 1120 x 1056.
    assert fitted_size(1104, 1040, QWEN3_VL) == (1088, 1024)


@pytest.mark.parametrize(("width", "height"), [(0, 480), (640, -1), (20_100, 100)])
@pytest.mark.parametrize("vision", [QWEN3_VL, QWEN2_5_VL])
def test_pictures_that_the_processor_refuses(width: int, height: int, vision: PixelBudget) -> None:
    with pytest.raises(ValueError, match="picture"):
        picture_tokens(width, height, vision)
    with pytest.raises(ValueError, match="picture"):
        clip_tokens(4, width, height, vision)


@pytest.mark.parametrize("vision", [SMOLVLM, LLAVA_NEXT])
def test_pictures_without_area(vision: Vision) -> None:
    with pytest.raises(ValueError, match="no area"):
        picture_tokens(0, 480, vision)


@pytest.mark.parametrize(("vision", "frames"), [(QWEN3_VL, 1), (QWEN2_5_VL, 0), (GEMMA3, 8)])
def test_clips_that_are_none(vision: Vision, frames: int) -> None:
    with pytest.raises(ValueError, match="clip"):
        clip_tokens(frames, 640, 480, vision)


@given(width=SIDES, height=SIDES, max_pixels=LIMITS, vision=st.sampled_from(FAMILIES))
def test_no_picture_takes_more_than_was_planned(
    width: int, height: int, max_pixels: int | None, vision: Vision
) -> None:
    if max(width, height) > 200 * min(width, height):
        return
    tokens = picture_tokens(width, height, vision, max_pixels)
    assert 0 < tokens <= most_tokens_of_any_picture(vision, max_pixels)
    if max(width, height) <= 4 * min(width, height):
        assert tokens <= most_picture_tokens(vision, max_pixels)


@given(
    frames=FRAMES,
    width=SIDES,
    height=SIDES,
    max_pixels=LIMITS,
    vision=st.sampled_from([QWEN3_VL, TINY, QWEN2_5_VL]),
)
def test_no_clip_takes_more_than_was_planned(
    frames: int, width: int, height: int, max_pixels: int | None, vision: PixelBudget
) -> None:
    if max(width, height) > 4 * min(width, height):
        return
    assert 0 < clip_tokens(frames, width, height, vision, max_pixels) <= most_clip_tokens(vision, frames, max_pixels)


@given(frames=FRAMES, width=SIDES, height=SIDES, vision=st.sampled_from([QWEN3_VL, TINY]))
def test_fitted_sizes_keep_to_the_limits(frames: int, width: int, height: int, vision: PixelBudget) -> None:
    if max(width, height) > 4 * min(width, height):
        return
    fitted_width, fitted_height = fitted_size(width, height, vision)
    assert vision.min_pixels <= fitted_width * fitted_height <= vision.max_pixels
    frame_width, frame_height = fitted_frame_size(frames, width, height, vision)
    assert frame_width % 32 == frame_height % 32 == 0
    assert frame_width * frame_height > 0


def test_the_bound_is_reached() -> None:
    assert most_picture_tokens(QWEN3_VL, 262_144) == picture_tokens(512, 512, QWEN3_VL, 262_144) == 258
    assert most_picture_tokens(TINY) == picture_tokens(320, 256, TINY) == 82
    assert most_picture_tokens(SMOLVLM) == picture_tokens(9, 9, SMOLVLM)
    assert most_picture_tokens(LLAVA_NEXT) == picture_tokens(672, 672, LLAVA_NEXT)


def test_thin_pictures_can_take_more_than_their_pixels_say() -> None:
    small = replace(QWEN3_VL, min_pixels=1024)
    assert picture_tokens(6400, 32, small, 8192) == 40 + MARKERS <= most_tokens_of_any_picture(small, 8192)
    assert most_picture_tokens(small, 8192) < 40


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
    assert encoder_patches(vision, max_pixels) == patches


def test_limits_worth_planning_with() -> None:
    assert pixel_limits(TINY) == (81_920, 65_536)
    assert pixel_limits(QWEN3_VL)[:2] == (16_777_216, 1920 * 1080)
    assert pixel_limits(SMOLVLM) == (2048**2, 1536**2, 1024**2)
    assert pixel_limits(GEMMA3) == pixel_limits(LLAVA_NEXT) == ()


def test_limits_in_the_processors_words() -> None:
    assert processor_arguments(QWEN3_VL, 262_144, 524_288) == {
        "images_kwargs": {"max_pixels": 262_144},
        "videos_kwargs": {"max_pixels": 524_288},
    }
    assert processor_arguments(QWEN3_VL, 262_144, None) == {"images_kwargs": {"max_pixels": 262_144}}
    assert processor_arguments(TINY, 300_007, None) == {"images_kwargs": {"max_pixels": 81_920}}
    assert processor_arguments(SMOLVLM, 1_500_000, None) == {"size": {"longest_edge": 1024}}
    assert processor_arguments(SMOLVLM, None, None) == processor_arguments(GEMMA3, 262_144, None) == {}


def test_the_limit_of_a_clip_is_for_all_frames_or_for_each() -> None:
    assert clip_max_pixels(QWEN3_VL, 8, 262_144) == 8 * 262_144
    assert clip_max_pixels(TINY, 8, 262_144) == 327_680
    assert clip_max_pixels(QWEN2_5_VL, 8, 262_144) == 262_144
    assert clip_max_pixels(GEMMA3, 8, 262_144) is None


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
def test_the_clip_that_the_engine_makes_room_for(
    vision: Vision, clips: int, context: int, limits: tuple[int | None, int | None], tokens: int
) -> None:
    assert profiled_clip_tokens(vision, clips, context, *limits) == tokens

"""Visual tokens of pictures, against values that the real processor and the engine's /tokenize gave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.models.vision import Vision
from vedette.models.visual import PICTURE_MARKERS, fitted_size, most_picture_tokens, picture_tokens

QWEN3_VL = Vision(
    16, 2, 2, min_pixels=65_536, max_pixels=16_777_216, hidden_size=1024, depth=24, intermediate_size=4096
)
TINY = Vision(16, 2, 2, min_pixels=50_176, max_pixels=81_920, hidden_size=256, depth=6, intermediate_size=1024)
SIDES = st.integers(min_value=1, max_value=8000)


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
    assert picture_tokens(width, height, QWEN3_VL, max_pixels) == tokens + PICTURE_MARKERS


def test_sizes_round_half_to_even_as_the_processor_does() -> None:
    # 1104 / 32 is 34.5 and 1040 / 32 is 32.5: rounding half up would give 1120 x 1056.
    assert fitted_size(1104, 1040, QWEN3_VL) == (1088, 1024)


@pytest.mark.parametrize(("width", "height"), [(0, 480), (640, -1), (20_100, 100)])
def test_pictures_that_the_processor_refuses(width: int, height: int) -> None:
    with pytest.raises(ValueError, match="picture"):
        picture_tokens(width, height, QWEN3_VL)


@given(width=SIDES, height=SIDES, max_pixels=st.sampled_from([None, 65_536, 81_920, 150_528, 262_144, 921_600]))
def test_no_picture_takes_more_than_was_planned(width: int, height: int, max_pixels: int | None) -> None:
    if max(width, height) > 4 * min(width, height):
        return
    for vision in (QWEN3_VL, TINY):
        assert picture_tokens(width, height, vision, max_pixels) <= most_picture_tokens(vision, max_pixels)


def test_the_bound_is_reached() -> None:
    assert most_picture_tokens(QWEN3_VL, 262_144) == picture_tokens(512, 512, QWEN3_VL, 262_144) == 258
    assert most_picture_tokens(TINY) == picture_tokens(320, 256, TINY) == 82

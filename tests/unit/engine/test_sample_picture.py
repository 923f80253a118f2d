"""The picture of an engine's first request, read by a library that did not make it."""

import base64
import io

import pytest
from PIL import Image

from vedette.engine.engine import sample_picture


@pytest.mark.parametrize("max_pixels", [1, 3, 100, 640 * 480, 1_003_520])
def test_the_sample_picture_uses_the_pixel_budget(max_pixels: int) -> None:
    kind, _, data = sample_picture(max_pixels).partition(",")
    assert kind == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    picture.load()
    width, height = picture.size
    assert picture.mode == "RGB"
    assert max_pixels - height < width * height <= max_pixels
    if height > 2:
        assert abs(width / height - 4 / 3) < 0.5
        assert picture.getpixel((0, 0)) != picture.getpixel((0, height - 1))

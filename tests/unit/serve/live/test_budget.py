"""No request that keeps to the plan is too long: whatever the picture, the question and the answer."""

from functools import cache
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.rig.devices import jetson
from tests.rig.models import TINY, published
from tests.rig.properties import fewer_examples
from vedette.models.families.family import LONGEST_CLIP_S
from vedette.models.families.qwen_vl import MAX_ASPECT_RATIO
from vedette.models.model import Model
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan, Wish, Workload
from vedette.serve.admission.picture_gate import picture_limits
from vedette.serve.live.answer import build_request
from vedette.serve.live.messages import Start
from vedette.sources.plain_picture import Picture
from vedette.sources.source import Frame

SEEING = (
    "Qwen3-VL-2B-Instruct",
    "Qwen2.5-VL-3B-Instruct",
    "SmolVLM-500M-Instruct",
    "gemma-3-4b-it",
    "llava-1.5-7b-hf",
)
SIDES = st.integers(1, 6000)
GIB = 1024**3


@cache
def plans(name: str) -> tuple[tuple[Plan, Model], ...]:
    """From the roomiest to the tightest that fits, for every kind of work."""
    model = TINY if name == "vedette-tiny" else published(name)
    memories = range(3 * GIB, 24 * GIB, 4 * GIB // 3)
    made = [make_plan(jetson(memory), model, Wish(work)) for work in Workload for memory in memories]
    fit = {plan.context: plan for plan in made if plan.fits and plan.context.images_per_request}
    return tuple((plan, model) for plan in fit.values())


def frame_of(width: int, height: int, max_pixels: int) -> tuple[Frame, Picture]:
    """A frame as it comes through the gate: scaled to what was asked for."""
    scale = min(1.0, (max_pixels / (width * height)) ** 0.5)
    picture = Picture("image/jpeg", max(1, int(width * scale)), max(1, int(height * scale)))
    return Frame(b"", picture.mime, 0.0), picture


def is_thin(width: int, height: int) -> bool:
    """So thin that processors refuse it."""
    return max(width, height) > MAX_ASPECT_RATIO * min(width, height)


@pytest.mark.parametrize("name", ["vedette-tiny", *SEEING])
@fewer_examples(2)
@given(width=SIDES, height=SIDES, max_tokens=st.integers(1, 1 << 20), thinking=st.booleans())
@example(width=6000, height=31, max_tokens=100_000, thinking=False)
def test_a_live_request_is_never_too_long(name: str, width: int, height: int, max_tokens: int, thinking: bool) -> None:
    assert plans(name)
    for plan, model in plans(name):
        context = plan.context
        frame, picture = frame_of(width, height, picture_limits(context).max_pixels)
        assume(not is_thin(picture.width, picture.height))
        asked: dict[str, Any] = build_request(
            Start("page", "what?", max_tokens, thinking), frame, context, model.thinks
        )
        kinds = [part["type"] for part in asked["messages"][-1]["content"]]
        assert kinds == ["image_url", "text"]
        assert model.vision is not None
        seen = model.vision.picture_tokens(picture.width, picture.height, context.image_max_pixels)
        assert seen + context.prompt_tokens + asked["max_tokens"] <= context.max_model_len


@pytest.mark.parametrize("name", ["vedette-tiny", *SEEING])
@fewer_examples(2)
@given(width=SIDES, height=SIDES, seconds=st.floats(1.0, LONGEST_CLIP_S))
@example(width=6000, height=31, seconds=LONGEST_CLIP_S)
def test_no_request_of_another_program_is_too_long_either(name: str, width: int, height: int, seconds: float) -> None:
    """As many pictures as are planned, or a clip; of any size, since the engine scales them itself."""
    assume(not is_thin(width, height))
    for plan, model in plans(name):
        context, limits = plan.context, plan.settings
        assert model.vision is not None
        seen = context.images_per_request * model.vision.picture_tokens(width, height, context.image_max_pixels)
        if limits.videos_per_prompt:
            frames, pixels = limits.video_frames, limits.video_max_pixels
            seen = max(seen, model.vision.clip_tokens(frames, width, height, pixels, frames / seconds))
        assert seen + context.prompt_tokens + context.answer_tokens <= context.max_model_len

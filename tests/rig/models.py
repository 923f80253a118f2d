"""Models that tests plan for: vedette-tiny's facts, the catalogue's, and published ones."""

import tempfile
from functools import cache
from pathlib import Path

from bench.lab.shapes import make_shape
from vedette.models.checkpoint import read_model
from vedette.models.families.qwen_vl import QwenVision
from vedette.models.model import CacheKind, CacheLayers, Model, Rotary
from vedette.models.store.model_lookup import find_model, read_facts

TINY = Model(
    name="tiny",
    path=Path("/models/tiny"),
    architecture="Qwen3VLForConditionalGeneration",
    weights_bytes=32_770_048,
    vision_weights_bytes=18_669_952,
    decode_weights_bytes=14_100_096,
    layers=6,
    hidden_size=320,
    intermediate_size=896,
    attention_heads=4,
    kv_heads=2,
    head_size=64,
    vocabulary_size=1280,
    max_position_embeddings=4096,
    dtype="bfloat16",
    tokenizer_bytes=73_839,
    vision=QwenVision(
        patch_size=16,
        merge_size=2,
        max_pixels=81_920,
        hidden_size=256,
        intermediate_size=1024,
        min_pixels=50_176,
        temporal_patch_size=2,
        video_max_pixels=327_680,
    ),
    thinks=True,
    images_per_prompt=2,
    videos_per_prompt=1,
    cache_layers=(CacheLayers(CacheKind.FULL, 6, 2, 64, 64),),
    rotary=(Rotary(4 * 4096, 64, 2, follows_context=True, spare=4),),
    text_section="text_config",
)


def catalogue_model(name: str) -> Model:
    model = read_facts(find_model(name, Path("/nowhere")))
    assert model is not None
    return model


@cache
def published(name: str) -> Model:
    """The facts of a published model, from its configuration and headers."""
    with tempfile.TemporaryDirectory() as directory:
        return read_model(make_shape(name, Path(directory, name)))

"""Families that cut pictures or have a fixed budget, counted as vLLM 0.32 counts (bench/lab/oracle_tiles.py)."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.errors import ModelCorruptError
from vedette.models.agreement import check_patches
from vedette.models.families.family import Vision
from vedette.models.families.registry import parse_vision
from vedette.models.tensors import Tensor

TOKENS = b'"<img>" "</img>" "<|image_start|>"'


def vision_of(model_type: str, pictures: dict[str, Any] | None = None, **config: Any) -> Vision:
    whole = {"model_type": model_type, "architectures": ["DeepseekOCRForCausalLM"], "vision_config": {}} | config
    vision = parse_vision(whole, pictures or {}, None, "config.json", TOKENS)
    assert vision is not None
    return vision


SIZES = [(640, 480), (1280, 720), (480, 640), (2000, 300), (64, 64), (1920, 1080)]
FAMILIES = {
    "InternVL": vision_of("internvl_chat", use_thumbnail=True, max_dynamic_patch=12),
    "InternVL, HF": vision_of("internvl", {"crop_to_patches": True, "max_patches": 12}),
    "LFM2-VL": vision_of("lfm2_vl"),
    "MiniCPM-V 4.5": vision_of("minicpmv", {"max_slice_nums": 9}, version=4.5),
    "Phi-3-vision": vision_of("phi3_v", {"num_crops": 16}),
    "Gemma 4": vision_of("gemma4"),
    "GLM-4.1V": vision_of("glm4v"),
    "DeepSeek-OCR": vision_of("deepseek_vl_v2"),
}


@pytest.mark.parametrize(
    ("name", "limit", "arguments", "counts"),
    [
        ("InternVL", None, {}, [3330, 2306, 3330, 2050, 258, 2306]),
        ("InternVL", 1_000_000, {"max_dynamic_patch": 4}, [258, 770, 770, 1282, 258, 770]),
        ("InternVL", 262_144, {"max_dynamic_patch": 1}, [258] * 6),
        ("InternVL, HF", None, {}, [3330, 2306, 3330, 2050, 258, 2306]),
        ("InternVL, HF", 1_000_000, {"max_patches": 4}, [258, 770, 770, 1282, 258, 770]),
        ("LFM2-VL", None, {}, [236, 769, 236, 2048, 66, 2311]),
        ("LFM2-VL", 1_000_000, {"min_tiles": 2, "max_tiles": 3}, [236, 769, 236, 1020, 66, 769]),
        ("LFM2-VL", 262_144, {"min_tiles": 1, "max_tiles": 1}, [236, 254, 236, 248, 66, 254]),
        ("Gemma 4", None, {}, [268, 266, 268, 260, 258, 266]),
        ("Gemma 4", 262_144, {"max_soft_tokens": 70}, [65, 68, 65, 65, 66, 68]),
        ("GLM-4.1V", None, {}, [393, 1198, 393, 783, 11, 2693]),
        (
            "GLM-4.1V",
            262_144,
            {"size": {"shortest_edge": 12_544, "longest_edge": 524_288}},
            [317, 314, 317, 331, 11, 314],
        ),
        ("DeepSeek-OCR", None, {}, [273, 483, 273, 883, 273, 483]),
        ("MiniCPM-V 4.5", None, {}, [201, 466, 202, 333, 69, 598]),
        ("MiniCPM-V 4.5", 1_000_000, {"max_slice_nums": 4}, [201, 267, 202, 333, 69, 267]),
        ("MiniCPM-V 4.5", 262_144, {"max_slice_nums": 1}, [69] * 6),
        ("Phi-3-vision", None, {}, [1921, 2353, 1933, 2485, 2509, 2353]),
        ("Phi-3-vision", 1_000_000, {"num_crops": 8}, [757, 1045, 757, 1033, 757, 1045]),
        ("Phi-3-vision", 262_144, {"num_crops": 2}, [313, 313, 313, 457, 313, 313]),
    ],
)
def test_counts_of_vllm(name: str, limit: int | None, arguments: dict[str, Any], counts: list[int]) -> None:
    vision = FAMILIES[name]
    assert vision.processor_arguments(limit, None) == arguments
    assert [vision.picture_tokens(*size, limit) for size in SIZES] == counts


@pytest.mark.parametrize("name", FAMILIES)
@given(
    width=st.integers(2, 5000),
    height=st.integers(2, 5000),
    limit=st.sampled_from([None, 30_000, 262_144, 1_000_000, 9_000_000]),
)
def test_no_picture_has_more_tokens_than_the_bound(name: str, width: int, height: int, limit: int | None) -> None:
    vision = FAMILIES[name]
    if max(width, height) / min(width, height) > min(vision.max_aspect_ratio, 190):
        return
    assert vision.picture_tokens(width, height, limit) <= vision.most_tokens_of_any_picture(limit)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_picture_without_area_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no area"):
        FAMILIES[name].picture_tokens(0, 10)


@pytest.mark.parametrize("name", FAMILIES)
def test_limits_are_smaller_and_smaller(name: str) -> None:
    vision = FAMILIES[name]
    limits = vision.pixel_limits()
    assert list(limits) == sorted(set(limits), reverse=True)
    assert [vision.nearest_limit(limit) for limit in limits] == list(limits)
    patches = [vision.encoder_patches(limit) for limit in limits]
    assert patches == sorted(patches, reverse=True)


def test_the_nearest_budget_of_gemma_4() -> None:
    vision = FAMILIES["Gemma 4"]
    assert [vision.nearest_limit(pixels) // 48**2 for pixels in (640 * 480, 512 * 512, 320 * 240, 4096**2)] == [
        140,
        140,
        70,
        280,
    ]


def test_old_minicpm_has_no_numbers() -> None:
    assert vision_of("minicpmv", {"max_slice_nums": 9}).picture_tokens(64, 64) == 66


def test_deepseek_ocr_has_two_encoders() -> None:
    vision = FAMILIES["DeepSeek-OCR"]
    names = ("model.sam_model.patch_embed.proj.weight", "model.vision_model.embeddings.patch_embedding.weight")
    shapes = ((768, 3, 16, 16), (1024, 3, 14, 14))
    check_patches(vision, {name: Tensor("BF16", shape, (0, 0)) for name, shape in zip(names, shapes, strict=True)}, "m")
    with pytest.raises(ModelCorruptError):
        check_patches(vision, {names[0]: Tensor("BF16", (768, 3, 32, 32), (0, 0))}, "m")


def test_deepseek_vl2_is_another_model() -> None:
    config = {"model_type": "deepseek_vl_v2", "architectures": ["DeepseekVLV2ForCausalLM"], "vision_config": {}}
    assert parse_vision(config, {}, None, "config.json") is None


NONSENSE: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, -1, 1, 7, "x", [], [448, 448], {}, 1.5, 0.0, True, 1 << 31, float("nan")]
)
SETTINGS = st.sampled_from(
    [
        *("max_dynamic_patch", "downsample_ratio", "version", "slice_config", "query_num", "max_tiles", "min_tiles"),
        *("tile_size", "encoder_patch_size", "downsample_factor", "max_image_tokens", "max_pixels_tolerance", "size"),
        *("max_slice_nums", "scale_resolution", "image_feature_size", "num_crops", "max_patches", "patch_size"),
    ]
)
KINDS = ["internvl_chat", "internvl", "lfm2_vl", "minicpmv", "phi3_v", "gemma4", "glm4v", "deepseek_vl_v2"]


@given(kind=st.sampled_from(KINDS), settings=st.dictionaries(SETTINGS, NONSENSE, max_size=4), encoder=NONSENSE)
def test_nonsense_is_refused_in_a_sentence_or_counted(kind: str, settings: dict[str, Any], encoder: Any) -> None:
    with contextlib.suppress(ModelCorruptError, ValueError):
        config = {"model_type": kind, "vision_config": {"patch_size": encoder}, **settings}
        vision = parse_vision(config, settings, None, "config.json")
        if vision is not None:
            assert vision.picture_tokens(640, 480) <= vision.most_tokens_of_any_picture()


def test_impossible_tiles() -> None:
    with pytest.raises(ModelCorruptError, match="tiles"):
        vision_of("internvl_chat", max_dynamic_patch=10_000)

"""How config.json and processor files become vision facts, with the values that published files leave out."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vedette
from vedette.errors import ModelCorruptError
from vedette.models.checkpoint import read_model
from vedette.models.families.gemma3 import Gemma3Vision
from vedette.models.families.idefics3 import Idefics3Vision
from vedette.models.families.llava import LlavaNextVision, LlavaVision
from vedette.models.families.qwen_vl import QwenVision
from vedette.models.families.registry import parse_vision

QWEN2_VL = {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "patch_size": 14}
QWEN2_5_VL = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 2048, "window_size": 112}
QWEN3_VL = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "out_hidden_size": 2048}
SMOLVLM = {"hidden_size": 768, "image_size": 512, "patch_size": 16, "num_attention_heads": 12}
SIGLIP = {"hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "num_hidden_layers": 27, "patch_size": 14}
CLIP = {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "num_hidden_layers": 24, "patch_size": 14}
SPLITTING = {"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}}
Settings = dict[str, Any]


def parse(
    model_type: str,
    vision: Settings | None,
    image: Settings | None = None,
    video: Settings | None = None,
    tokenizer: str = "",
    **config: Any,
) -> Any:
    values = {"model_type": model_type, "vision_config": vision, **config}
    return parse_vision(values, image or {}, video, "config.json", tokenizer.encode())


def test_qwen2_vl_limits_each_frame_by_the_limits_of_pictures() -> None:
    found = parse("qwen2_vl", QWEN2_VL, {"min_pixels": 3136, "max_pixels": 12_845_056})
    assert isinstance(found, QwenVision)
    assert (found.hidden_size, found.output_size, found.intermediate_size) == (1280, 1536, 5120)
    assert (found.video_min_pixels, found.video_max_pixels) == (3136, 12_845_056)
    assert not found.whole_clip
    assert not found.timestamps


def test_qwen2_5_vl() -> None:
    found = parse("qwen2_5_vl", QWEN2_5_VL)
    assert (found.patch_size, found.outputs, found.output_size) == (14, 1, 2048)
    assert (found.min_pixels, found.max_pixels) == (56 * 56, 28 * 28 * 1280)
    assert (found.video_min_pixels, found.video_max_pixels) == (128 * 28 * 28, 768 * 28 * 28)


def test_qwen3_vl_limits_the_whole_clip_and_has_deepstack() -> None:
    found = parse("qwen3_vl_moe", QWEN3_VL, {"size": {"shortest_edge": 65_536, "longest_edge": 16_777_216}}, {})
    assert (found.patch_size, found.outputs, found.whole_clip, found.timestamps) == (16, 4, True, True)
    assert (found.min_pixels, found.max_pixels) == (65_536, 16_777_216)
    assert (found.video_min_pixels, found.video_max_pixels) == (128 * 32 * 32, 768 * 32 * 32)
    assert parse("qwen3_vl", QWEN3_VL | {"deepstack_visual_indexes": [5]}).outputs == 2
    assert parse("qwen3_vl", QWEN3_VL).video_max_pixels is None
    assert parse("qwen3_5", QWEN3_VL).outputs == 1


def test_qwen3_vl_reads_only_the_edges_of_a_clip() -> None:
    found = parse("qwen3_vl", QWEN3_VL, video={"max_pixels": 1, "size": {"shortest_edge": 5, "longest_edge": 7}})
    assert (found.video_min_pixels, found.video_max_pixels) == (5, 7)


@pytest.mark.parametrize("tokenizer", ['{"Ġseconds": 6486}', '{"\\u0120seconds": 6486}'])
def test_tokenizers_that_know_seconds(tokenizer: str) -> None:
    assert parse("qwen3_vl", QWEN3_VL, tokenizer=tokenizer).knows_seconds
    assert not parse("qwen3_vl", QWEN3_VL, tokenizer='{"seconds": 1}').knows_seconds


def test_the_packaged_models_tokenizer_is_searched() -> None:
    found = read_model(Path(vedette.__file__).parent / "models" / "vedette-tiny").vision
    assert isinstance(found, QwenVision)
    assert found.knows_seconds
    assert (found.video_min_pixels, found.video_max_pixels, found.outputs) == (163_840, 327_680, 3)


def test_missing_values_of_smolvlm_have_defaults() -> None:
    words = '"<row_1_col_1>", "ĊĊ"'
    found = parse("idefics3", SMOLVLM, SPLITTING, tokenizer=words, scale_factor=4)
    assert isinstance(found, Idefics3Vision)
    assert (found.hidden_size, found.intermediate_size, found.merge_size) == (768, 3072, 4)
    assert (found.longest_edge, found.tile_edge, found.max_pixels) == (2048, 512, 2048**2)
    assert found.knows_markers
    assert found.knows_blank_line
    plain = parse("smolvlm", {}, scale_factor=2)
    assert (plain.longest_edge, plain.tile_edge, plain.image_size, plain.patch_size) == (1456, 364, 224, 32)
    assert not plain.knows_markers


def test_pictures_that_are_not_split() -> None:
    found = parse("idefics3", SMOLVLM, SPLITTING | {"do_image_splitting": False}, tokenizer='"<row_1_col_1>"')
    assert found.picture_tokens(4000, 3000) == (512 // 16) ** 2 // 4 + 3


def test_gemma_3() -> None:
    found = parse("gemma3", SIGLIP, {"do_pan_and_scan": True})
    assert isinstance(found, Gemma3Vision)
    assert (found.tokens_per_picture, found.merge_size, found.image_size, found.takes_clips) == (260, 4, 896, False)


def test_llava() -> None:
    found = parse("llava", CLIP)
    assert isinstance(found, LlavaVision)
    assert (found.tokens_per_picture, found.max_pixels) == (576, 336 * 336)
    assert parse("llava", CLIP, vision_feature_select_strategy="full").tokens_per_picture == 577
    following = parse("llava_next", CLIP)
    assert isinstance(following, LlavaNextVision)
    assert following.pinpoints == ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))


@pytest.mark.parametrize(
    ("model_type", "vision"),
    [("qwen3", None), ("novel_vl", QWEN3_VL), (None, QWEN3_VL), ("llava", {"model_type": "pixtral"})],
)
def test_models_of_no_family_have_no_vision(model_type: Any, vision: Settings | None) -> None:
    assert parse(model_type, vision) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ((7, QWEN3_VL), "model_type .* is 7"),
        (("qwen3_vl", QWEN3_VL | {"hidden_size": 0}), "hidden_size .* is 0"),
        (("qwen3_vl", QWEN3_VL, {"size": 3}), "size .* is not a JSON object"),
        (
            ("qwen3_vl", QWEN3_VL, {"min_pixels": 9, "max_pixels": 8}),
            r"smallest picture area \(9 pixels\) exceeds the largest \(8\)",
        ),
        (("qwen3_vl", QWEN3_VL, {}, {"size": {"longest_edge": -1}}), "longest_edge .* is -1"),
        (
            ("idefics3", SMOLVLM, {"size": {"height": 3}}),
            "longest_edge is missing in size of the image processor's settings",
        ),
        (("idefics3", SMOLVLM, {"max_image_size": {"longest_edge": 1}}), "1,456 × 1,456 tiles"),
        (("idefics3", SMOLVLM | {"patch_size": 512}), "merges"),
        (("gemma3", SIGLIP | {"patch_size": 1000}), "896 pixels cannot be cut into patches of 1,000"),
        (("llava", CLIP | {"image_size": 1 << 20}), "pictures of 1,048,576 pixels"),
        (("llava_next", CLIP), "image_grid_pinpoints"),
    ],
)
def test_an_impossible_setting_is_refused_with_a_sentence(call: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ModelCorruptError, match=message) as caught:
        parse(*call, image_grid_pinpoints=[[336, 672], [True, 5]])
    assert len(caught.value.sentence) < 300


@pytest.mark.parametrize("pinpoints", [[[336, 672, 336]], [[336]], [5], ["ab"], [], {}, [[335, 336]], [[336, 1 << 16]]])
def test_impossible_grids(pinpoints: Any) -> None:
    with pytest.raises(ModelCorruptError, match="image_grid_pinpoints"):
        parse("llava_next", CLIP, image_grid_pinpoints=pinpoints)


def test_the_smallest_grid_and_the_most_tiles() -> None:
    assert parse("llava_next", CLIP, image_grid_pinpoints=[[336, 336]]).pinpoints == ((336, 336),)
    tiles = {"size": {"longest_edge": 64 * 60}, "max_image_size": {"longest_edge": 60}}
    assert parse("idefics3", SMOLVLM, tiles).longest_edge == 64 * 60
    with pytest.raises(ModelCorruptError, match="65 × 65 tiles"):
        parse("idefics3", SMOLVLM, tiles | {"size": {"longest_edge": 65 * 60}})


FAMILIES: list[tuple[str, Settings, Settings]] = [
    ("qwen2_vl", QWEN2_VL, {"min_pixels": 3136, "max_pixels": 12_845_056}),
    ("qwen2_5_vl", QWEN2_5_VL, {"min_pixels": 3136, "max_pixels": 12_845_056}),
    ("qwen3_vl", QWEN3_VL, {"size": {"shortest_edge": 65_536, "longest_edge": 16_777_216}}),
    ("idefics3", SMOLVLM, SPLITTING),
    ("gemma3", SIGLIP, {}),
    ("llava_next", CLIP, {}),
]
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 5000),
    st.integers(0, 1 << 64),
    st.sampled_from([0.5, float("nan"), "", "full", "pixtral"]),
    st.lists(st.lists(st.integers(-1, 5000), max_size=3), max_size=3),
    st.dictionaries(st.sampled_from(["longest_edge", "shortest_edge"]), st.integers(-1, 1 << 33), max_size=2),
)
NAMES = [
    *("scale_factor", "mm_tokens_per_image", "image_grid_pinpoints", "vision_feature_select_strategy"),
    *("patch_size", "spatial_merge_size", "temporal_patch_size", "image_size", "hidden_size", "depth"),
    *("size", "max_image_size", "min_pixels", "max_pixels", "deepstack_visual_indexes", "model_type"),
]


@given(family=st.sampled_from(FAMILIES), changes=st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=4))
def test_tokens_are_counted_or_the_model_is_refused(family: tuple[str, Settings, Settings], changes: Settings) -> None:
    model_type, vision, image = copy.deepcopy(family)
    try:
        others = {name: value for name, value in changes.items() if name != "model_type"}
        found = parse(model_type, vision | changes, image | changes, **others)
    except ModelCorruptError:
        return
    if found is not None:
        assert 0 < found.picture_tokens(640, 480) <= found.most_picture_tokens()

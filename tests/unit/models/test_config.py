"""Language models' facts from their configurations: layers, position tables, experts, formats, and nonsense."""

import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lab.shapes import SHAPES, read_config
from vedette.errors import ModelCorruptError
from vedette.language.message import Message
from vedette.models.config import Shape, parse_config
from vedette.models.model import CacheKind, CacheLayers

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
}


def parse(**changes: Any) -> Shape:
    return parse_config(LLAMA | changes, "config.json")


def kinds(shape: Shape) -> list[tuple[CacheKind, int]]:
    return [(cache.kind, cache.count) for cache in shape.cache_layers]


def tables(shape: Shape) -> list[tuple[int, int, int, bool]]:
    return [
        (table.positions, table.elements_per_position, table.element_bytes, table.follows_context)
        for table in shape.rotary
    ]


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_is_assumed_of_published_models(name: str) -> None:
    assert parse_config(read_config(name), name).assumed_parts == ()


def test_missing_values_of_gemma_3_have_defaults() -> None:
    shape = parse_config(read_config("gemma-3-4b-it"), "config.json")
    attention = {"kv_heads": 4, "key_size": 256, "value_size": 256}
    assert shape.cache_layers == (
        CacheLayers(CacheKind.FULL, 5, **attention),
        CacheLayers(CacheKind.SLIDING, 29, **attention, window_tokens=1024),
    )
    assert (shape.vocabulary_size, shape.tied_embeddings) == (262_208, True)
    assert tables(shape) == [(8 * 131_072, 256, 2, True), (131_072, 256, 2, True)], "576 MiB"


def test_missing_sizes_of_llava_are_those_of_llama() -> None:
    shape = parse_config(read_config("llava-1.5-7b-hf"), "config.json")
    assert (shape.layers, shape.hidden_size, shape.kv_heads, shape.head_size) == (32, 4096, 32, 128)
    assert shape.vision_layers == 23, "pictures come from the last layer but one"
    assert shape.text_section == "text_config"


def test_qwen_3_5_keeps_a_state_in_three_layers_of_four() -> None:
    shape = parse_config(read_config("Qwen3.5-2B"), "config.json")
    assert kinds(shape) == [(CacheKind.FULL, 6), (CacheKind.STATE, 18)]
    assert shape.cache_layers[1].state_bytes == 6144 * 3 * 2 + 16 * 128 * 128 * 4, "its recurrent state is float32"
    assert tables(shape) == [(4 * 262_144, 64, 2, True)], "a quarter of each head turns"
    assert shape.rotary[0].spare == 4


def test_deepseek_has_latent_attention_and_a_table_of_fixed_length() -> None:
    shape = parse_config(read_config("DeepSeek-V2-Lite"), "config.json")
    assert shape.cache_layers == (CacheLayers(CacheKind.LATENT, 27, latent_size=576),)
    assert tables(shape) == [(163_840, 64, 2, False)]
    assert (shape.experts, shape.experts_per_token, shape.expert_intermediate_size) == (64, 6, 1408)


def test_gpt_oss_has_sliding_layers_and_a_float32_table() -> None:
    shape = parse(
        architectures=["GptOssForCausalLM"],
        model_type="gpt_oss",
        num_hidden_layers=24,
        head_dim=64,
        sliding_window=128,
        num_local_experts=32,
        num_experts_per_tok=4,
        rope_scaling={"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096},
    )
    assert kinds(shape) == [(CacheKind.FULL, 12), (CacheKind.SLIDING, 12)]
    assert tables(shape) == [(131_072, 64, 4, False)]
    assert (shape.experts, shape.experts_per_token) == (32, 4)


def test_a_dense_model_has_no_experts() -> None:
    dense = parse()
    assert (dense.experts, dense.experts_per_token, dense.expert_intermediate_size) == (0, 0, 0)


def test_listed_kinds_of_layers() -> None:
    listed = ["sliding_attention", "full_attention", "sliding_attention"]
    shape = parse(model_type="gemma3_text", num_hidden_layers=3, layer_types=listed)
    assert kinds(shape) == [(CacheKind.FULL, 1), (CacheKind.SLIDING, 2)]


def test_kinds_of_layers_that_nobody_knows_are_assumed_to_keep_everything() -> None:
    shape = parse(model_type="olmo3", num_hidden_layers=2, layer_types=["full_attention", "compressed_attention"])
    assert kinds(shape) == [(CacheKind.FULL, 2)]
    assert Message("models.assumed_cache") in shape.assumed_parts


@pytest.mark.parametrize("listed", [[], ["full_attention"] * 2, [None] * 3, "full_attention", {"a": 1}])
def test_an_impossible_list_of_layers(listed: object) -> None:
    with pytest.raises(ModelCorruptError, match="layer_types"):
        parse(model_type="gemma3_text", num_hidden_layers=3, layer_types=listed)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"model_type": "mistral", "sliding_window": None}, CacheKind.FULL),
        ({"model_type": "mistral", "sliding_window": 4096}, CacheKind.SLIDING),
        ({"model_type": "mistral"}, CacheKind.SLIDING),
        ({"model_type": "qwen2", "sliding_window": 32_768, "use_sliding_window": False}, CacheKind.FULL),
        ({"model_type": "qwen2_moe", "sliding_window": 0}, CacheKind.FULL),
    ],
)
def test_a_window_over_all_layers_or_none(changes: dict[str, Any], kind: CacheKind) -> None:
    assert kinds(parse(**changes)) == [(kind, 16)]


def test_an_unknown_architecture_names_its_assumptions() -> None:
    shape = parse(architectures=["NovelForCausalLM"], model_type="novel", sliding_window=100)
    assert kinds(shape) == [(CacheKind.FULL, 16)]
    assert shape.assumed_parts == (Message("models.assumed_cache"), Message("models.assumed_layers"))


@pytest.mark.parametrize(
    ("scaling", "table"),
    [
        (None, (131_072, 64, True)),
        ({"rope_type": "llama3", "factor": 32.0}, (131_072, 64, True)),
        ({"type": "linear", "factor": 4}, (524_288, 64, True)),
        ({"type": "dynamic", "factor": 2.0}, (131_072, 64, False)),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}, (131_072, 64, False)),
        ({"type": "longrope", "original_max_position_embeddings": 4096}, (135_168, 64, False)),
        ({"type": "mrope", "mrope_section": [16, 24, 24]}, (524_288, 64, True)),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, (131_072, 32, True)),
    ],
)
def test_position_tables(scaling: dict[str, Any] | None, table: tuple[int, int, bool]) -> None:
    (found,) = parse(rope_scaling=scaling).rotary
    assert (found.positions, found.elements_per_position, found.follows_context) == table
    assert found.table_bytes == table[0] * table[1] * 2


def compressed(bits: int, kind: str, activations: bool) -> dict[str, Any]:
    group = {
        "weights": {"num_bits": bits, "type": kind},
        "input_activations": {"num_bits": 8} if activations else None,
    }
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}


@pytest.mark.parametrize(
    ("quantization", "name"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        (compressed(4, "int", False), "w4a16"),
        (compressed(8, "int", False), "w8a16"),
        (compressed(8, "int", True), "w8a8-int8"),
        (compressed(8, "float", True), "w8a8-fp8"),
        (compressed(4, "float", True), "nvfp4"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "modelopt_fp4"}, "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "bitsandbytes"}, "bitsandbytes"),
        ({}, "unknown"),
    ],
)
def test_formats_by_one_name(quantization: dict[str, Any], name: str) -> None:
    assert parse(quantization_config=quantization).quantization == name
    assert parse(compression_config=quantization).quantization == name


def test_plain_weights_have_no_format() -> None:
    assert parse().quantization is None


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**62, 10**30, -1.5, 0.0, 1e308, math.inf, math.nan, "", "x", "full_attention"]),
    st.lists(st.integers(-2, 2), max_size=3),
    st.dictionaries(st.sampled_from(["rope_type", "factor", "weights"]), st.integers(-1, 1), max_size=2),
)


def test_only_latent_attention_reads_the_size_of_a_latent() -> None:
    assert kinds(parse(kv_lora_rank=512, qk_rope_head_dim=64)) == [(CacheKind.FULL, 16)]
    assert kinds(parse(model_type="deepseek_v3")) == [(CacheKind.LATENT, 16)]


@pytest.mark.parametrize("layer", [25, -26, [-2, 25], [], "last", [None]])
def test_vision_layers_that_the_tower_does_not_have(layer: Any) -> None:
    with pytest.raises(ModelCorruptError, match="vision_feature_layer"):
        parse(vision_config={"num_hidden_layers": 24}, vision_feature_layer=layer)


@pytest.mark.parametrize(("layer", "built"), [(-1, 24), (-2, 23), (24, 24), (0, 0), (-25, 0), ([-2, 5, -9], 23)])
def test_vision_layers_that_are_built(layer: Any, built: int) -> None:
    assert parse(vision_config={"num_hidden_layers": 24}, vision_feature_layer=layer).vision_layers == built


def places(values: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where there is anything to change in a configuration."""
    if isinstance(values, dict):
        return [place for key in values for place in ((*path, key), *places(values[key], (*path, key)))]
    return []


@given(data=st.data())
def test_every_configuration_is_read_or_refused_with_a_sentence(data: st.DataObject) -> None:
    config = copy.deepcopy(read_config(data.draw(st.sampled_from(sorted(SHAPES)))))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(config)))
        inner: Any = config
        for key in place[:-1]:
            inner = inner[key] if isinstance(inner, dict) and key in inner else {}
        if isinstance(inner, dict):
            inner[place[-1]] = data.draw(VALUES)
    shape, sentence = None, ""
    try:
        shape = parse_config(config, "config.json")
    except ModelCorruptError as error:
        sentence = error.sentence
    if shape is None:
        assert "config.json" in sentence
        assert sentence.endswith(".")
    else:
        assert sum(cache.count for cache in shape.cache_layers) == shape.layers
        assert all(table.table_bytes > 0 for table in shape.rotary)

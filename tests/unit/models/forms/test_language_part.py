"""The language part of any config.json: where it stands, what its sizes are called, and what is left out."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.errors import ModelCorruptError
from vedette.models.config import Shape, parse_config
from vedette.models.model import CacheKind
from vedette.models.roles import what_is_seen
from vedette.models.tensors import Tensor


def parse(config: dict[str, Any], tensors: dict[str, tuple[int, ...]] | None = None) -> Shape:
    made = {name: Tensor("BF16", shape, (0, 0)) for name, shape in (tensors or {}).items()}
    return parse_config({"architectures": ["SomeForCausalLM"], **config}, "config.json", what_is_seen(made))


def sizes(shape: Shape) -> tuple[int, ...]:
    return (
        *(shape.layers, shape.hidden_size, shape.attention_heads, shape.kv_heads, shape.head_size),
        *(shape.intermediate_size, shape.vocabulary_size, shape.max_position_embeddings),
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"model_type": "gpt2", "n_embd": 1024, "n_layer": 24, "n_head": 16},
            (24, 1024, 16, 16, 64, 4096, 50_257, 1024),
        ),
        (
            {
                "model_type": "chatglm",
                "num_layers": 28,
                "hidden_size": 4096,
                "num_attention_heads": 32,
                "multi_query_group_num": 2,
                "kv_channels": 128,
                "ffn_hidden_size": 13_696,
                "padded_vocab_size": 65_024,
                "seq_length": 8192,
            },
            (28, 4096, 32, 2, 128, 13_696, 65_024, 8192),
        ),
        (
            {"model_type": "mpt", "d_model": 4096, "n_layers": 32, "n_heads": 32, "max_seq_len": 2048},
            (32, 4096, 32, 32, 128, 16_384, 50_368, 2048),
        ),
        (
            {
                "model_type": "dbrx",
                "d_model": 6144,
                "n_layers": 40,
                "n_heads": 48,
                "vocab_size": 100_352,
                "max_seq_len": 32_768,
                "attn_config": {"kv_n_heads": 8},
            },
            (40, 6144, 48, 8, 128, 24_576, 100_352, 32_768),
        ),
        (
            {"model_type": "falcon", "hidden_size": 4544, "num_attention_heads": 71, "multi_query": True},
            (32, 4544, 71, 1, 64, 18_176, 65_024, 2048),
        ),
    ],
)
def test_sizes_under_other_names(config: dict[str, Any], expected: tuple[int, ...]) -> None:
    assert sizes(parse(config)) == expected


@pytest.mark.parametrize("path", [("language_config",), ("llm_config",), ("thinker_config", "text_config")])
def test_sections_of_every_depth(path: tuple[str, ...]) -> None:
    config: dict[str, Any] = {"model_type": "llama", "num_hidden_layers": 5}
    for name in reversed(path):
        config = {"model_type": "some_vl", name: config}
    assert parse(config).layers == 5
    assert parse(config).text_section == path[-1]


def test_what_equals_the_default_may_be_left_out() -> None:
    shape = parse({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "num_hidden_layers": 12}})
    assert sizes(shape) == (12, 2304, 8, 4, 256, 9216, 262_208, 131_072)
    assert [(cache.kind, cache.count) for cache in shape.cache_layers] == [(CacheKind.FULL, 2), (CacheKind.SLIDING, 10)]


def test_a_section_that_names_the_whole_models_type() -> None:
    shape = parse({"model_type": "qwen3_vl", "text_config": {"model_type": "qwen3_vl", "num_hidden_layers": 4}})
    assert (shape.layers, shape.head_size) == (4, 128)


@pytest.mark.parametrize("absent", [None, 0])
def test_nothing_instead_of_a_size(absent: int | None) -> None:
    shape = parse({"model_type": "llama", "num_key_value_heads": absent, "head_dim": absent, "vocab_size": 1000})
    assert (shape.kv_heads, shape.head_size) == (32, 128)


def test_latent_attention_that_is_off() -> None:
    """DeepSeek-VL2's small model and DeepSeek-OCR."""
    off = dict.fromkeys(("kv_lora_rank", "q_lora_rank"))
    zeros = dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), 0)
    sizes = {"hidden_size": 1280, "num_hidden_layers": 12, "num_attention_heads": 10, "num_key_value_heads": 10}
    shape = parse(
        {"model_type": "deepseek_vl_v2", "language_config": {"model_type": "deepseek_v2", **sizes, **off, **zeros}}
    )
    (cache,) = shape.cache_layers
    assert (cache.kind, cache.count, cache.kv_heads, cache.key_size) == (CacheKind.FULL, 12, 10, 128)


def test_a_number_for_each_layer() -> None:
    shape = parse(
        {
            "model_type": "openelm",
            "model_dim": 1280,
            "num_transformer_layers": 4,
            "head_dim": 64,
            "num_query_heads": [12, 12, 16, 20],
            "num_kv_heads": [3, 3, 4, 0],
            "vocab_size": 32_000,
        }
    )
    assert (shape.attention_heads, shape.kv_heads) == (20, 4)
    assert {(cache.count, cache.kv_heads) for cache in shape.cache_layers} == {(2, 3), (1, 4)}


def test_layers_described_one_by_one() -> None:
    attention = {"n_heads_in_group": 8}
    shape = parse(
        {
            "model_type": "nemotron-nas",
            "hidden_size": 8192,
            "num_attention_heads": 64,
            "num_hidden_layers": 3,
            "vocab_size": 128_256,
            "max_position_embeddings": 131_072,
            "block_configs": [
                {"attention": attention, "ffn": {"ffn_mult": 2.625}},
                {"attention": {"no_op": True}, "ffn": {"ffn_mult": 5.25}},
                {"attention": attention, "ffn": {"no_op": True}},
            ],
        }
    )
    assert [(cache.count, cache.kv_heads) for cache in shape.cache_layers] == [(2, 8)]
    assert shape.intermediate_size == 28_672


def test_what_nobody_knows_is_read_from_the_tensors_and_said() -> None:
    tensors = {"model.embed.weight": (5000, 640), "model.layers.0.attn.w": (1,), "model.layers.6.attn.w": (1,)}
    shape = parse({"model_type": "novel"}, tensors)
    assert (shape.layers, shape.hidden_size, shape.vocabulary_size) == (7, 640, 5000)
    said = [message.params["name"] for message in shape.assumed_parts if message.code == "models.assumed_size"]
    assert said == [
        *("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size", "max_position_embeddings")
    ]


@pytest.mark.parametrize("listed", [[], [1, "x"], [-1, 2], [1.5], [[1]], [1 << 40]])
def test_a_list_of_something_else(listed: list[object]) -> None:
    with pytest.raises(ModelCorruptError, match="intermediate_size"):
        parse({"model_type": "llama", "intermediate_size": listed})


ANY_VALUE = st.sampled_from(
    [None, 0, -1, 1, 3, "x", [], [1], [0], {}, {"a": 1}, 1.5, True, 1 << 31, 1 << 40, [None], "M*-E", float("nan")]
)
NAMES = st.sampled_from(
    [
        *("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "layer_types"),
        *("text_config", "thinker_config", "block_configs", "linear_attn_config", "sliding_window", "n_groups"),
        *("sliding_window_pattern", "hybrid_override_pattern", "full_attn_idxs", "attn_layer_period", "state_size"),
        *("num_kv_shared_layers", "mamba_d_state", "mamba_n_heads", "conv_L_cache", "quantization_config"),
        *("quantization", "vision_config", "audio_config", "kv_lora_rank", "rope_parameters", "attn_config"),
    ]
)
TYPES = st.sampled_from(
    ["llama", "gemma4", "gemma3n_text", "lfm2", "nemotron_h", "zamba2", "deepseek_v2", "novel", "mpt"]
)


@given(model_type=TYPES, values=st.dictionaries(NAMES, ANY_VALUE, max_size=6))
def test_nonsense_is_refused_in_a_sentence_or_planned(model_type: str, values: dict[str, Any]) -> None:
    with contextlib.suppress(ModelCorruptError):
        parse({"model_type": model_type, **values})


def test_sizes_that_nothing_shows_are_missing() -> None:
    with pytest.raises(ModelCorruptError, match="num_attention_heads is missing"):
        parse({"model_type": "novel"})


def test_sixteen_bits_whatever_the_file_is_in() -> None:
    assert parse({"model_type": "gemma2", "torch_dtype": "float32"}).dtype == "bfloat16"
    assert parse({"model_type": "llama", "torch_dtype": "float16"}).dtype == "float16"
    assert parse({"model_type": "gemma3_text", "torch_dtype": "float16"}).dtype == "bfloat16", "it would overflow"

"""What the engine keeps of a checkpoint, tensor by tensor."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lab.shapes import make_shape
from vedette.errors import ModelCorruptError
from vedette.models.checkpoint import read_model
from vedette.models.config import parse_config
from vedette.models.roles import Role, role_of
from vedette.models.tensors import Tensor, parse_header
from vedette.models.weights import weight_only_extra_bytes, weights_by_tensor

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 512,
}
BYTES = {"BF16": 2, "F32": 4, "F8_E4M3": 1, "I8": 1, "I32": 4}


def kept(tensors: dict[str, tuple[str, tuple[int, ...]]], **changes: Any) -> dict[str, int]:
    return weights_by_tensor(made(tensors), parse_config(CONFIG | changes, "config.json"))


def made(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    found = {}
    for name, (dtype, shape) in tensors.items():
        size = BYTES[dtype]
        for side in shape:
            size *= side
        found[name] = Tensor(dtype, shape, (0, size))
    return found


def test_embeddings_are_padded_to_64_rows() -> None:
    found = kept({"model.embed_tokens.weight": ("BF16", (100, 256)), "lm_head.weight": ("F32", (100, 256))})
    assert found == {"model.embed_tokens.weight": 128 * 256 * 2, "lm_head.weight": 128 * 256 * 2}


def test_tensors_that_are_not_loaded_do_not_count() -> None:
    found = kept(
        {
            "model.layers.0.mlp.up_proj.weight": ("BF16", (10, 10)),
            "model.layers.0.self_attn.rotary_emb.inv_freq": ("F32", (64,)),
            "model.layers.2.eh_proj.weight": ("BF16", (10, 10)),
            "mtp.layers.0.mlp.up_proj.weight": ("BF16", (10, 10)),
            "model.mtp_block.0.mlp.up_proj.weight": ("BF16", (10, 10)),
            "lm_head.weight": ("BF16", (100, 256)),
        },
        tie_word_embeddings=True,
    )
    assert found == {"model.layers.0.mlp.up_proj.weight": 200}


def test_a_vision_tower_ends_at_its_feature_layer() -> None:
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        f"vision_tower.vision_model.encoder.layers.{layer}.mlp.fc1.weight": ("BF16", (4, 4)) for layer in range(24)
    }
    tensors |= {"vision_tower.vision_model.post_layernorm.weight": ("BF16", (4,))}
    vision = {"num_hidden_layers": 24}
    assert len(kept(tensors, vision_config=vision, vision_feature_layer=-2)) == 23
    assert len(kept(tensors, vision_config=vision, vision_feature_layer=[-2, -5, 6])) == 23
    assert len(kept(tensors, vision_config=vision, vision_feature_layer=-1)) == 24
    assert len(kept(tensors, vision_config=vision)) == 25, "other kinds are built whole"


def test_gptq_keeps_order_and_zero_points_only_if_used() -> None:
    names = ("qweight", "qzeros", "scales", "g_idx")
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        f"model.layers.0.mlp.up_proj.{name}": ("I32", (8, 8)) for name in names
    }

    def left(**quantization: Any) -> set[str]:
        found = kept(tensors, quantization_config={"quant_method": "gptq", "bits": 4} | quantization)
        return {name.rpartition(".")[2] for name in found}

    assert left(desc_act=False, sym=True) == {"qweight", "scales"}
    assert left(desc_act=True, sym=True) == {"qweight", "scales", "g_idx"}
    assert left(desc_act=False, sym=False) == {"qweight", "scales", "qzeros"}


ENTRIES = st.dictionaries(
    st.sampled_from(["dtype", "shape", "data_offsets", "x"]),
    st.one_of(st.sampled_from(["BF16", "F4", "?"]), st.integers(), st.lists(st.integers(-1, 1 << 63), max_size=9)),
)


@given(
    st.one_of(
        st.binary(max_size=40), st.dictionaries(st.text(max_size=5), ENTRIES).map(lambda h: json.dumps(h).encode())
    )
)
def test_every_header_is_read_or_refused(header: bytes) -> None:
    try:
        shard = parse_header(header, Path("model.safetensors"))
    except ModelCorruptError as error:
        sentence = error.sentence
    else:
        sentence = ""
        assert shard.file_bytes >= 8 + len(header)
    assert not sentence or "model.safetensors is damaged" in sentence


@pytest.mark.parametrize(("method", "size"), [("fp8", 4), ("awq", 2)])
def test_scales_of_eight_bits_are_kept_in_float32(method: str, size: int) -> None:
    name = "model.layers.0.mlp.up_proj.weight_scale"
    assert kept({name: ("BF16", (100, 1))}, quantization_config={"quant_method": method}) == {name: 100 * size}


def test_repacked_fp8_blocks_take_more_memory() -> None:
    tensors = made(
        {
            "model.layers.0.mlp.up_proj.weight": ("F8_E4M3", (1024, 512)),
            "model.layers.0.mlp.up_proj.weight_scale_inv": ("BF16", (8, 4)),
            "model.layers.0.mlp.down_proj.weight": ("BF16", (512, 1024)),
        }
    )
    shape = parse_config(CONFIG | {"quantization_config": {"quant_method": "fp8"}}, "config.json")
    assert weight_only_extra_bytes(tensors, shape) == 1024 * 4 * 2 - 8 * 4 * 4


def test_shared_keys_are_not_loaded_and_keys_that_are_values_are_kept_twice() -> None:
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        f"model.layers.{layer}.self_attn.{part}_proj.weight": ("BF16", (10, 10))
        for layer in range(2)
        for part in ("q", "k", "v")
    }
    found = kept(tensors, num_hidden_layers=2, num_kv_shared_layers=1)
    assert sorted(found) == sorted(name for name in tensors if ".0." in name or "q_proj" in name)
    del tensors["model.layers.1.self_attn.v_proj.weight"]
    found = kept(tensors, num_hidden_layers=2, attention_k_eq_v=True)
    keys = [found[f"model.layers.{layer}.self_attn.k_proj.weight"] for layer in range(2)]
    assert keys == [200, 400]


@pytest.mark.parametrize(
    ("name", "vision"),
    [
        ("model.visual.merger.mlp.0.weight", True),
        ("model.connector.modality_projection.proj.weight", True),
        ("multi_modal_projector.mm_input_projection_weight", True),
        ("language_model.model.layers.0.mlp.up_proj.weight", False),
    ],
)
def test_vision_tensors_by_name(name: str, vision: bool) -> None:
    assert (role_of(name) is Role.VISION) is vision


@pytest.mark.parametrize(
    ("name", "resident"),
    [("Qwen3.5-2B", 4_460_562_744), ("llava-1.5-7b-hf", 14_102_711_304), ("gemma-3-4b-it", 9_204_172_034)],
)
def test_weights_and_tables_equal_vllms(name: str, resident: int, tmp_path: Path) -> None:
    """bench/lab/oracle_kv.md has all of them."""
    model = read_model(make_shape(name, tmp_path))
    ours = model.weights_bytes + sum(table.table_bytes // table.spare for table in model.rotary)
    assert abs(ours - resident) < resident / 2_000


def test_a_mixture_of_experts(tmp_path: Path) -> None:
    model = read_model(make_shape("OLMoE-1B-7B-0125-Instruct", tmp_path))
    assert model.experts is not None
    assert (model.experts.count, model.experts.per_token, model.experts.intermediate_size) == (64, 8, 1024)
    assert model.experts.weights_bytes == 16 * 64 * 3 * 2048 * 1024 * 2

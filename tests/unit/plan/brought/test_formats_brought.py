"""Checkpoints whose format stands elsewhere, is taken for another, or takes other bytes in memory than on disk."""

from pathlib import Path
from typing import Any

import pytest

from tests.rig.checkpoints import (
    Tensors,
    argument_of,
    bytes_of,
    chat_of,
    decoder,
    plan_of,
    write_checkpoint,
)
from vedette.deploy.planning import Proposal
from vedette.language.message import say
from vedette.plan.plan import Reason

QWEN2: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 4,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
WEIGHTS: Tensors = {"model.embed_tokens.weight": [151_936, 1536], **decoder("model.", 4, 1536, 8960, 12, 2, 128)}


def format_of(proposal: Proposal) -> Reason:
    return next(reason for reason in proposal.plan.reasons if reason.subject == "weights_format")


@pytest.mark.parametrize(
    ("section", "title", "fits"),
    [
        ({"quant_method": "gptq", "bits": 8, "sym": True}, "GPTQ (8-bit)", True),
        ({"quant_method": "gptq", "bits": 3, "sym": True}, "GPTQ (3-bit)", True),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "mxfp4-pack-quantized",
                "config_groups": {"a": {"weights": {"num_bits": 4, "type": "float", "group_size": 32}}},
            },
            "MXFP4",
            True,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "a": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}},
                    "b": {"weights": {"num_bits": 8, "type": "float"}, "input_activations": {"num_bits": 8}},
                },
            },
            "mixed: NVFP4, W8A8 FP8",
            True,
        ),
    ],
)
def test_formats_are_told_for_what_they_are(tmp_path: Path, section: dict[str, Any], title: str, fits: bool) -> None:
    made = write_checkpoint(tmp_path / "brought", QWEN2 | {"quantization_config": section}, WEIGHTS)
    proposal = plan_of(made, workload="chat")
    assert (say(format_of(proposal).value), proposal.plan.fits) == (title, fits)


def test_mlx_and_methods_that_the_engine_lacks_cannot_start(tmp_path: Path) -> None:
    mlx = write_checkpoint(tmp_path / "mlx", QWEN2 | {"quantization": {"group_size": 64, "bits": 4}}, WEIGHTS)
    removed = QWEN2 | {"quantization_config": {"quant_method": "bitsandbytes"}}
    for made in (mlx, write_checkpoint(tmp_path / "bnb", removed, WEIGHTS)):
        plan = plan_of(made, "agx-thor", workload="chat").plan
        assert plan.fits is (made.name == "bnb"), "vLLM 0.15 still had bitsandbytes"


def test_float32_is_served_in_16_bits(tmp_path: Path) -> None:
    made = write_checkpoint(tmp_path / "float32", QWEN2 | {"torch_dtype": "float32"}, WEIGHTS, "F32")
    proposal = plan_of(made, workload="chat")
    assert argument_of(proposal, "--dtype") == "bfloat16"
    assert proposal.plan.memory.weights_bytes < 1.05 * bytes_of(WEIGHTS)


@pytest.fixture
def modelopt(tmp_path: Path) -> Path:
    """An NVFP4 checkpoint that says so in a side file, which also orders keys and values in 8 bits."""
    packed: Tensors = {"model.embed_tokens.weight": [151_936, 1536]}
    for name, shape in decoder("model.", 4, 1536, 8960, 12, 2, 128).items():
        assert isinstance(shape, list)
        rows, columns = shape
        packed |= {name: ("U8", [rows, columns // 2]), f"{name}_scale": ("F8_E4M3", [rows, columns // 16])}
    order = {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16}
    side = {"producer": {"name": "modelopt"}, "quantization": order}
    return write_checkpoint(tmp_path / "nvfp4", QWEN2, packed, hf_quant_config=side)


def test_a_side_file_names_the_format_and_orders_the_cache(modelopt: Path) -> None:
    thor, orin = (chat_of(modelopt, 8192, device) for device in ("agx-thor", "orin-nx-16gb"))
    assert [say(format_of(proposal).value) for proposal in (thor, orin)] == ["NVFP4", "NVFP4"]
    assert argument_of(thor, "--kv-cache-dtype") == "fp8", "as ordered, and said"
    assert 2 * thor.plan.memory.kv_cache_bytes == pytest.approx(orin.plan.memory.kv_cache_bytes, rel=0.01)
    assert thor.plan.settings.max_num_batched_tokens == orin.plan.settings.max_num_batched_tokens
    assert argument_of(orin, "--kv-cache-dtype") is None, "vLLM 0.11 does not follow the order by itself"


def test_an_order_that_the_gpu_cannot_follow_is_overridden(modelopt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDETTE_IMAGE", "docker.io/vllm/vllm-openai:v0.32.0")
    proposal = plan_of(modelopt, "orin-nx-16gb", workload="chat", image="docker.io/vllm/vllm-openai:v0.32.0")
    assert argument_of(proposal, "--kv-cache-dtype") == "bfloat16"


def test_mxfp4_experts_are_padded(tmp_path: Path) -> None:
    """gpt-oss-20b takes 13.72 GiB, as vLLM reports on Marlin's GPUs and on Blackwell."""
    layers, hidden = 24, 2880
    config = {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "head_dim": 64,
        "hidden_size": hidden,
        "intermediate_size": hidden,
        "max_position_embeddings": 131_072,
        "num_attention_heads": 64,
        "num_experts_per_tok": 4,
        "num_hidden_layers": layers,
        "num_key_value_heads": 8,
        "num_local_experts": 32,
        "quantization_config": {"quant_method": "mxfp4"},
        "rope_scaling": {"factor": 32.0, "original_max_position_embeddings": 4096, "rope_type": "yarn"},
        "sliding_window": 128,
        "tie_word_embeddings": False,
        "vocab_size": 201_088,
    }
    tensors: Tensors = {name: [201_088, hidden] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    for layer in range(layers):
        attention, experts = f"model.layers.{layer}.self_attn", f"model.layers.{layer}.mlp.experts"
        tensors |= {
            f"{attention}.{part}_proj.weight": [rows, hidden] for part, rows in (("q", 4096), ("k", 512), ("v", 512))
        }
        tensors |= {f"{attention}.o_proj.weight": [hidden, 4096]}
        for name, rows in (("gate_up_proj", 2 * hidden), ("down_proj", hidden)):
            tensors |= {
                f"{experts}.{name}_blocks": ("U8", [32, rows, 90, 16]),
                f"{experts}.{name}_scales": ("U8", [32, rows, 90]),
                f"{experts}.{name}_bias": [32, rows],
            }
    made = write_checkpoint(tmp_path / "gpt-oss-20b", config, tensors)
    for device in ("agx-orin-32gb", "agx-thor"):
        weights_bytes = plan_of(made, device, workload="chat").plan.memory.weights_bytes
        assert weights_bytes / 2**30 == pytest.approx(13.72, abs=0.13)

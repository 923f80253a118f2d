"""Checkpoints whose sizes are given as lists, under other names, deeper, or not at all. Values: vLLM 0.32."""

from pathlib import Path
from typing import Any

import pytest

from tests.rig.checkpoints import Tensors, chat_of, decoder, plan_of, tower, write_checkpoint

GEMMA_3N: dict[str, Any] = {
    "architectures": ["Gemma3nForConditionalGeneration"],
    "model_type": "gemma3n",
    "text_config": {
        "model_type": "gemma3n_text",
        "hidden_size": 2048,
        "intermediate_size": [8192] * 30,
        "num_hidden_layers": 30,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "vocab_size": 262_400,
        "num_kv_shared_layers": 10,
        "sliding_window": 512,
        "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 6,
        "max_position_embeddings": 32_768,
    },
    "vision_config": {"model_type": "gemma3n_vision"},
    "audio_config": {"model_type": "gemma3n_audio"},
    "torch_dtype": "bfloat16",
}


def test_sizes_as_lists(tmp_path: Path) -> None:
    prefix = "model.language_model."
    tensors: Tensors = {f"{prefix}embed_tokens.weight": [262_400, 2048]}
    made = write_checkpoint(tmp_path / "gemma-3n-e2b", GEMMA_3N, tensors | decoder(prefix, 30, 2048, 8192, 8, 2, 256))
    assert chat_of(made, 32_768).plan.memory.kv_cache_bytes == pytest.approx(420_478_976, rel=0.3), "smaller steps"


def test_other_names(tmp_path: Path) -> None:
    exaone = {
        "architectures": ["ExaoneForCausalLM"],
        "model_type": "exaone",
        "head_dim": 80,
        "hidden_size": 2560,
        "intermediate_size": 7168,
        "max_position_embeddings": 32_768,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "num_layers": 30,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": 102_400,
    }
    tensors: Tensors = {"transformer.wte.weight": [102_400, 2560]}
    tensors |= {f"transformer.h.{layer}.mlp.c_fc_0.weight": [7168, 2560] for layer in range(30)}
    made = write_checkpoint(tmp_path / "exaone-3.5-2.4b", exaone, tensors)
    assert chat_of(made, 8192).plan.memory.kv_cache_bytes // (8192 + 16) == 30 * 8 * 160 * 2


def test_two_sections_deep(tmp_path: Path) -> None:
    omni = {
        "architectures": ["Qwen2_5OmniModel"],
        "model_type": "qwen2_5_omni",
        "torch_dtype": "bfloat16",
        "thinker_config": {
            "model_type": "qwen2_5_omni_thinker",
            "text_config": {
                "model_type": "qwen2_5_omni_text",
                "hidden_size": 2048,
                "intermediate_size": 11_008,
                "num_hidden_layers": 36,
                "num_attention_heads": 16,
                "num_key_value_heads": 2,
                "vocab_size": 151_936,
            },
        },
        "talker_config": {"num_hidden_layers": 24, "hidden_size": 896},
    }
    thinker: Tensors = {
        name: [151_936, 2048] for name in ("thinker.model.embed_tokens.weight", "thinker.lm_head.weight")
    }
    thinker |= decoder("thinker.model.", 36, 2048, 11_008, 16, 2, 128)
    talker = decoder("talker.model.", 24, 896, 4864, 14, 2, 64)
    with_speech = write_checkpoint(tmp_path / "qwen2.5-omni-3b", omni, thinker | talker)
    without = write_checkpoint(tmp_path / "thinker-only", omni, thinker)
    weights = [plan_of(made, workload="chat").plan.memory.weights_bytes for made in (with_speech, without)]
    assert weights[0] == weights[1], "vLLM does not build the part that speaks"
    assert chat_of(without, 8192).plan.memory.kv_cache_bytes // (8192 + 16) == 36 * 2 * 256 * 2


QWEN2_5_VL: dict[str, Any] = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "model_type": "qwen2_5_vl",
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128_000,
    "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default"},
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 152_064,
    "vision_config": {"hidden_size": 1280, "model_type": "qwen2_5_vl", "tokens_per_second": 2},
}


def test_a_fine_tune_saved_with_what_differs(tmp_path: Path) -> None:
    tensors: Tensors = {name: [152_064, 3584] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    tensors |= decoder("model.", 28, 3584, 18_944, 28, 4, 128) | tower("visual.", 32, 1280, 3420)
    limits = {"min_pixels": 3136, "max_pixels": 12_845_056, "patch_size": 14, "merge_size": 2}
    made = write_checkpoint(tmp_path / "finetune", QWEN2_5_VL, tensors, preprocessor_config=limits)
    assert plan_of(made, "agx-orin-32gb", workload="live").plan.context.visual_tokens > 0

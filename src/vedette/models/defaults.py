"""Default values for config.json files, by `model_type` of the language part. Values only.

Source: the configuration classes of transformers 5.19, from which vLLM takes missing values. Sizes are missing in some
`text_config` sections (LLaVA-1.5, Gemma 3); files of pure language models and of Qwen-VL always have them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


def _sizes(  # noqa: PLR0913 - a row of a table
    vocabulary: int, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, positions: int
) -> Mapping[str, int]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": positions,
    }


SIZE_DEFAULTS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "llama": _sizes(32_000, 4096, 11_008, 32, 32, 32, 2048),
        "mistral": _sizes(32_000, 4096, 14_336, 32, 32, 8, 131_072),
        "gemma": _sizes(256_000, 3072, 24_576, 28, 16, 16, 8192),
        "gemma2": _sizes(256_000, 2304, 9216, 26, 8, 4, 8192),
        "gemma3_text": _sizes(262_208, 2304, 9216, 26, 8, 4, 131_072),
        "qwen2": _sizes(151_936, 4096, 22_016, 32, 32, 32, 32_768),
    }
)
"""Sizes that may be missing in a `text_config`."""

_DELTA_NET: dict[str, Any] = {
    "head_dim": 256,
    "full_attention_interval": 4,
    "partial_rotary_factor": 0.25,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_conv_kernel_dim": 4,
}
_LATENT: dict[str, Any] = {"kv_lora_rank": 512, "qk_rope_head_dim": 64}
OTHER_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "mistral": {"sliding_window": 4096},
        "gemma": {"tie_word_embeddings": True, "head_dim": 256},
        "gemma2": {
            "tie_word_embeddings": True,
            "head_dim": 256,
            "sliding_window": 4096,
            "sliding_window_pattern": 2,
        },
        "gemma3_text": {
            "tie_word_embeddings": True,
            "head_dim": 256,
            "sliding_window": 4096,
            "sliding_window_pattern": 6,
        },
        "olmo3": {"sliding_window": 4096, "sliding_window_pattern": 4},
        "cohere2": {"tie_word_embeddings": True, "sliding_window": 4096, "sliding_window_pattern": 4},
        "gpt_oss": {"head_dim": 64, "sliding_window": 128, "sliding_window_pattern": 2, "num_local_experts": 128},
        "qwen2_moe": {"num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408},
        "qwen3": {"head_dim": 128},
        "qwen3_vl_text": {"head_dim": 128},
        "qwen3_moe": {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
        "qwen3_vl_moe_text": {"tie_word_embeddings": True, "head_dim": 128},
        "qwen3_next": _DELTA_NET | {"num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512},
        "qwen3_5_text": _DELTA_NET,
        "qwen3_5_moe_text": _DELTA_NET | {"num_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 512},
        "olmoe": {"num_experts": 64, "num_experts_per_tok": 8},
        "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2},
        "ernie4_5": {"tie_word_embeddings": True, "head_dim": 128},
        "ernie4_5_moe": {
            "tie_word_embeddings": True,
            "moe_num_experts": 64,
            "moe_k": 6,
            "moe_intermediate_size": 1536,
        },
        "deepseek_v2": _LATENT | {"n_routed_experts": 64, "moe_intermediate_size": 1407},
        "deepseek_v3": _LATENT | {"n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048},
        "smollm3": {"tie_word_embeddings": True},
        "starcoder2": {"tie_word_embeddings": True},
    }
)
"""All other values that may be missing."""

PLAIN = frozenset(
    {
        *("llama", "mistral", "mixtral", "gemma", "phi", "phi3", "granite", "granitemoe", "starcoder2", "smollm3"),
        *("olmo", "olmo2", "olmoe", "ernie4_5", "ernie4_5_moe", "internlm2", "internlm3"),
        *("qwen2", "qwen2_moe", "qwen2_vl_text", "qwen2_5_vl_text"),
        *("qwen3", "qwen3_moe", "qwen3_vl_text", "qwen3_vl_moe_text"),
    }
)
"""Types whose layers all have the same kind of grouped-query attention."""
INTERLEAVED = frozenset({"gemma2", "gemma3_text", "olmo3", "cohere2", "gpt_oss"})
"""Types in which some layers only attend to a sliding window."""
DELTA_NET = frozenset({"qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"})
"""Types in which some layers keep a state instead of keys and values."""
LATENT = frozenset({"deepseek_v2", "deepseek_v3", "kimi_k2"})
"""Types with multi-head latent attention, if the file has a `kv_lora_rank`."""

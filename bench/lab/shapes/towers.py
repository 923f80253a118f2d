"""Tensors of vision towers and of what joins them to the language model, from config.json alone."""

from collections.abc import Iterator
from typing import Any

from bench.lab.shapes.parts import Part, plain

Config = dict[str, Any]


def vision_parts(config: Config) -> Iterator[Part]:
    """The vision tower and the connector of `config`; nothing for a model of text alone."""
    towers = {
        "qwen3_vl": _qwen3_vl,
        "qwen3_5": _qwen3_vl,
        "qwen2_5_vl": _qwen2_5_vl,
        "gemma3": _gemma3,
        "idefics3": _idefics3,
        "llava": _llava,
    }
    if config["model_type"] in towers:
        yield from towers[config["model_type"]](config)


def _qwen3_vl(config: Config) -> Iterator[Part]:
    vision = config["vision_config"]
    width, inner, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    merged = width * vision["spatial_merge_size"] ** 2
    yield from plain("model.visual.patch_embed.proj", width, 3, vision["temporal_patch_size"], patch, patch)
    yield from plain("model.visual.pos_embed", vision["num_position_embeddings"], width, bias=False)
    for index in range(vision["depth"]):
        name = f"model.visual.blocks.{index}"
        yield from plain(f"{name}.norm1", width)
        yield from plain(f"{name}.norm2", width)
        yield from plain(f"{name}.attn.qkv", 3 * width, width)
        yield from plain(f"{name}.attn.proj", width, width)
        yield from plain(f"{name}.mlp.linear_fc1", inner, width)
        yield from plain(f"{name}.mlp.linear_fc2", width, inner)
    deepstack = [f"deepstack_merger_list.{index}" for index in range(len(vision["deepstack_visual_indexes"]))]
    for merger, norm in [("merger", width), *((merger, merged) for merger in deepstack)]:
        yield from plain(f"model.visual.{merger}.norm", norm)
        yield from plain(f"model.visual.{merger}.linear_fc1", merged, merged)
        yield from plain(f"model.visual.{merger}.linear_fc2", vision["out_hidden_size"], merged)


def _qwen2_5_vl(config: Config) -> Iterator[Part]:
    vision = config["vision_config"]
    width, inner, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    merged = width * vision["spatial_merge_size"] ** 2
    yield from plain(
        "visual.patch_embed.proj", width, vision["in_chans"], vision["temporal_patch_size"], patch, patch, bias=False
    )
    for index in range(vision["depth"]):
        name = f"visual.blocks.{index}"
        yield from plain(f"{name}.norm1", width, bias=False)
        yield from plain(f"{name}.norm2", width, bias=False)
        yield from plain(f"{name}.attn.qkv", 3 * width, width)
        yield from plain(f"{name}.attn.proj", width, width)
        yield from plain(f"{name}.mlp.gate_proj", inner, width)
        yield from plain(f"{name}.mlp.up_proj", inner, width)
        yield from plain(f"{name}.mlp.down_proj", width, inner)
    yield from plain("visual.merger.ln_q", width, bias=False)
    yield from plain("visual.merger.mlp.0", merged, merged)
    yield from plain("visual.merger.mlp.2", vision["out_hidden_size"], merged)


def _gemma3(config: Config) -> Iterator[Part]:
    hidden, width = config["text_config"]["hidden_size"], config["vision_config"]["hidden_size"]
    yield from _siglip(config["vision_config"], "vision_tower.vision_model")
    yield Part("multi_modal_projector.mm_input_projection_weight", (width, hidden))
    yield from plain("multi_modal_projector.mm_soft_emb_norm", width, bias=False)


def _idefics3(config: Config) -> Iterator[Part]:
    vision = {"num_hidden_layers": 12, "intermediate_size": 3072, **config["vision_config"]}
    yield from _siglip(vision, "model.vision_model")
    merged = vision["hidden_size"] * config["scale_factor"] ** 2
    yield from plain(
        "model.connector.modality_projection.proj", config["text_config"]["hidden_size"], merged, bias=False
    )


def _siglip(vision: Config, name: str) -> Iterator[Part]:
    width, patch = vision["hidden_size"], vision["patch_size"]
    yield from plain(f"{name}.embeddings.patch_embedding", width, 3, patch, patch)
    positions = (vision["image_size"] // patch) ** 2
    yield from plain(f"{name}.embeddings.position_embedding", positions, width, bias=False)
    yield from _encoder(vision, name)
    yield from plain(f"{name}.post_layernorm", width)


def _llava(config: Config) -> Iterator[Part]:
    """CLIP's tower, whose last layer LLaVA does not use but carries, and a projector of two layers."""
    vision, name, hidden = config["vision_config"], "vision_tower.vision_model", 4096
    width, patch = vision["hidden_size"], vision["patch_size"]
    positions = (vision["image_size"] // patch) ** 2 + 1
    yield Part(f"{name}.embeddings.class_embedding", (width,))
    yield from plain(f"{name}.embeddings.patch_embedding", width, 3, patch, patch, bias=False)
    yield from plain(f"{name}.embeddings.position_embedding", positions, width, bias=False)
    yield from plain(f"{name}.pre_layrnorm", width)
    yield from _encoder(vision, name)
    yield from plain(f"{name}.post_layernorm", width)
    yield from plain("multi_modal_projector.linear_1", hidden, width)
    yield from plain("multi_modal_projector.linear_2", hidden, hidden)


def _encoder(vision: Config, tower: str) -> Iterator[Part]:
    """The layers that SigLIP and CLIP share."""
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    for index in range(vision["num_hidden_layers"]):
        name = f"{tower}.encoder.layers.{index}"
        yield from plain(f"{name}.layer_norm1", width)
        yield from plain(f"{name}.layer_norm2", width)
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from plain(f"{name}.self_attn.{projection}", width, width)
        yield from plain(f"{name}.mlp.fc1", inner, width)
        yield from plain(f"{name}.mlp.fc2", width, inner)

"""What a tensor is for, by its name. Pure.

Source: the attributes that vLLM 0.32 marks in `_mark_tower_model` (model_executor/models), and the names in published
checkpoints. A tower is not built where `--limit-mm-per-prompt` is 0 for all that it takes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from vedette.models.tensors import PLAIN_FLOATS, Tensor


class Role(Enum):
    """What a tensor belongs to."""

    TEXT = "text"
    VISION = "vision"
    """The vision tower, or its connection to the language model."""
    AUDIO = "audio"
    """The audio tower, or its connection."""
    OTHER = "other"
    """Parts that vLLM never builds: speech output, heads that predict further tokens."""


VISION_PARTS = frozenset(
    {
        *("visual", "vpm", "resampler", "mlp1", "vit", "vit_large_projector", "siglip_model", "sam_model", "projector"),
        *("multi_modal_projector", "mm_projector", "connector", "aligner", "img_processor", "img_projection"),
        *("embed_vision", "image_newline", "view_seperator", "view_separator", "glb_GN", "sub_GN", "vte"),
        *("patch_merger", "mlp_AR", "pre_mm_projector_norm", "perceive_sampler", "ln_pre_vision", "merger"),
        *("img_context_token", "patch_positional_embedding", "spatial_aware_module"),
    }
)
"""Parts of names that begin with neither `vision` nor `visual` nor `image`."""
AUDIO_PARTS = frozenset({"apm", "embed_audio", "whisper", "whisper_encoder", "mm_whisper_embeddings"})
"""Parts of names that do not begin with `audio`."""
OTHER_PARTS = frozenset({"talker", "token2wav", "code2wav", "code_predictor", "tts", "inv_freq"})
_VISION = re.compile(r"(?:vision|visual|image|vit)(?:_|$)")
_AUDIO = re.compile(r"(?:audio|speech|sound)(?:_|$)")
_ATTENTION = re.compile(r"(?:self_attn|attn|attention|mixer|mlp|feed_forward|experts)$")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer|block)\.(\d+)\.")

EMBEDDINGS = frozenset(
    {
        *("embed_tokens", "wte", "tok_embeddings", "word_embeddings", "embed_in", "embeddings", "embedding", "embed"),
        *("token_embedding", "token_embeddings", "tok_embed", "word_embed"),
    }
)
"""Names of the input embeddings, of which a token reads one row."""
LOOKED_UP = frozenset({"embed_tokens_per_layer", "embed_positions", "wpe", "position_embeddings", "wpe_embeddings"})
"""Other tables of which a token reads one row, also where the output head is the input embeddings."""
HEADS = frozenset({"lm_head", "embed_out", "output", "output_layer", "head", "output_projection"})
"""Names of the output head."""


def role_of(name: str) -> Role:
    """What the tensor of this name belongs to."""
    parts = name.split(".")
    if any(part in OTHER_PARTS or part.startswith("mtp") for part in parts):
        return Role.OTHER
    for part in parts:
        if part in AUDIO_PARTS or _AUDIO.match(part):
            return Role.AUDIO
        if part in VISION_PARTS or _VISION.match(part):
            return Role.VISION
        if _ATTENTION.match(part):  # a part of a layer: names within it say nothing about towers
            return Role.TEXT
    return Role.TEXT


def layer_of(name: str) -> int | None:
    """The number of the layer that a tensor belongs to; None outside of layers."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def is_embedding(name: str) -> bool:
    """Whether the tensor is the input embeddings."""
    parts = name.split(".")
    if layer_of(name) is not None or role_of(name) is not Role.TEXT:
        return False
    return (
        any(part in EMBEDDINGS for part in parts[-3:-1])
        and parts[-1] not in {"bias", "g_idx"}
        and not any(part in LOOKED_UP for part in parts)
    )


def is_looked_up(name: str) -> bool:
    """Whether a token reads one row of this table, besides that of the input embeddings."""
    return layer_of(name) is None and role_of(name) is Role.TEXT and any(part in LOOKED_UP for part in name.split("."))


def is_head(name: str) -> bool:
    """Whether the tensor is the output head."""
    parts = name.split(".")
    return layer_of(name) is None and role_of(name) is Role.TEXT and len(parts) > 1 and parts[-2] in HEADS


@dataclass(frozen=True)
class Seen:
    """What the tensors show of a model, for files that do not say it."""

    sizes: Mapping[str, int]
    """Sizes of the language part, by their usual names."""
    has_head: bool
    has_vision: bool
    has_audio: bool
    float_types: frozenset[str]
    """The types of the plain tensors, as safetensors writes them."""


def what_is_seen(tensors: Mapping[str, Tensor]) -> Seen:
    """What the tensors show."""
    sizes: dict[str, int] = {}
    roles: set[Role] = set()
    layers, has_head = -1, False
    for name, tensor in tensors.items():
        role = role_of(name)
        roles.add(role)
        if role is not Role.TEXT:
            continue
        layers = max(layers, -1 if (layer := layer_of(name)) is None else layer)
        has_head = has_head or is_head(name)
        if is_embedding(name) and name.endswith("weight") and len(tensor.shape) == 2 and all(tensor.shape):
            sizes |= {"vocab_size": tensor.shape[0], "hidden_size": tensor.shape[1]}
    if layers >= 0:
        sizes["num_hidden_layers"] = layers + 1
    types = frozenset(tensor.dtype for tensor in tensors.values()) & PLAIN_FLOATS
    return Seen(sizes, has_head, Role.VISION in roles, Role.AUDIO in roles, types)

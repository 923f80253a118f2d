"""What is known of a model, from its configuration and its tensor headers. Values only."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from vedette.language.message import Message
from vedette.models.families.family import Vision

DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
"""Bytes of one element, for each type that a model computes in."""


class CacheKind(Enum):
    """What a layer keeps of the tokens it has seen."""

    FULL = "full"
    """Keys and values of every token."""
    SLIDING = "sliding"
    """Keys and values of the last `window_tokens` tokens."""
    LATENT = "latent"
    """One compressed vector for each token (multi-head latent attention)."""
    STATE = "state"
    """A state of fixed size for each sequence (linear attention, state-space layers)."""


@dataclass(frozen=True)
class CacheLayers:
    """Layers of one model that keep the same kind and size of cache."""

    kind: CacheKind
    count: int
    kv_heads: int = 0
    """FULL and SLIDING; heads of `key_size` and `value_size` elements."""
    key_size: int = 0
    value_size: int = 0
    latent_size: int = 0
    """LATENT: elements that one token leaves in one layer."""
    window_tokens: int | None = None
    state_bytes: int = 0
    """STATE: what one layer keeps of one sequence, whatever its length."""


@dataclass(frozen=True)
class Experts:
    """The feed-forward part of a mixture of experts."""

    count: int
    per_token: int
    intermediate_size: int
    weights_bytes: int
    """Of all routed experts together, resident."""


@dataclass(frozen=True)
class Rotary:
    """One table of cosines and sines that vLLM keeps on the device for every position it may be asked for."""

    positions: int
    elements_per_position: int
    element_bytes: int
    follows_context: bool
    """Overriding the model's `max_position_embeddings` shortens it in proportion, and changes no answer."""
    spare: int = 1
    """`positions` is so many times what the model knows only to have room for long videos. Newer engines leave that
    out (vLLM from 0.32 on)."""

    @property
    def table_bytes(self) -> int:
        return self.positions * self.elements_per_position * self.element_bytes


@dataclass(frozen=True)
class Model:
    """Facts of one model; sizes in bytes as they will be resident, unless a name says otherwise."""

    name: str
    """What people call it and requests name: `vedette-tiny`, `nvidia/Cosmos-Reason2-2B`, a directory's name."""
    path: Path
    """The local directory with config.json, weights, tokenizer and processor files; if `assumed`, where it
    will lie."""
    architecture: str
    """`architectures[0]` of config.json."""
    weights_bytes: int
    vision_weights_bytes: int
    """Part of `weights_bytes` that belongs to the vision tower; 0 for a text model."""
    decode_weights_bytes: int
    """Part of `weights_bytes` read for every token: without the vision tower, and without input embeddings
    that the output head has a copy of. All experts included: `experts` says how many of them one token reads."""
    layers: int
    hidden_size: int
    intermediate_size: int
    attention_heads: int
    kv_heads: int
    head_size: int
    vocabulary_size: int
    max_position_embeddings: int
    dtype: str
    """Activation type: `bfloat16`, `float16`, `float32`."""
    tokenizer_bytes: int | None = None
    """Of tokenizer.json; None where there is none, or it is not known."""
    quantization: str | None = None
    """`fp8`, `awq`, `gptq`, `w4a16`, `w8a16`, `w8a8-int8`, `w8a8-fp8`, `nvfp4`, or the name that the file gives."""
    vision: Vision | None = None
    thinks: bool = False
    """The chat template knows `<think>`: reasoning comes apart from the answer."""
    images_per_prompt: int = 0
    """Pictures one prompt may hold, as the model was trained; 0 for a text model."""
    videos_per_prompt: int = 0
    unknown_vision: bool = False
    """It has a vision part of an architecture whose visual tokens vedette cannot count: only text is served."""
    weight_only_extra_bytes: int = 0
    """What `weights_bytes` grows by on a GPU that cannot compute in the weights' format (FP8 before sm_89)."""
    allocator_slack_bytes: int = 0
    """What torch's allocator on a GPU takes beyond `weights_bytes`, rounding tensor by tensor."""
    text_allocator_slack_bytes: int = 0
    """The same where the vision tower is not loaded."""
    zero_points_bytes: int = 0
    """Packed zero points of AWQ and GPTQ weights, as in the file."""
    deepstack_levels: int = 0
    """Buffers of `hidden_size` for each token of a step that are made with the weights (Qwen3-VL), in the model's
    type."""
    cache_layers: tuple[CacheLayers, ...] = ()
    experts: Experts | None = None
    rotary: tuple[Rotary, ...] = ()
    """None known for a model from the catalogue."""
    text_section: str | None = None
    """Section of the engine's configuration that holds the language part's values (`text_config`); None if they
    stand at the top."""
    assumed_parts: tuple[Message, ...] = ()
    """One phrase for each fact that vedette does not know of this architecture and assumes."""
    assumed: bool = False
    """From the catalogue, before its files are here; False once they have been read."""

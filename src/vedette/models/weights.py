"""Computes the bytes of each tensor that vLLM keeps on the device. Pure.

Source: vLLM 0.26 and 0.32, the models' `load_weights`, `VocabParallelEmbedding` (rows padded to 64), and
`process_weights_after_loading` of model_executor/layers/quantization and model_executor/kernels/linear.
"""

import re
from collections.abc import Mapping

from vedette.models.config import Shape
from vedette.models.model import DTYPE_BYTES
from vedette.models.tensors import Tensor, resident_bytes

VISION_PARTS = {
    *("visual", "vision_tower", "vision_model", "vision_encoder"),
    *("multi_modal_projector", "mm_projector", "connector"),
}
"""Parts of tensor names that are not loaded if pictures are off."""
VOCABULARY_PADDING = 64
FLOAT32_SCALES = {"fp8", "w8a8-fp8", "w8a8-int8"}
"""Formats whose scales vLLM converts to float32."""
MARLIN_GROUP = 128
"""Rows of a weight that share a scale after FP8 blocks are repacked for GPUs without FP8 arithmetic."""
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def weights_by_tensor(tensors: Mapping[str, Tensor], shape: Shape) -> dict[str, int]:
    """Resident bytes of every tensor that vLLM keeps, by name."""
    return {name: _kept_bytes(name, tensor, shape) for name, tensor in tensors.items() if _is_kept(name, shape)}


def belongs_to_vision(name: str) -> bool:
    """Whether a tensor is part of the vision tower or of its connection to the language model."""
    return not VISION_PARTS.isdisjoint(name.split("."))


def weight_only_extra_bytes(tensors: Mapping[str, Tensor], shape: Shape) -> int:
    """Further bytes of FP8 weights on a GPU that cannot compute in FP8.

    Marlin, which runs them there, needs a scale of the model's type for each group of rows of every column; the file
    has one for each block (prepare_fp8_layer_for_marlin in marlin_utils_fp8.py).
    """
    extra = 0
    for name, tensor in tensors.items():
        scales = tensors.get(f"{name}_scale_inv")
        if scales is not None and tensor.dtype == "F8_E4M3" and _is_kept(name, shape):
            repeated = tensor.elements // MARLIN_GROUP * DTYPE_BYTES[shape.dtype]
            extra += max(0, repeated - 4 * scales.elements)
    return extra


def _is_kept(name: str, shape: Shape) -> bool:
    parts = name.split(".")
    if shape.tied_embeddings and name.endswith("lm_head.weight"):
        return False
    if any(part.startswith("mtp") for part in parts) or "inv_freq" in parts:
        return False  # heads that predict further tokens, and a buffer that vLLM computes
    if parts[-1] in shape.dropped_tensors:
        return False
    layer = _LAYER.search(name)
    if not belongs_to_vision(name):
        return layer is None or int(layer[1]) < shape.layers
    if shape.vision_layers is None:
        return True
    # LLaVA uses the output of a layer before the last; later layers are not built.
    return "post_layernorm" not in parts and (layer is None or int(layer[1]) < shape.vision_layers)


def _kept_bytes(name: str, tensor: Tensor, shape: Shape) -> int:
    dtype_bytes = DTYPE_BYTES[shape.dtype]
    if name.endswith(("embed_tokens.weight", "lm_head.weight")) and tensor.shape[:1] == (shape.vocabulary_size,):
        padded = -(-shape.vocabulary_size // VOCABULARY_PADDING) * VOCABULARY_PADDING
        return resident_bytes(tensor, dtype_bytes) // shape.vocabulary_size * padded
    if shape.quantization in FLOAT32_SCALES and name.endswith(("weight_scale", "weight_scale_inv")):
        return tensor.elements * 4
    return resident_bytes(tensor, dtype_bytes)

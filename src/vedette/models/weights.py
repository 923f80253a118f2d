"""Computes the bytes of each tensor that vLLM keeps on the device. Pure.

Source: vLLM 0.26 and 0.32, the models' `load_weights`, `VocabParallelEmbedding` (rows padded to 64), and
`process_weights_after_loading` of model_executor/layers/quantization and model_executor/kernels/linear.
"""

from collections.abc import Mapping

from vedette.models.config import Shape
from vedette.models.model import DTYPE_BYTES, JOINED
from vedette.models.roles import Role, is_embedding, is_head, layer_of, role_of
from vedette.models.tensors import Tensor, resident_bytes

VOCABULARY_PADDING = 64
FLOAT32_SCALES = {"fp8", "w8a8-fp8", "w8a8-int8"}
"""Formats whose scales vLLM converts to float32."""
MARLIN_GROUP = 128
"""Rows of a weight that share a scale after FP8 blocks are repacked for GPUs without FP8 arithmetic."""


_KEYS = {"k_proj", "v_proj", "k_norm", "v_norm"}
"""Parts of layers that vLLM does not build where a layer uses the keys and values of another."""


def weights_by_tensor(tensors: Mapping[str, Tensor], shape: Shape) -> dict[str, int]:
    """Resident bytes of every tensor that vLLM keeps, by name."""
    kept = {name: _kept_bytes(name, tensor, shape) for name, tensor in tensors.items() if _is_kept(name, shape)}
    if shape.keys_are_values:
        for name in [name for name in kept if ".k_proj." in name and role_of(name) is Role.TEXT]:
            kept[name] *= 1 if name.replace(".k_proj.", ".v_proj.") in kept else 2
    return kept


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


def routed_bytes(weights: Mapping[str, int]) -> int:
    """Bytes of the routed experts, whose tensor names contain the part `experts`."""
    return sum(size for name, size in weights.items() if "experts" in name.split("."))


def padded_experts_bytes(weights: Mapping[str, int], shape: Shape) -> int:
    """Further bytes of MXFP4 experts whose hidden and intermediate sizes are rounded up for Marlin and for Blackwell.

    Source: `mxfp4_round_up_hidden_size_and_intermediate_size` of model_executor/layers/fused_moe/oracle/mxfp4.py.
    """
    if "mxfp4" not in (shape.quantization or "").split(JOINED) or not shape.experts:
        return 0
    hidden, intermediate = shape.hidden_size, shape.expert_intermediate_size
    padded = -(-hidden // 256) * 256 * (-(-intermediate // 128) * 128)
    return routed_bytes(weights) * padded // (hidden * intermediate) - routed_bytes(weights)


def _is_kept(name: str, shape: Shape) -> bool:
    role, parts = role_of(name), name.split(".")
    if role is Role.OTHER or parts[-1] in shape.dropped_tensors:
        return False
    if role is Role.TEXT and shape.tied_embeddings and is_head(name):
        return False
    layer = layer_of(name)
    if role is Role.TEXT and layer is not None and layer >= shape.own_key_layers and not _KEYS.isdisjoint(parts):
        return False
    if role is Role.TEXT:
        return layer is None or layer < shape.layers
    if role is Role.AUDIO or shape.vision_layers is None:
        return True
    # LLaVA uses the output of a layer before the last; later layers are not built.
    return "post_layernorm" not in parts and (layer is None or layer < shape.vision_layers)


def _kept_bytes(name: str, tensor: Tensor, shape: Shape) -> int:
    dtype_bytes = DTYPE_BYTES[shape.dtype]
    if tensor.shape[:1] == (shape.vocabulary_size,) and (is_embedding(name) or is_head(name)):
        padded = -(-shape.vocabulary_size // VOCABULARY_PADDING) * VOCABULARY_PADDING
        return resident_bytes(tensor, dtype_bytes) // shape.vocabulary_size * padded
    if not FLOAT32_SCALES.isdisjoint((shape.quantization or "").split(JOINED)) and name.endswith(
        ("weight_scale", "weight_scale_inv")
    ):
        return tensor.elements * 4
    return resident_bytes(tensor, dtype_bytes)

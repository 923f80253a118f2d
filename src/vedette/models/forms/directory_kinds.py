"""Names a directory that holds something other than a model in Hugging Face's format: an adapter, GGUF, ONNX. Pure."""

from collections.abc import Collection, Mapping
from typing import Any

from vedette.errors import ModelNotFoundError

_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def other_kind(names: Collection[str], config: Mapping[str, Any] | None, path: str) -> ModelNotFoundError | None:
    """The error that says what a directory holds, and what to do with it; None for a model and for what nobody knows.

    names: of its files and folders. config: its config.json; None if it has none. path: for the message.
    """
    weights = [name for name in names if name.endswith(".safetensors")]
    if "adapter_config.json" in names and all(name.startswith("adapter_") for name in weights):
        return ModelNotFoundError("models.is_adapter", path=path)
    if config is None:
        return _without_config(names, weights, path)
    if "architectures" not in config and not {"build_config", "pretrained_config"}.isdisjoint(config):
        return ModelNotFoundError("models.is_tensorrt", path=path)
    if weights or "model.safetensors.index.json" in names:
        return None
    pickled = ModelNotFoundError("models.is_pickled", path=path) if _any(names, _PICKLES) else None
    return _by_file(names, path) or pickled


def _without_config(names: Collection[str], weights: Collection[str], path: str) -> ModelNotFoundError | None:
    if "model_index.json" in names:
        return ModelNotFoundError("models.is_diffusion", path=path)
    if "params.json" in names and (weights or _any(names, _PICKLES)):
        return ModelNotFoundError("models.is_mistral", path=path)
    return _by_file(names, path)


def _by_file(names: Collection[str], path: str) -> ModelNotFoundError | None:
    """What a directory without weights in safetensors is, by the ends of its files' names."""
    kinds = (
        ((".gguf",), ModelNotFoundError("models.is_gguf_directory", path=path)),
        ((".engine", ".plan", ".trt"), ModelNotFoundError("models.is_tensorrt", path=path)),
        ((".onnx", "onnx", "genai_config.json"), ModelNotFoundError("models.is_onnx", path=path)),
        (("openvino_model.xml", "openvino_language_model.xml"), ModelNotFoundError("models.is_openvino", path=path)),
    )
    return next((error for ends, error in kinds if _any(names, ends)), None)


def _any(names: Collection[str], ends: tuple[str, ...]) -> bool:
    return any(name.lower().endswith(ends) for name in names)

"""Checks that a model's configuration and its tensors speak of the same pictures. Pure.

vLLM finds out half a minute after its start, in the middle of loading the weights.
"""

from collections.abc import Mapping

from vedette.errors import ModelCorruptError
from vedette.models.config_reader import ConfigReader
from vedette.models.families.family import Vision
from vedette.models.tensors import Tensor

CHANNELS = 3
"""Red, green and blue: what every processor makes of a picture."""
_CHANNEL_NAMES = ("in_channels", "in_chans", "num_channels")
_PATCH_WEIGHTS = ("patch_embed.proj.weight", "patch_embedding.weight")
"""Ends of the names of the convolution that makes vectors of patches: [size, channels, (frames,) height, width]."""


def check_channels(encoder: ConfigReader) -> None:
    """Raises ModelCorruptError for an encoder of pictures that do not have three colours."""
    for name in _CHANNEL_NAMES:
        value = encoder.values.get(name)
        if value is not None and encoder.size(name) != CHANNELS:
            raise ModelCorruptError("models.wrong_channels", name=name, where=encoder.where, value=value)


def check_patches(vision: Vision, tensors: Mapping[str, Tensor], model: str) -> None:
    """Raises ModelCorruptError if the weights are for patches of another size than the configuration's."""
    for name, tensor in tensors.items():
        if not name.endswith(_PATCH_WEIGHTS) or len(tensor.shape) not in (4, 5):
            continue
        channels, sides = tensor.shape[1], tensor.shape[-2:]
        if channels != CHANNELS or sides not in {(side, side) for side in vision.patch_sides}:
            raise ModelCorruptError(
                "models.patches_disagree",
                path=model,
                tensor=name[:80],
                shape=" x ".join(map(str, tensor.shape)),
                patch_size=vision.patch_size,
            )

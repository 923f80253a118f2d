"""Checkpoints of any shape without their weights: real headers in sparse files, and the plans that vedette makes."""

import json
import math
import struct
from pathlib import Path
from typing import Any

from tests.rig.plans import proposal_of
from vedette.deploy.planning import Proposal

SIZES = {"BF16": 2, "F16": 2, "F32": 4, "U8": 1, "F8_E4M3": 1, "I32": 4, "I8": 1, "U32": 4}
Tensors = dict[str, list[int] | tuple[str, list[int]]]
"""The shape of each tensor, with its type where it is not the checkpoint's."""


def write_checkpoint(
    directory: Path,
    config: dict[str, Any],
    tensors: Tensors,
    dtype: str = "BF16",
    template: str = "",
    **files: dict[str, Any],
) -> Path:
    """A model's directory. files: further JSON files by their names without `.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = {"config": config, "tokenizer": {}, "tokenizer_config": {"chat_template": template} if template else {}}
    for name, value in (texts | files).items():
        (directory / f"{name}.json").write_text(json.dumps(value))
    write_weights(directory / "model.safetensors", tensors, dtype)
    return directory


def write_weights(path: Path, tensors: Tensors, dtype: str = "BF16") -> None:
    """A safetensors file whose data is a hole."""
    header, end = dict[str, Any](), 0
    for name, entry in tensors.items():
        kind, shape = entry if isinstance(entry, tuple) else (dtype, entry)
        begin, end = end, end + SIZES[kind] * math.prod(shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def decoder(  # noqa: PLR0913 - the sizes of a decoder
    prefix: str, layers: int, hidden: int, intermediate: int, heads: int, kv_heads: int, head_size: int
) -> Tensors:
    """The layers of a decoder of Llama's kind."""
    made: Tensors = {}
    for layer in range(layers):
        attention, feed_forward = f"{prefix}layers.{layer}.self_attn", f"{prefix}layers.{layer}.mlp"
        made |= {
            f"{attention}.q_proj.weight": [heads * head_size, hidden],
            f"{attention}.k_proj.weight": [kv_heads * head_size, hidden],
            f"{attention}.v_proj.weight": [kv_heads * head_size, hidden],
            f"{attention}.o_proj.weight": [hidden, heads * head_size],
            f"{feed_forward}.gate_proj.weight": [intermediate, hidden],
            f"{feed_forward}.up_proj.weight": [intermediate, hidden],
            f"{feed_forward}.down_proj.weight": [hidden, intermediate],
        }
    return made


def tower(prefix: str, layers: int, hidden: int, intermediate: int) -> Tensors:
    """The layers of a plain vision or audio tower."""
    made: Tensors = {}
    for layer in range(layers):
        place = f"{prefix}layers.{layer}"
        made |= {
            f"{place}.self_attn.qkv.weight": [3 * hidden, hidden],
            f"{place}.self_attn.proj.weight": [hidden, hidden],
            f"{place}.mlp.fc1.weight": [intermediate, hidden],
            f"{place}.mlp.fc2.weight": [hidden, intermediate],
        }
    return made


def bytes_of(tensors: Tensors, element_bytes: int = 2) -> int:
    """The bytes of plain tensors with elements of this size."""
    shapes = (entry[1] if isinstance(entry, tuple) else entry for entry in tensors.values())
    return element_bytes * sum(math.prod(shape) for shape in shapes)


def plan_of(directory: Path, device: str = "orin-nx-16gb", **wishes: object) -> Proposal:
    """The plan of a checkpoint on a board, as `vedette plan` makes it."""
    return proposal_of(str(directory), device, **wishes)


def chat_of(directory: Path, context: int, device: str = "orin-nx-16gb") -> Proposal:
    """The plan for one conversation of `context` tokens."""
    return plan_of(directory, device, workload="chat", context=context, concurrency=1)


def limits_of(proposal: Proposal) -> dict[str, int]:
    """The value of `--limit-mm-per-prompt`."""
    limits: dict[str, int] = json.loads(proposal.arguments[proposal.arguments.index("--limit-mm-per-prompt") + 1])
    return limits


def argument_of(proposal: Proposal, option: str) -> str | None:
    """The value of an option of the engine; None if it is not given."""
    arguments = proposal.arguments
    return arguments[arguments.index(option) + 1] if option in arguments else None

"""Text models of zeros, installed in a home: real files of any size that take no disk space."""

import json
import struct

from vedette.settings.home import Home


def install_zeros(home: Home, name: str, layers: int, hidden: int) -> None:
    """A model of zeros with SmolLM2's kind of shape, its file without the zeros themselves."""
    place = home.models / name.replace("/", "--")
    place.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "hidden_size": hidden,
        "intermediate_size": hidden * 8 // 3,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "num_key_value_heads": hidden // 192,
        "max_position_embeddings": 8192,
        "vocab_size": 49_152,
        "tie_word_embeddings": True,
    }
    (place / "config.json").write_text(json.dumps(config))
    (place / "tokenizer.json").write_text("{}" + " " * 100_000)
    sizes = {"model.embed_tokens.weight": 49_152 * hidden}
    sizes |= {f"model.layers.{layer}.mlp.up_proj.weight": hidden * hidden * 11 for layer in range(layers)}
    header, offset = {}, 0
    for tensor, elements in sizes.items():
        header[tensor] = {
            "dtype": "BF16", "shape": [hidden, elements // hidden], "data_offsets": [offset, offset + 2 * elements]
        }  # fmt: skip
        offset += 2 * elements
    text = json.dumps(header).encode()
    with (place / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)

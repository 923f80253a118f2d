"""Run by an engine's Python, never imported by vedette: a GGUF file becomes a directory that vLLM serves.

python dequantize.py MODEL.gguf DIRECTORY
"""

import sys
from pathlib import Path

import torch  # type: ignore[import-not-found]
from transformers import (  # type: ignore[import-not-found]
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
)


def main() -> None:
    weights, directory = Path(sys.argv[1]), Path(sys.argv[2])
    model = AutoModelForCausalLM.from_pretrained(
        weights.parent,
        gguf_file=weights.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name).save_pretrained(directory)


if __name__ == "__main__":
    main()

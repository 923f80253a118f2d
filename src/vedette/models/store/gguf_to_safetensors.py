"""Converts a GGUF file to a directory that vLLM serves. An engine's Python runs it; vedette never imports it.

python gguf_to_safetensors.py MODEL.gguf DIRECTORY
"""

import sys
from pathlib import Path

import torch
from gguf import GGUFReader
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
)

PLAIN_CHAT = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- {"user": "Question: ", "assistant": "Answer: "}.get(message.role, "") + message.content + "\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "Answer:" -}}{%- endif -%}
"""
"""For a model that only continues texts: writes a conversation as one text."""


def main() -> None:
    weights, directory = Path(sys.argv[1]), Path(sys.argv[2])
    model = AutoModelForCausalLM.from_pretrained(
        weights.parent,
        gguf_file=weights.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(directory)
    # transformers reads everything of a tokenizer from a GGUF file except whether texts begin with <bos>.
    begins = GGUFReader(weights).get_field("tokenizer.ggml.add_bos_token")
    options = {"add_bos_token": True} if begins is not None and begins.contents() else {}
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name, **options)
    tokenizer.chat_template = tokenizer.chat_template or PLAIN_CHAT
    tokenizer.save_pretrained(directory)


if __name__ == "__main__":
    main()

"""A small tokenizer for a shape: one token for each byte, and the special tokens under their published numbers."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIRST_BYTE = 300
"""The byte tokens' first number: behind every special token that stands at a vocabulary's beginning."""


@dataclass(frozen=True)
class Tokens:
    """Special tokens of a family of models by their number in the vocabulary."""

    special: dict[str, int]
    end: str
    """Ends an answer."""
    pad: str
    turn: str
    """Stands before a message; `{role}` becomes who speaks."""
    picture: str = ""
    """What a chat template writes for one picture."""
    clip: str = ""
    names: dict[str, str] = field(default_factory=dict)
    """Special tokens that a processor asks its tokenizer for by attribute."""


QWEN = Tokens(
    {
        "<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<|vision_start|>": 151652,
        "<|vision_end|>": 151653, "<|vision_pad|>": 151654, "<|image_pad|>": 151655, "<|video_pad|>": 151656,
    },
    "<|im_end|>", "<|endoftext|>", "<|im_start|>{role}\n",
    "<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|video_pad|><|vision_end|>",
)  # fmt: skip
QWEN3_5 = Tokens(
    {
        "<|endoftext|>": 248044, "<|im_start|>": 248045, "<|im_end|>": 248046, "<|vision_start|>": 248053,
        "<|vision_end|>": 248054, "<|vision_pad|>": 248055, "<|image_pad|>": 248056, "<|video_pad|>": 248057,
    },
    QWEN.end, QWEN.pad, QWEN.turn, QWEN.picture, QWEN.clip,
)  # fmt: skip
LLAMA_3 = Tokens(
    {
        "<|begin_of_text|>": 128000, "<|end_of_text|>": 128001, "<|finetune_right_pad_id|>": 128004,
        "<|start_header_id|>": 128006, "<|end_header_id|>": 128007, "<|eom_id|>": 128008, "<|eot_id|>": 128009,
    },
    "<|eot_id|>", "<|finetune_right_pad_id|>", "<|start_header_id|>{role}<|end_header_id|>\n\n",
)  # fmt: skip
GEMMA_3 = Tokens(
    {
        "<pad>": 0, "<eos>": 1, "<bos>": 2, "<start_of_turn>": 105, "<end_of_turn>": 106,
        **{"\n" * lines: 106 + lines for lines in range(1, 5)},  # vLLM's Gemma 3 looks these up
        "<start_of_image>": 255999, "<end_of_image>": 256000, "<image_soft_token>": 262144,
    },
    "<end_of_turn>", "<pad>", "<start_of_turn>{role}\n", "<start_of_image>",
    names={"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"},
)  # fmt: skip
ERNIE = Tokens(
    {"<unk>": 0, "<s>": 1, "</s>": 2, "<|begin_of_sentence|>": 100272, "<|end_of_sentence|>": 100273},
    "</s>", "<unk>", "<|begin_of_sentence|>{role}: ",
)  # fmt: skip
SMOLLM2 = Tokens(
    {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}, "<|im_end|>", "<|im_end|>", "<|im_start|>{role}\n"
)
SMOLVLM = Tokens(
    {
        **SMOLLM2.special,
        "<global-img>": 49152,
        **{f"<row_{1 + tile // 6}_col_{1 + tile % 6}>": 49153 + tile for tile in range(36)},
        "<fake_token_around_image>": 49189, "<image>": 49190, "<end_of_utterance>": 49279,
    },
    "<end_of_utterance>", "<|im_end|>", "<|im_start|>{role}: ", "<image>",
)  # fmt: skip
DEEPSEEK_V2 = Tokens(
    {"<｜begin▁of▁sentence｜>": 100000, "<｜end▁of▁sentence｜>": 100001},
    "<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "{role}: ",
)  # fmt: skip
OLMOE = Tokens({"<|padding|>": 1, "<|endoftext|>": 50279}, "<|endoftext|>", "<|padding|>", "<|{role}|>\n")
LLAVA = Tokens(
    {"<unk>": 0, "<s>": 1, "</s>": 2, "<image>": 32000, "<pad>": 32001}, "</s>", "<pad>", "{role}: ", "<image>\n"
)

TEMPLATE = """\
{%%- for message in messages -%%}
{{- '%(before)s' ~ message.role ~ '%(after)s' -}}
{%%- if message.content is string -%%}
{{- message.content -}}
{%%- else -%%}
{%%- for part in message.content -%%}
{%%- if part.type == 'text' -%%}{{- part.text -}}
{%%- elif part.type in ('video', 'video_url') -%%}{{- '%(clip)s' -}}
{%%- else -%%}{{- '%(picture)s' -}}
{%%- endif -%%}
{%%- endfor -%%}
{%%- endif -%%}
{{- '%(end)s\\n' -}}
{%%- endfor -%%}
{%%- if add_generation_prompt -%%}{{- '%(before)sassistant%(after)s' -}}{%%- endif -%%}
"""


def write_tokenizer(tokens: Tokens, processor: str | None, context_tokens: int, directory: Path) -> None:
    """Writes tokenizer.json, tokenizer_config.json and chat_template.jinja for a `processor`'s class, if any."""
    vocabulary = {letter: FIRST_BYTE + byte for byte, letter in enumerate(_byte_letters())} | tokens.special
    added = [
        {"id": number, "content": text, "special": text.startswith("<")}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for text, number in sorted(tokens.special.items(), key=lambda item: item[1])
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    tokenizer: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {**model, "vocab": vocabulary, "merges": []},
    }  # fmt: skip
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": tokens.end, "pad_token": tokens.pad,
        "model_max_length": context_tokens, "clean_up_tokenization_spaces": False,
        "extra_special_tokens": tokens.names, **({"processor_class": processor} if processor else {}),
    }  # fmt: skip
    before, after = tokens.turn.replace("\n", "\\n").split("{role}")
    words = {"before": before, "after": after, "end": tokens.end, "clip": tokens.clip, "picture": tokens.picture}
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=1, ensure_ascii=False))
    (directory / "chat_template.jinja").write_text(TEMPLATE % {k: v.replace("\n", "\\n") for k, v in words.items()})


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in byte-level vocabularies: itself where it prints, else one from 256 on."""
    prints = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in prints else next(others)) for byte in range(256)]

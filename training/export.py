"""Writes the trained network as a model directory that transformers and vLLM load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from training import shape
from training.tokenizer import SPECIAL

TEMPLATE = Path(__file__).parent / "chat_template.jinja"


def model_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """config.json, in the form that Qwen3-VL's own takes."""
    ids = {
        name: tokenizer.token_to_id(f"<|{name}|>") for name in ("image_pad", "video_pad", "vision_start", "vision_end")
    }
    end, pad = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "dtype": "bfloat16",
        "image_token_id": ids["image_pad"],
        "video_token_id": ids["video_pad"],
        "vision_start_token_id": ids["vision_start"],
        "vision_end_token_id": ids["vision_end"],
        "tie_word_embeddings": True,
        "text_config": {
            **shape.TEXT,
            "model_type": "qwen3_vl_text",
            "dtype": "bfloat16",
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "bos_token_id": pad,
            "eos_token_id": end,
            "tie_word_embeddings": True,
            "use_cache": True,
            "rope_scaling": {
                "rope_type": "default",
                "mrope_interleaved": True,
                "mrope_section": list(shape.MROPE_SECTION),
            },
        },
        "vision_config": {
            **shape.VISION,
            "model_type": "qwen3_vl",
            "hidden_act": "gelu_pytorch_tanh",
            "initializer_range": 0.02,
        },
    }


def _pixels(least: int, most: int) -> dict[str, Any]:
    return {
        "size": {"shortest_edge": least, "longest_edge": most},
        "patch_size": shape.PATCH_PX,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }


def small_files(tokenizer: Tokenizer) -> dict[str, Any]:
    """Every JSON file but the tokenizer itself."""
    end, pad = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    return {
        "config.json": model_config(tokenizer),
        "generation_config.json": {
            "do_sample": False,
            "temperature": 0.0,
            "eos_token_id": [end, pad],
            "pad_token_id": pad,
        },
        "preprocessor_config.json": {
            **_pixels(shape.MIN_PICTURE_PX, shape.MAX_PICTURE_PX),
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor",
        },
        "video_preprocessor_config.json": {
            **_pixels(shape.MIN_CLIP_PX, shape.MAX_CLIP_PX),
            "video_processor_type": "Qwen3VLVideoProcessor",
            "processor_class": "Qwen3VLProcessor",
            "min_frames": 4,
            "max_frames": shape.CLIP_FRAMES,
            "fps": 2,
            "cap_pixels_per_frame": False,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "processor_class": "Qwen3VLProcessor",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "additional_special_tokens": list(SPECIAL[1:]),
            "model_max_length": shape.TEXT["max_position_embeddings"],
            "clean_up_tokenization_spaces": False,
        },
    }


def export(state: dict[str, Tensor], tokenizer: Tokenizer, folder: Path) -> None:
    """Writes weights (bfloat16), configuration, tokenizer, processors and chat template into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().to("cpu", torch.bfloat16).contiguous() for name, value in state.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in small_files(tokenizer).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"))
    shutil.copy(TEMPLATE, folder / "chat_template.jinja")

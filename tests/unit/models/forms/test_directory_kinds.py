"""Directories that hold something other than a model in Hugging Face's format."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.rig.checkpoints import write_weights
from vedette.errors import ModelNotFoundError
from vedette.models.checkpoint import read_model
from vedette.models.forms.reasoning import reasoning_parser

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


@pytest.mark.parametrize(
    ("files", "config", "code"),
    [
        (("adapter_config.json", "adapter_model.safetensors", "tokenizer.json"), None, "models.is_adapter"),
        (("adapter_config.json", "adapter_model.safetensors"), LLAMA, "models.is_adapter"),
        (("model.Q4_K_M.gguf",), None, "models.is_gguf_directory"),
        (("model-Q8_0.GGUF",), LLAMA, "models.is_gguf_directory"),
        (("params.json", "tekken.json", "consolidated.safetensors"), None, "models.is_mistral"),
        (("params.json", "consolidated.00.pth", "tokenizer.model"), None, "models.is_mistral"),
        (("model.onnx", "tokenizer.json"), LLAMA, "models.is_onnx"),
        (("genai_config.json", "model.onnx.data"), None, "models.is_onnx"),
        (("rank0.engine",), {"pretrained_config": {}, "build_config": {}}, "models.is_tensorrt"),
        (("vision.plan",), None, "models.is_tensorrt"),
        (("openvino_model.xml", "openvino_model.bin"), LLAMA, "models.is_openvino"),
        (("model_index.json",), None, "models.is_diffusion"),
        (("pytorch_model.bin",), LLAMA, "models.is_pickled"),
        (("README.md",), None, "models.no_config"),
    ],
)
def test_what_a_directory_is(tmp_path: Path, files: tuple[str, ...], config: dict[str, Any] | None, code: str) -> None:
    for name in files:
        if name.endswith(".safetensors"):
            write_weights(tmp_path / name, {"a.weight": [2, 2]})
        else:
            (tmp_path / name).write_text("{}")
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelNotFoundError) as caught:
        read_model(tmp_path)
    assert caught.value.message.code == code


QWEN3 = "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
R1 = "{{ m.split('</think>')[-1] }}{% if add_generation_prompt %}<Assistant><think>\\n{% endif %}"
CLOSED = "{% if add_generation_prompt %}<think></think>{% endif %}"


@pytest.mark.parametrize(("template", "parser"), [(QWEN3, "qwen3"), (R1, "deepseek_r1"), (CLOSED, "qwen3"), ("", None)])
def test_which_parser_takes_thoughts_apart(template: str, parser: str | None) -> None:
    assert reasoning_parser(template) == parser

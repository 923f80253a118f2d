"""The script that an engine's Python runs on a GGUF file, with recorders in place of torch, gguf and transformers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vedette.models.store import model_catalogue

SCRIPT = Path(model_catalogue.__file__).with_name("gguf_to_safetensors.py")
LIBRARIES = {
    "torch": "bfloat16 = 'bfloat16'",
    "gguf": """
import json, os

class Field:
    def contents(self):
        return json.loads(os.environ["BEGINS"])

class GGUFReader:
    def __init__(self, path):
        assert path.name == "model.gguf"

    def get_field(self, name):
        assert name == "tokenizer.ggml.add_bos_token"
        return None if os.environ["BEGINS"] == "null" else Field()
""",
    "transformers": """
import json, os
from pathlib import Path

class GgufConfig:
    def __init__(self, **options):
        assert options == {"dequantize": True}

class Saved:
    chat_template = json.loads(os.environ["TEMPLATE"])

    def __init__(self, kind, options):
        self.kind, self.options = kind, options

    def save_pretrained(self, directory):
        saved = {"options": sorted(self.options), "template": self.chat_template}
        (Path(directory) / self.kind).write_text(json.dumps(saved))

class AutoModelForCausalLM:
    @staticmethod
    def from_pretrained(place, **options):
        return Saved("model", options)

class AutoTokenizer:
    @staticmethod
    def from_pretrained(place, **options):
        return Saved("tokenizer", options)
""",
}


def convert(tmp_path: Path, begins: bool | None, template: str | None) -> dict[str, Any]:
    """What the script saves as the tokenizer."""
    libraries, out = tmp_path / "libraries", tmp_path / "out"
    libraries.mkdir()
    out.mkdir()
    for name, text in LIBRARIES.items():
        (libraries / f"{name}.py").write_text(text)
    environment = {"PYTHONPATH": str(libraries), "BEGINS": json.dumps(begins), "TEMPLATE": json.dumps(template)}
    subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "model.gguf"), str(out)], env=os.environ | environment, check=True
    )
    assert json.loads((out / "model").read_text())["options"] == ["dtype", "gguf_file", "quantization_config"]
    saved: dict[str, Any] = json.loads((out / "tokenizer").read_text())
    return saved


@pytest.mark.parametrize(("begins", "options"), [(None, []), (False, []), (True, ["add_bos_token"])])
def test_texts_begin_as_the_file_says(tmp_path: Path, begins: bool | None, options: list[str]) -> None:
    assert convert(tmp_path, begins, "its own")["options"] == sorted(["gguf_file", *options])


def test_a_model_without_a_chat_template_gets_a_plain_one(tmp_path: Path) -> None:
    assert "Question: " in convert(tmp_path, None, None)["template"]


def test_a_chat_template_is_kept(tmp_path: Path) -> None:
    assert convert(tmp_path, None, "its own")["template"] == "its own"

"""Published models without weights: as many parameters as published, and read as models."""

import math
from pathlib import Path

import pytest

from bench.lab.shapes import SHAPES, header, make_shape, plain_parts
from vedette.models.checkpoint import read_model


@pytest.mark.parametrize("name", SHAPES)
def test_as_many_parameters_as_published(name: str) -> None:
    assert sum(math.prod(part.shape) for part in plain_parts(name)) == SHAPES[name].parameters


@pytest.mark.parametrize("name", SHAPES)
def test_is_read_as_a_model(name: str, tmp_path: Path) -> None:
    directory = make_shape(name, tmp_path / name)
    stored = sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in header(name).values())
    weights = directory / "model.safetensors"
    assert weights.stat().st_size > stored
    assert weights.stat().st_blocks * 512 < 8_000_000
    model = read_model(directory)
    assert 0.65 * stored < model.weights_bytes < 1.05 * stored  # an output head beside tied embeddings is not kept


def test_a_quantized_layer_is_stored_as_its_format_says() -> None:
    name = "model.layers.0.self_attn.k_proj"
    awq = header("Qwen2.5-1.5B-Instruct-AWQ")
    assert {key: awq[f"{name}.{key}"]["shape"] for key in ("qweight", "qzeros", "scales", "bias")} == {
        "qweight": (1536, 32),
        "qzeros": (12, 32),
        "scales": (12, 256),
        "bias": (256,),
    }
    nvfp4 = header("Qwen3-8B-NVFP4")
    assert nvfp4[f"{name}.weight_packed"]["shape"] == (1024, 2048)
    assert nvfp4[f"{name}.weight_scale"] | {"data_offsets": None} == {
        "dtype": "F8_E4M3",
        "shape": (1024, 256),
        "data_offsets": None,
    }
    assert "lm_head.weight" in nvfp4

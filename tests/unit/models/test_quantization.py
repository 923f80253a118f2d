"""The storage formats that checkpoints describe in several ways, and what they order for keys and values."""

from typing import Any

import pytest

from vedette.models.config_reader import ConfigReader
from vedette.models.quantization import parse_cache_order, parse_quantization, with_side_file


def reader(config: dict[str, Any]) -> ConfigReader:
    return ConfigReader(config, "config.json")


def group(bits: int, kind: str, inputs: int | None = None, **more: Any) -> dict[str, Any]:
    activations = {} if inputs is None else {"input_activations": {"num_bits": inputs, "type": kind}}
    return {"weights": {"num_bits": bits, "type": kind, **more}} | activations


def compressed(*groups: dict[str, Any], written: str = "pack-quantized", **more: Any) -> dict[str, Any]:
    named = {f"group_{index}": each for index, each in enumerate(groups)}
    return {"quant_method": "compressed-tensors", "format": written, "config_groups": named, **more}


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "gptq", "bits": 8}, "gptq-8bit"),
        ({"quant_method": "gptq", "bits": 3}, "gptq-3bit"),
        ({"quant_method": "gptq", "bits": 4, "sym": False}, "gptq-asymmetric"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        (compressed(group(4, "int")), "w4a16"),
        (compressed(group(8, "int", 8)), "w8a8-int8"),
        (compressed(group(4, "float", group_size=16)), "nvfp4"),
        (compressed(group(4, "float", group_size=32), written="mxfp4-pack-quantized"), "mxfp4"),
        (compressed(group(8, "float", 8, group_size=32), written="mxfp8-quantized"), "mxfp8"),
        (compressed(group(4, "float", group_size=16), group(8, "float", 8)), "nvfp4+w8a8-fp8"),
        (compressed(group(4, "int"), group(4, "int")), "w4a16"),
        ({"quant_method": "modelopt", "quant_algo": "FP8_PB_WO"}, "fp8"),
        ({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}, "nvfp4"),
        (
            {
                "quant_method": "modelopt",
                "quant_algo": "MIXED_PRECISION",
                "quantized_layers": {"a": {"quant_algo": "FP8"}, "b": {"quant_algo": "NVFP4"}},
            },
            "fp8+nvfp4",
        ),
        ({"bits": 4, "group_size": 64}, "mlx"),
        ({}, "unknown"),
    ],
)
def test_names_of_formats(section: dict[str, Any], name: str | None) -> None:
    assert parse_quantization(reader({"quantization_config": section})) == name
    assert parse_quantization(reader({"llm_config": {"quantization_config": section}})) == name


def test_mlx_has_a_section_of_its_own() -> None:
    assert parse_quantization(reader({"quantization": {"bits": 3, "group_size": 64}})) == "mlx"


def test_a_side_file_speaks_where_the_configuration_does_not() -> None:
    side = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
    both = with_side_file({"quantization_config": {"quant_method": "awq"}}, side)
    assert parse_quantization(reader(both)) == "awq"
    assert parse_quantization(reader(with_side_file({}, side))) == "fp8"
    assert parse_cache_order(reader(with_side_file({}, side))) == "fp8"
    assert with_side_file({"a": 1}, None) == {"a": 1}


@pytest.mark.parametrize(
    ("section", "order"),
    [
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": None}, None),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": "NVFP4"}, "nvfp4"),
        (compressed(group(4, "int"), kv_cache_scheme={"num_bits": 8, "type": "float"}), "fp8"),
        (compressed(group(4, "int"), kv_cache_scheme=None), None),
    ],
)
def test_orders_for_keys_and_values(section: dict[str, Any], order: str | None) -> None:
    assert parse_cache_order(reader({"quantization_config": section})) == order

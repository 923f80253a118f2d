"""Models read from their files: real shapes, and every way in which files can be damaged."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from vedette.errors import ModelCorruptError, ModelNotFoundError
from vedette.models import model_files
from vedette.models.checkpoint import read_model
from vedette.models.families.qwen_vl import QwenVision
from vedette.models.tensors import parse_index

QWEN3_VL: dict[str, Any] = {
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "model_type": "qwen3_vl",
    "dtype": "bfloat16",
    "tie_word_embeddings": True,
    "text_config": {
        "vocab_size": 1280,
        "hidden_size": 320,
        "intermediate_size": 896,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "max_position_embeddings": 4096,
        "rope_scaling": {"rope_type": "default", "mrope_section": [12, 10, 10]},
    },
    "vision_config": {"depth": 6, "hidden_size": 256, "intermediate_size": 1024, "patch_size": 16},
}
SMOLLM2: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
SIZES = {"F32": 4, "BF16": 2, "F8_E4M3": 1}


def safetensors(tensors: dict[str, tuple[str, list[int]]], data: bool = True) -> bytes:
    """A safetensors file of zeros with these types and shapes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        size = SIZES[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + (b"\0" * offset if data else b"")


WEIGHTS = {
    "model.language_model.embed_tokens.weight": ("BF16", [1280, 4]),
    "model.language_model.layers.0.mlp.up_proj.weight": ("BF16", [10, 10]),
    "model.visual.blocks.0.mlp.weight": ("BF16", [7, 3]),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model of the Qwen3-VL kind, whole."""
    directory = tmp_path / "small"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(QWEN3_VL))
    (directory / "model.safetensors").write_bytes(safetensors(WEIGHTS))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "preprocessor_config.json").write_text(
        json.dumps({"size": {"shortest_edge": 50_176, "longest_edge": 81_920}})
    )
    (directory / "video_preprocessor_config.json").write_text(
        json.dumps({"size": {"shortest_edge": 163_840, "longest_edge": 327_680}})
    )
    (directory / "chat_template.jinja").write_text("{% if enable_thinking %}<think>{% endif %}")
    return directory


def rewrite(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text())
    for key, value in changes.items():
        values[key] = value
    path.write_text(json.dumps(values))


def test_a_vision_language_model(model: Path) -> None:
    found = read_model(model)
    assert found.name == "small"
    assert found.path == model
    assert (found.layers, found.kv_heads, found.head_size, found.hidden_size) == (6, 2, 64, 320)
    assert found.tokenizer_bytes == 2
    assert found.weights_bytes == 2 * (1280 * 4 + 100 + 21)
    assert found.vision_weights_bytes == 42
    assert found.decode_weights_bytes == 2 * (1280 * 4 + 100)
    assert isinstance(found.vision, QwenVision)
    assert (found.vision.min_pixels, found.vision.max_pixels) == (50_176, 81_920)
    assert found.vision.video_max_pixels == 327_680
    assert found.thinks
    assert found.rotary[0].spare == 4
    assert (found.images_per_prompt, found.videos_per_prompt) == (2, 1)


def test_a_language_model_with_untied_embeddings_in_float32(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2 | {"tie_word_embeddings": False}))
    (tmp_path / "tokenizer.model").write_text("")
    (tmp_path / "model.safetensors").write_bytes(
        safetensors({"model.embed_tokens.weight": ("F32", [10, 2]), "lm_head.weight": ("F32", [10, 2])})
    )
    found = read_model(tmp_path, "HuggingFaceTB/SmolLM2-135M-Instruct")
    assert found.name == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert found.head_size == 64
    assert found.weights_bytes == 2 * 2 * 20, "float32 on disk becomes the model's bfloat16"
    assert found.decode_weights_bytes == 2 * 20, "input embeddings are looked up, not read through"
    assert found.vision is None
    assert not found.thinks
    assert found.images_per_prompt == 0


def test_a_tied_output_head_on_disk_is_not_counted_twice(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(
        safetensors({"model.embed_tokens.weight": ("BF16", [10, 2]), "lm_head.weight": ("BF16", [10, 2])})
    )
    assert read_model(tmp_path).weights_bytes == 40


def test_quantized_tensors_keep_their_size(model: Path) -> None:
    (model / "model.safetensors").write_bytes(safetensors({"layers.0.weight": ("F8_E4M3", [10, 10])}))
    rewrite(model / "config.json", quantization_config={"quant_method": "fp8"})
    found = read_model(model)
    assert (found.weights_bytes, found.quantization) == (100, "fp8")


def test_processor_settings_in_one_file(model: Path) -> None:
    (model / "preprocessor_config.json").unlink()
    (model / "video_preprocessor_config.json").unlink()
    (model / "processor_config.json").write_text(
        json.dumps({"image_processor": {"min_pixels": 3136, "max_pixels": 100_352}, "processor_class": "X"})
    )
    found = read_model(model)
    assert isinstance(found.vision, QwenVision)
    assert (found.vision.min_pixels, found.vision.max_pixels) == (3136, 100_352)
    assert found.vision.video_max_pixels is None
    assert found.videos_per_prompt == 0


def test_a_vision_part_of_no_family_is_unknown(model: Path) -> None:
    rewrite(model / "config.json", model_type="novel_vl", architectures=["NovelVLForConditionalGeneration"])
    found = read_model(model)
    assert found.vision is None
    assert found.unknown_vision


def test_shards_and_their_index(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "a.safetensors").write_bytes(safetensors({"a": ("BF16", [4])}))
    (model / "b.safetensors").write_bytes(safetensors({"b": ("BF16", [6])}))
    (model / "stray.safetensors").write_bytes(safetensors({"c": ("BF16", [100])}))
    index = {"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read_model(model).weights_bytes == 20
    (model / "b.safetensors").unlink()
    with pytest.raises(
        ModelCorruptError, match=r"weights file b\.safetensors, which the model.s index names, is missing"
    ):
        read_model(model)
    (model / "a.safetensors").unlink()
    with pytest.raises(ModelCorruptError, match=r"weights file a\.safetensors and 1 more"):
        read_model(model)


def test_weights_in_an_authors_own_format_count_only_alone(model: Path) -> None:
    once = read_model(model).weights_bytes
    (model / "consolidated.safetensors").write_bytes(safetensors({"own": ("BF16", [100])}))
    assert read_model(model).weights_bytes == once
    (model / "model.safetensors").unlink()
    assert read_model(model).weights_bytes == 200


def test_weights_without_a_tensor(model: Path) -> None:
    (model / "model.safetensors").write_bytes(safetensors({}))
    with pytest.raises(ModelCorruptError, match="hold no tensors"):
        read_model(model)


def test_an_index_names_at_most_2000_files() -> None:
    files = {str(number): f"{number:04}.safetensors" for number in range(2001)}
    path = Path("model.safetensors.index.json")
    with pytest.raises(ModelCorruptError, match="cannot be a model's weights"):
        parse_index(json.dumps({"weight_map": files}).encode(), path)
    del files["2000"]
    assert len(parse_index(json.dumps({"weight_map": files}).encode(), path)) == 2000


@pytest.mark.parametrize(
    "index",
    [
        {"weight_map": {"a": "../../etc/passwd"}},
        {"weight_map": {"a": "/etc/passwd"}},
        {"weight_map": {"a": 5}},
        {"weight_map": ["a"]},
        {"weight_map": {}},
        [],
    ],
)
def test_an_invalid_index(model: Path, index: object) -> None:
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelCorruptError, match=r"index\.json"):
        read_model(model)


def damaged(**tensor: Any) -> bytes:
    text = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]} | tensor}).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1\2\3",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 200) + b"{}",
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 4) + b"\xff\xfe{}",
        struct.pack("<Q", 20_000) + b'{"a":' + b"[" * 19_995,
        safetensors(WEIGHTS)[:-1],
        safetensors(WEIGHTS, data=False),
        damaged(shape=[3]),
        damaged(shape=[-2]),
        damaged(shape=[1 << 70]),
        damaged(shape=[1] * 1000),
        damaged(data_offsets=[4, 0]),
        damaged(data_offsets=[0]),
        damaged(dtype=7),
        damaged(shape="2"),
    ],
)
def test_a_damaged_weights_file_is_one_clear_sentence(model: Path, data: bytes) -> None:
    (model / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelCorruptError) as caught:
        read_model(model)
    assert "small" in caught.value.sentence, "it names the file or its directory"
    assert "\n" not in caught.value.sentence


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": None}, "names no architecture"),
        ({"architectures": [7]}, "names no architecture"),
        ({"text_config": []}, "text_config .* is not a JSON object"),
        ({"text_config": QWEN3_VL["text_config"] | {"num_hidden_layers": -4}}, "num_hidden_layers .* is -4"),
        ({"text_config": QWEN3_VL["text_config"] | {"num_hidden_layers": 1e9}}, "num_hidden_layers"),
        ({"text_config": QWEN3_VL["text_config"] | {"num_hidden_layers": 1 << 40}}, "num_hidden_layers"),
        ({"text_config": QWEN3_VL["text_config"] | {"hidden_size": True}}, "hidden_size .* is True"),
        ({"text_config": QWEN3_VL["text_config"] | {"vocab_size": "x" * 500}}, r"vocab_size .* is 'x+\.\.\."),
        ({"dtype": 16}, "dtype .* is 16"),
        ({"quantization_config": "fp8"}, "quantization_config .* is not a JSON object"),
    ],
)
def test_a_damaged_configuration_is_one_clear_sentence(model: Path, changes: dict[str, Any], message: str) -> None:
    rewrite(model / "config.json", **changes)
    with pytest.raises(ModelCorruptError, match=message) as caught:
        read_model(model)
    assert len(caught.value.sentence) < 300


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '"x"', "\udcff"])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "video_preprocessor_config.json"])
def test_a_file_without_a_json_object(model: Path, name: str, text: str) -> None:
    (model / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ModelCorruptError, match=name):
        read_model(model)


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="is not a readable directory"):
        read_model(tmp_path / "nowhere")
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        read_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    with pytest.raises(ModelCorruptError, match="no weights"):
        read_model(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelNotFoundError, match="only as pickles"):
        read_model(tmp_path)
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(ModelCorruptError, match="cannot be read"):
        read_model(tmp_path)


def test_a_model_without_a_tokenizer_is_refused(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    with pytest.raises(ModelCorruptError, match="no tokenizer"):
        read_model(model)


@pytest.mark.parametrize("name", ["in_channels", "in_chans", "num_channels"])
@pytest.mark.parametrize("value", [1, 4, 0, -3, "3", 10**30])
def test_pictures_have_three_colours(model: Path, name: str, value: object) -> None:
    rewrite(model / "config.json", vision_config=QWEN3_VL["vision_config"] | {name: 3})
    read_model(model)
    rewrite(model / "config.json", vision_config=QWEN3_VL["vision_config"] | {name: value})
    with pytest.raises(ModelCorruptError, match=name):
        read_model(model)


@pytest.mark.parametrize("value", [0, -16, 16.5, "16", None, float("nan"), 10**30])
def test_an_impossible_patch_size_is_found(model: Path, value: object) -> None:
    rewrite(model / "config.json", vision_config=QWEN3_VL["vision_config"] | {"patch_size": value})
    if value is None:
        assert read_model(model).vision is not None, "the default holds"
        return
    with pytest.raises(ModelCorruptError, match="patch_size"):
        read_model(model)


@pytest.mark.parametrize(
    ("shape", "fits"), [([4, 3, 2, 16, 16], True), ([4, 1, 2, 16, 16], False), ([4, 3, 2, 14, 14], False)]
)
def test_weights_for_other_patches_than_the_configuration_s(model: Path, shape: list[int], fits: bool) -> None:
    tensors = WEIGHTS | {"model.visual.patch_embed.proj.weight": ("BF16", shape)}
    (model / "model.safetensors").write_bytes(safetensors(tensors))
    if fits:
        assert read_model(model).vision is not None
        return
    with pytest.raises(ModelCorruptError, match=r"patch_embed.* has the shape 4 x"):
        read_model(model)


def test_tensors_that_overlap_or_leave_a_gap_are_found(model: Path) -> None:
    first = {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}
    places = {"overlap": ([2, 6], 6), "gap": ([5, 9], 9), "same": ([0, 4], 4), "tail": ([4, 8], 9)}
    for name, (offsets, size) in places.items():
        text = json.dumps({"a": first, "b": first | {"data_offsets": offsets}}).encode()
        (model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * size)
        with pytest.raises(ModelCorruptError) as caught:
            read_model(model)
        wanted = "models.weights_too_long" if name == "tail" else "models.tensor_misplaced"
        assert caught.value.message.code == wanted, name


def test_a_name_with_two_values(model: Path) -> None:
    text = (model / "config.json").read_text()
    (model / "config.json").write_text(text.replace('"vocab_size": 1280', '"vocab_size": 1280, "vocab_size": 1280'))
    read_model(model)
    (model / "config.json").write_text(text.replace('"vocab_size": 1280', '"vocab_size": 1281, "vocab_size": 1280'))
    with pytest.raises(ModelCorruptError, match="two different values for vocab_size"):
        read_model(model)
    (model / "config.json").write_text(text)
    tensor = '{"dtype": "BF16", "shape": [2], "data_offsets": [%d, %d]}'
    header = f'{{"a": {tensor % (0, 4)}, "a": {tensor % (4, 8)}}}'.encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    with pytest.raises(ModelCorruptError, match="follows a gap"):
        read_model(model)


def test_a_tokenizer_that_would_hold_up_every_start(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokens = [{"id": number, "content": f"<{number}>", **rest} for number in range(40)]
    (model / "tokenizer.json").write_text(json.dumps({"added_tokens": tokens}))
    read_model(model)
    monkeypatch.setattr(model_files, "MAX_ADDED_TOKENS", 39)
    with pytest.raises(ModelCorruptError, match="adds 40 tokens"):
        read_model(model)

"""Parts that are not loaded, and tables that are looked up: in memory, in limits, in the speed's ceiling."""

from pathlib import Path
from typing import Any

import pytest

from tests.rig.checkpoints import (
    Tensors,
    argument_of,
    bytes_of,
    chat_of,
    decoder,
    limits_of,
    plan_of,
    tower,
    write_checkpoint,
)

LAYERS, HIDDEN, SHARED = 35, 1536, 20
GEMMA_4: dict[str, Any] = {
    "architectures": ["Gemma4ForConditionalGeneration"],
    "model_type": "gemma4",
    "dtype": "bfloat16",
    "text_config": {
        "model_type": "gemma4_text",
        "hidden_size": HIDDEN,
        "intermediate_size": 6144,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "num_kv_shared_layers": SHARED,
        "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7,
        "tie_word_embeddings": True,
    },
    "vision_config": {"model_type": "gemma4_vision"},
    "audio_config": {"model_type": "gemma4_audio"},
}
PREFIX = "model.language_model."
READ: Tensors = {
    f"{PREFIX}embed_tokens.weight": [262_144, HIDDEN],
    f"{PREFIX}per_layer_model_projection.weight": [LAYERS * 256, HIDDEN],
    **decoder(PREFIX, LAYERS, HIDDEN, 6144, 8, 1, 256),
}
LOOKED_UP: Tensors = {f"{PREFIX}embed_tokens_per_layer.weight": [262_144, LAYERS * 256]}
EARS = tower("model.audio_tower.", 12, 1024, 4096)


@pytest.fixture
def gemma(tmp_path: Path) -> Path:
    eyes = tower("model.vision_tower.encoder.", 16, 768, 3072)
    return write_checkpoint(tmp_path / "gemma-4-e2b", GEMMA_4, READ | LOOKED_UP | eyes | EARS)


def test_layers_that_share_keys_and_values(gemma: Path) -> None:
    assert chat_of(gemma, 32_768).plan.memory.kv_cache_bytes == pytest.approx(258_342_912, rel=0.25)


def test_embeddings_of_layers_are_looked_up(gemma: Path) -> None:
    ceiling = chat_of(gemma, 32_768).plan.speed.decode_tokens_per_s_ceiling
    assert ceiling == pytest.approx(102.4e9 / bytes_of(READ), rel=0.02)


def test_sound_is_off_unless_wished_for(gemma: Path) -> None:
    silent, hearing = (plan_of(gemma, workload="chat", audio=count) for count in (None, 2))
    assert [limits_of(proposal)["audio"] for proposal in (silent, hearing)] == [0, 2]
    added = hearing.plan.memory.weights_bytes - silent.plan.memory.weights_bytes
    assert added == bytes_of(EARS)


@pytest.mark.parametrize(
    "names",
    [
        ("vpm.encoder.", "resampler."),
        ("vision_model.encoder.", "mlp1."),
        ("model.vision_backbone.image_vit.", "model.vision_backbone.image_projector."),
        ("model.vision_embed_tokens.img_processor.", "model.vision_embed_tokens.img_projection."),
        ("model.sam_model.", "model.projector."),
    ],
)
def test_towers_of_every_name_are_not_loaded_for_text(tmp_path: Path, names: tuple[str, ...]) -> None:
    config = {
        "architectures": ["SomeVLForCausalLM"],
        "model_type": "qwen2",
        "num_hidden_layers": 4,
        "hidden_size": 1024,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 50_000,
        "tie_word_embeddings": False,
    }
    text: Tensors = {name: [50_048, 1024] for name in ("llm.model.embed_tokens.weight", "llm.lm_head.weight")}
    text |= decoder("llm.model.", 4, 1024, 4096, 8, 2, 128)
    eyes = tower(names[0], 8, 1024, 4096) | {f"{names[1]}0.weight": [4096, 1024]}
    blind, seeing = (
        write_checkpoint(tmp_path / name, config, tensors) for name, tensors in (("a", text), ("b", text | eyes))
    )
    weights = [plan_of(made, workload="chat").plan.memory.weights_bytes for made in (blind, seeing)]
    assert weights[0] == weights[1]


def test_a_model_that_always_thinks_has_a_parser_of_its_own(tmp_path: Path) -> None:
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "num_hidden_layers": 2, "hidden_size": 128}
    template = "{% if add_generation_prompt %}<Assistant><think>\\n{% endif %}"
    tensors: Tensors = {"model.embed_tokens.weight": [151_936, 128], "lm_head.weight": [151_936, 128]}
    made = write_checkpoint(
        tmp_path / "r1", config, tensors | decoder("model.", 2, 128, 512, 32, 32, 4), template=template
    )
    proposal = plan_of(made, workload="chat")
    assert argument_of(proposal, "--reasoning-parser") == "deepseek_r1"
    assert argument_of(proposal, "--default-chat-template-kwargs") is None, "its template has no switch for thinking"

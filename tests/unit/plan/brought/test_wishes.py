"""What a wish is called met for: a live view has pictures, a clip has frames. Found in plans for public checkpoints."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.rig.checkpoints import Tensors, argument_of, decoder, limits_of, plan_of, tower, write_checkpoint

QWEN2_5_VL: dict[str, Any] = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "model_type": "qwen2_5_vl",
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128_000,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "torch_dtype": "bfloat16",
    "vocab_size": 152_064,
    "vision_config": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584},
}
NOVEL_VL: dict[str, Any] = {
    "architectures": ["NovelVLForCausalLM"],
    "model_type": "novel_vl",
    "torch_dtype": "bfloat16",
    "llm_config": {
        "model_type": "qwen2",
        "hidden_size": 2048,
        "num_hidden_layers": 8,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "vocab_size": 92_553,
    },
}


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    tensors: Tensors = {name: [152_064, 3584] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    tensors |= decoder("model.", 28, 3584, 18_944, 28, 4, 128) | tower("visual.", 32, 1280, 3420)
    return write_checkpoint(tmp_path / "qwen2.5-vl-7b", QWEN2_5_VL, tensors, preprocessor_config={"patch_size": 14})


@pytest.fixture
def blind(tmp_path: Path) -> Path:
    """A vision model whose pictures cannot be counted, and whose configuration does not speak of them."""
    tensors: Tensors = {name: [92_553, 2048] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    tensors |= decoder("model.", 8, 2048, 8192, 16, 8, 128)
    return write_checkpoint(tmp_path / "novel-vl", NOVEL_VL, tensors | tower("vision_tower.", 4, 1024, 4096))


@pytest.mark.parametrize("device", ["agx-orin-32gb", "agx-thor"])
def test_clips_beside_pictures_on_engines_with_one_limit_for_both(qwen: Path, device: str) -> None:
    proposal = plan_of(qwen, device, workload="clip")
    assert limits_of(proposal)["video"] == 1
    assert json.loads(argument_of(proposal, "--mm-processor-kwargs") or "") == {"max_pixels": 512 * 512}
    assert proposal.as_json()["wish"]["met"] is True


def test_one_limit_is_the_whole_clips_where_the_model_counts_so() -> None:
    proposal = plan_of(Path("Qwen/Qwen3-VL-2B-Instruct"), "agx-orin-32gb", workload="clip")
    size = json.loads(argument_of(proposal, "--mm-processor-kwargs") or "")["size"]
    assert size["longest_edge"] == 8 * 512 * 512
    assert proposal.plan.settings.video_max_pixels == size["longest_edge"]


@pytest.mark.parametrize(("workload", "code"), [("live", "unknown_vision"), ("clip", "unknown_vision")])
def test_a_model_whose_pictures_nobody_can_count(blind: Path, workload: str, code: str) -> None:
    proposal = plan_of(blind, workload=workload)
    wish = proposal.as_json()["wish"]
    assert (proposal.plan.context.visual_tokens, wish["met"]) == (0, False)
    assert wish["ignored_messages"][0]["code"] == f"plan.missed.{code}"


def test_a_conversation_needs_no_pictures(blind: Path) -> None:
    assert plan_of(blind, workload="chat").as_json()["wish"]["met"] is True
    assert plan_of(blind, workload="live", images=0).as_json()["wish"]["met"] is True, "nobody asked for pictures"


def test_clips_that_do_not_fit_are_not_met(qwen: Path) -> None:
    wish = plan_of(qwen, "orin-nx-16gb", workload="clip", context=8192).as_json()["wish"]
    assert wish["met"] is False

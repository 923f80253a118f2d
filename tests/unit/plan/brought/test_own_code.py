"""Models with code of their own, and models that are newer than the engine: a plan says what a start would say."""

from pathlib import Path
from typing import Any

import pytest

from tests.rig.checkpoints import Tensors, decoder, plan_of, tower, write_checkpoint
from vedette.deploy.trust_store import record_trust, trust_in, trusted_path
from vedette.models.checkpoint import read_model
from vedette.models.model import Model
from vedette.plan.plan import Trust
from vedette.settings.home import Home

MINICPM: dict[str, Any] = {
    "architectures": ["MiniCPMV"],
    "auto_map": {"AutoConfig": "configuration_minicpm.MiniCPMVConfig", "AutoModel": "modeling_minicpmv.MiniCPMV"},
    "model_type": "minicpmv",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "max_position_embeddings": 32_768,
    "num_attention_heads": 8,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "torch_dtype": "bfloat16",
    "vocab_size": 50_048,
}
TEXT: Tensors = {
    **{name: [50_048, 1024] for name in ("llm.model.embed_tokens.weight", "llm.lm_head.weight")},
    **decoder("llm.model.", 4, 1024, 4096, 8, 2, 128),
}


@pytest.fixture
def minicpm(tmp_path: Path) -> Path:
    made = write_checkpoint(tmp_path / "minicpm-v", MINICPM, TEXT | tower("vpm.encoder.", 4, 1152, 4304))
    (made / "configuration_minicpm.py").write_text("class MiniCPMVConfig: ...\n")
    return made


def test_code_of_its_own_is_said_and_not_trusted_by_itself(minicpm: Path) -> None:
    proposal = plan_of(minicpm, workload="chat")
    assert not proposal.plan.fits
    assert "--trust-remote-code" in str(proposal.plan.unsupported)
    assert "configuration_minicpm.py (sha256 " in str(proposal.plan.unsupported)
    assert ", modeling_minicpmv.py)" in str(proposal.plan.unsupported), "which is not here"
    assert "--trust-remote-code" not in proposal.arguments


def test_the_owner_trusts_one_models_code(minicpm: Path) -> None:
    proposal = plan_of(minicpm, workload="chat", trust_remote_code=True)
    assert proposal.plan.fits
    assert "--trust-remote-code" in proposal.arguments
    (why,) = (str(reason.why) for reason in proposal.plan.reasons if reason.subject == "own_code")
    assert "configuration_minicpm.py (sha256 " in why


def test_what_transformers_knows_needs_no_code(tmp_path: Path) -> None:
    known = MINICPM | {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"]}
    made = write_checkpoint(tmp_path / "phi-3", known, TEXT)
    assert plan_of(made, workload="chat").plan.unsupported is None


def test_trust_is_remembered_until_the_code_changes(minicpm: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "data", tmp_path / "state", tmp_path / "cache")
    home.data.mkdir()

    def model() -> Model:
        return read_model(minicpm)

    assert trust_in(model(), home, given=False) is Trust.NONE
    record_trust(model(), home)
    assert trust_in(model(), home, given=False) is Trust.GIVEN
    (minicpm / "configuration_minicpm.py").write_text("import os\n")
    assert trust_in(model(), home, given=False) is Trust.OUTDATED
    assert trust_in(model(), home, given=True) is Trust.GIVEN


def test_a_record_that_others_may_have_written_trusts_nobody(minicpm: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "data", tmp_path / "state", tmp_path / "cache")
    record_trust(read_model(minicpm), home)
    trusted_path(home).chmod(0o666)
    assert trust_in(read_model(minicpm), home, given=False) is Trust.NONE
    trusted_path(home).rename(tmp_path / "elsewhere.json")
    (tmp_path / "elsewhere.json").chmod(0o600)
    trusted_path(home).symlink_to(tmp_path / "elsewhere.json")
    assert trust_in(read_model(minicpm), home, given=False) is Trust.NONE


def test_a_model_that_is_newer_than_the_engine(tmp_path: Path) -> None:
    newer = MINICPM | {"model_type": "qwen3_5", "architectures": ["Qwen3_5ForConditionalGeneration"], "auto_map": {}}
    made = write_checkpoint(tmp_path / "qwen3.5", newer, TEXT)
    old, new = (
        plan_of(made, "orin-nx-16gb", workload="chat", **image)
        for image in ({}, {"image": "docker.io/vllm/vllm-openai:v0.32.0"})
    )
    assert "from 0.17.0 on" in str(old.plan.unsupported)
    assert new.plan.unsupported is None

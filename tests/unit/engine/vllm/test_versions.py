"""What each version of vLLM understands, as its sources say."""

import pytest

from vedette.engine.vllm.versions import dialect_of, parse_help
from vedette.errors import EngineVersionError


def test_options_come_go_and_change_their_names() -> None:
    assert dialect_of("0.12.0").knows("VLLM_ATTENTION_BACKEND")
    assert not dialect_of("0.12.0").knows("--attention-backend")
    assert dialect_of("0.14.1").knows("VLLM_ATTENTION_BACKEND")  # both, for two releases
    assert dialect_of("0.14.1").knows("--attention-backend")
    assert not dialect_of("0.15.0").knows("VLLM_ATTENTION_BACKEND")
    assert dialect_of("0.11.0").knows("--compilation-config.level")
    assert not dialect_of("0.11.0").knows("--compilation-config.mode")
    assert dialect_of("0.11.1").knows("--compilation-config.mode")
    assert not dialect_of("0.13.0").knows("--default-chat-template-kwargs")
    assert dialect_of("0.14.0").knows("--default-chat-template-kwargs")
    assert not dialect_of("0.32.0").knows("--swap-space")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("0.32.0", (0, 32, 0)),
        ("0.11.2.dev3+g1234abc", (0, 11, 2)),
        ("0.15.1+befbc472.nv26.02", (0, 15, 1)),
        ("v0.20rc1", (0, 20, 0)),
        ("0.34.0", (0, 34, 0)),
        ("1.0", (1, 0, 0)),
    ],
)
def test_versions_are_read_as_engines_and_images_write_them(name: str, version: tuple[int, int, int]) -> None:
    assert dialect_of(name).version == version


def test_a_later_version_than_was_read_is_taken_to_know_what_the_newest_knew() -> None:
    later = dialect_of("0.40.0")
    assert later.knows("--kv-cache-memory-bytes")
    assert not later.knows("VLLM_ATTENTION_BACKEND")


@pytest.mark.parametrize("name", ["0.10.2", "0.9.0.1", "latest", ""])
def test_other_versions_are_refused_with_those_that_are_not(name: str) -> None:
    with pytest.raises(EngineVersionError, match=r"0\.11\.0 to 0\.\d+\.\d+"):
        dialect_of(name)


def test_an_engine_s_own_help_narrows_its_version() -> None:
    help_text = "  --dtype {auto,half}\n  --enforce-eager, --no-enforce-eager\n   see --cpu-offload-gb; not---this\n"
    options = parse_help(help_text)
    assert options == {"--dtype", "--enforce-eager", "--no-enforce-eager", "--cpu-offload-gb"}
    engine = dialect_of("0.32.0", options)
    assert engine.knows("--enforce-eager")
    assert not engine.knows("--max-model-len")
    assert not engine.knows("--compilation-config.mode")
    assert engine.knows("VLLM_HOST_IP")  # help says nothing of the environment

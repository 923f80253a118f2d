"""The arguments that each version of vLLM gets, whole; and that none gets one it does not know.

To write tests/unit/engine/vllm/flags/ anew after a change that is meant: python -m tests.unit.engine.vllm.test_flags
"""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.rig.devices import jetson
from tests.rig.engine_settings import CPU, GPU, SEEING, TEXT, VLLM_VERSIONS, WITH_CLIPS, settings_for
from tests.rig.models import published
from vedette.engine.vllm.flags import (
    Target,
    can_limit_clips,
    engine_traits,
    inherited_environment,
    serve_arguments,
    serve_environment,
    substitutes,
    temporary_environment,
)
from vedette.engine.vllm.versions import dialect_of
from vedette.errors import EngineVersionError
from vedette.language.message import Message
from vedette.plan.make import make_plan
from vedette.plan.plan import Backend, EngineSettings, Graphs, Wish, Workload

GOLDEN = Path(__file__).with_name("flags")


def written(settings: EngineSettings, version: str) -> str:
    """The arguments as they stand in a golden file: one option with its value a line, then the environment."""
    text = ""
    for word in serve_arguments(settings, GPU, version):
        text += f"\n{word}" if word.startswith("--") else f" {word}"
    environment = serve_environment(Path("/cache"), settings, version)
    text += "".join(f"\n{name}={value}" for name, value in sorted(environment.items()))
    return text.strip() + "\n"


def golden_cases() -> list[tuple[str, str]]:
    return [(kind, version) for kind in ("text", "seeing") for version in VLLM_VERSIONS]


@pytest.mark.parametrize(("kind", "version"), golden_cases())
def test_arguments_are_those_of_the_golden_files(kind: str, version: str) -> None:
    expected = (GOLDEN / f"{kind}-{version}.txt").read_text(encoding="utf-8")
    assert written(settings_for(kind, version), version) == expected


@pytest.mark.parametrize("version", [f"0.{minor}.{patch}" for minor in range(11, 34) for patch in (1, 2)])
@pytest.mark.parametrize("graphs", Graphs)
def test_no_version_gets_what_it_does_not_know(version: str, graphs: Graphs) -> None:
    dialect = dialect_of(version)
    for settings in (TEXT, settings_for("seeing", version)):
        chosen = dataclasses.replace(settings, graphs=graphs)
        arguments = serve_arguments(chosen, GPU, version)
        options = [word for word in arguments if word.startswith("--")]
        assert [option for option in options if not dialect.knows(option)] == []
        assert len(options) == len(set(options))
        if graphs is not Graphs.EAGER:
            keys = json.loads(arguments[arguments.index("--compilation-config") + 1])
            assert [key for key in keys if not dialect.knows(f"--compilation-config.{key}")] == []
        variables = [name for name in serve_environment(Path("/cache"), chosen, version) if name.startswith("VLLM_")]
        assert [name for name in variables if not dialect.knows(name)] == []


def test_every_version_gets_the_attention_backend_in_exactly_one_way() -> None:
    for version in VLLM_VERSIONS:
        is_flag = "--attention-backend" in serve_arguments(SEEING, GPU, version)
        assert is_flag != ("VLLM_ATTENTION_BACKEND" in serve_environment(Path("/cache"), SEEING, version))


def test_an_unknown_attention_backend_is_refused_as_option_and_as_variable() -> None:
    settings = dataclasses.replace(TEXT, attention_backend="XFORMERS_2")
    with pytest.raises(EngineVersionError, match="XFORMERS_2"):
        serve_arguments(settings, GPU, "0.32.0")
    with pytest.raises(EngineVersionError, match="XFORMERS_2"):
        serve_environment(Path("/cache"), settings, "0.12.0")


def test_picture_limits_stand_where_the_version_reads_them() -> None:
    def given(settings: EngineSettings, version: str) -> object:
        arguments = serve_arguments(settings, GPU, version)
        return json.loads(arguments[arguments.index("--mm-processor-kwargs") + 1])

    assert given(SEEING, "0.28.0") == {"max_pixels": 262_144}
    assert given(SEEING, "0.29.0") == {"images_kwargs": {"max_pixels": 262_144}}
    assert given(WITH_CLIPS, "0.29.0") == WITH_CLIPS.processor_arguments
    sized = dataclasses.replace(SEEING, processor_arguments={"size": {"longest_edge": 512}})
    assert given(sized, "0.15.1") == {"size": {"longest_edge": 512}}
    fixed = dataclasses.replace(SEEING, processor_arguments={})  # a model whose pictures have one size
    assert "--mm-processor-kwargs" not in serve_arguments(fixed, GPU, "0.32.0")


def test_clips_are_refused_where_they_cannot_be_limited() -> None:
    assert not can_limit_clips("0.28.0")
    with pytest.raises(EngineVersionError, match="clips"):
        serve_arguments(WITH_CLIPS, GPU, "0.28.0")


def test_a_plan_is_made_for_what_the_engine_can_do() -> None:
    model, wish = published("Qwen3-VL-2B-Instruct"), Wish(Workload.CLIP)
    plans = {
        version: make_plan(jetson(24 * 1024**3), model, wish, engine=engine_traits(version))
        for version in ("0.15.1", "0.29.0", "0.32.0")
    }
    for version, plan in plans.items():
        assert serve_arguments(plan.settings, GPU, version)
    assert [plan.settings.videos_per_prompt for plan in plans.values()] == [1, 1, 1]
    one_limit = [reason.subject == "video_max_pixels" for reason in plans["0.15.1"].reasons]
    assert any(one_limit), "for pictures and clips together"
    # From 0.32 on the rotary table has no room to spare: 128 elements of 2 bytes for each of 4,096 positions.
    saved = plans["0.29.0"].memory.weights_bytes - plans["0.32.0"].memory.weights_bytes
    assert saved == 3 * 4096 * 128 * 2


def test_a_processor_needs_a_version_that_obeys_explicit_bytes_there() -> None:
    with pytest.raises(EngineVersionError, match=r"0\.20\.0"):
        serve_arguments(TEXT, CPU, "0.19.1")
    arguments = serve_arguments(TEXT, CPU, "0.20.0")
    assert "--gpu-memory-utilization" not in arguments
    assert arguments[arguments.index("--kv-cache-memory-bytes") + 1] == "1073741824"


def test_a_nested_override_needs_a_version_that_puts_it_inside() -> None:
    with pytest.raises(EngineVersionError, match="hf-overrides"):
        serve_arguments(SEEING, GPU, "0.11.0")
    flat = dataclasses.replace(TEXT, hf_overrides={"max_position_embeddings": 4096})
    assert '{"max_position_embeddings": 4096}' in serve_arguments(flat, GPU, "0.11.0")


def test_other_behaviour_of_a_version_is_a_message() -> None:
    assert substitutes(TEXT, "0.11.0") == ()
    assert substitutes(SEEING, "0.32.0") == ()
    assert substitutes(SEEING, "0.13.0") == (Message("engine.reasons_by_default", engine="vLLM 0.13.0"),)
    assert "--default-chat-template-kwargs" not in serve_arguments(SEEING, GPU, "0.13.0")


def test_an_engine_that_lacks_one_of_its_version_s_options_is_refused_unless_it_is_a_convenience() -> None:
    arguments = serve_arguments(TEXT, GPU, "0.32.0")
    options = frozenset(word for word in arguments if word.startswith("--"))
    assert serve_arguments(TEXT, GPU, "0.32.0", options) == arguments
    quieter = serve_arguments(TEXT, GPU, "0.32.0", options - {"--disable-uvicorn-access-log"})
    assert set(arguments) - set(quieter) == {"--disable-uvicorn-access-log"}
    with pytest.raises(EngineVersionError, match="--kv-cache-memory-bytes"):
        serve_arguments(TEXT, GPU, "0.32.0", options - {"--kv-cache-memory-bytes"})


def test_an_engine_on_a_cpu_ignores_the_caller_s_environment() -> None:
    def given(settings: EngineSettings) -> dict[str, str]:
        caller = {"OMP_NUM_THREADS": "64", "MALLOC_ARENA_MAX": "8", "PATH": "/bin"}
        return inherited_environment(caller) | serve_environment(Path("/cache"), settings, "0.32.0")

    roomy = dataclasses.replace(TEXT, backend=Backend.CPU, graphs=Graphs.EAGER, capture_sizes=(), threads=3)
    tight = dataclasses.replace(roomy, returns_memory=True)
    assert dict(given(roomy).items() - given(TEXT).items()) == {
        "OMP_NUM_THREADS": "3",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }
    assert dict(given(tight).items() - given(roomy).items()) == {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
    }


def test_nothing_that_bends_the_plan_is_inherited() -> None:
    caller = {"PATH": "/bin", "VLLM_CPU_KVCACHE_SPACE": "40", "CUDA_VISIBLE_DEVICES": "0", "HF_TOKEN": "secret"}
    assert inherited_environment(caller) == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0"}


if __name__ == "__main__":
    for kind, version in golden_cases():
        (GOLDEN / f"{kind}-{version}.txt").write_text(written(settings_for(kind, version), version), encoding="utf-8")


def test_temporary_files_lie_where_they_are_removed_unless_the_name_is_too_long() -> None:
    directory = "/home/a/engine/1/tmp"
    assert temporary_environment(Path("/home/a/engine/1")) == {"TMPDIR": directory, "VLLM_RPC_BASE_PATH": directory}
    assert temporary_environment(Path("/" + "a" * 65)) != {}
    assert temporary_environment(Path("/" + "a" * 66)) == {}


def test_a_model_may_answer_to_other_names_as_well() -> None:
    target = Target(Path("/m"), "small", 1, cpu=False, also_named=("large", "larger"))
    words = serve_arguments(TEXT, target, "0.32.0")
    assert words[words.index("--served-model-name") :][:5] == (
        "--served-model-name",
        "small",
        "large",
        "larger",
        "--host",
    )


@pytest.mark.parametrize(("served", "others"), [("--trust-remote-code", ()), ("small", ("-O3",))])
def test_no_name_is_read_as_an_option(served: str, others: tuple[str, ...]) -> None:
    target = Target(Path("/m"), served, 1, cpu=False, also_named=others)
    with pytest.raises(EngineVersionError, match="looks like an option"):
        serve_arguments(TEXT, target, "0.32.0")


def test_a_model_s_path_is_never_read_as_an_option() -> None:
    with pytest.raises(ValueError, match="could be read as an option"):
        serve_arguments(TEXT, Target(Path("--trust-remote-code"), "small", 1, cpu=False), "0.32.0")

"""Plans of published models of every architecture: what depends on how they see, cache and compute."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lab.shapes import make_shape
from tests.rig.devices import GIB, jetson
from tests.rig.models import published
from tests.rig.properties import fewer_examples
from vedette.device.device import Device, Family
from vedette.language.message import say
from vedette.models.checkpoint import read_model
from vedette.models.config import parse_config
from vedette.models.store.model_lookup import find_model, read_facts
from vedette.plan.make import make_plan
from vedette.plan.plan import Basis, Wish, Workload
from vedette.report.explain import explain_plan
from vedette.report.paper import Paper


def test_clips_of_models_that_limit_each_frame_by_itself() -> None:
    plan = make_plan(jetson(24 * GIB), published("Qwen2.5-VL-3B-Instruct"), Wish(Workload.CLIP))
    assert plan.settings.image_max_pixels == plan.settings.video_max_pixels == 262_144
    # Eight frames in pairs of 334 tokens, and no more in one step than those need.
    assert plan.settings.max_num_batched_tokens == 4 * 334 + 2
    assert plan.settings.processor_arguments == {
        "images_kwargs": {"max_pixels": 262_144},
        "videos_kwargs": {"max_pixels": 262_144},
    }


def test_the_encoder_has_room_for_the_clip_that_the_engine_tries_at_its_start() -> None:
    model = published("Qwen2.5-VL-3B-Instruct")
    # One context holds the eight frames of a clip, the other the fourteen that vLLM takes where they find room.
    short, long = (
        make_plan(jetson(24 * GIB), model, Wish(Workload.CLIP, concurrency=1, max_model_len=length)).memory
        for length in (4 * 334 + 100, 4096)
    )
    assert model.vision is not None
    three_pairs = 3 * model.vision.encoder_patches(262_144) * 3 * model.vision.intermediate_size * 2
    assert long.activation_bytes == short.activation_bytes
    assert long.vision_activation_bytes >= short.vision_activation_bytes + three_pairs


def gpu(compute_capability: tuple[int, int] | None) -> Device:
    return dataclasses.replace(
        jetson(24 * GIB),
        name="some GPU",
        family=Family.NVIDIA,
        unified_memory=False,
        compute_capability=compute_capability,
        host_memory_available_bytes=16 * GIB,
    )


def test_a_gpu_of_unknown_compute_capability_is_no_cpu() -> None:
    model = published("Qwen3-8B-NVFP4")
    plan = make_plan(gpu(None), model, Wish())
    assert plan.fits  # a processor would refuse it
    (reason,) = [reason for reason in plan.reasons if reason.subject == "weights_format"]
    assert "not known" in say(reason.why)
    assert reason.basis is Basis.ASSUMED
    assert plan.settings.kv_cache_dtype is None
    plain = make_plan(gpu(None), published("Qwen3-0.6B"), Wish())
    assert [reason.basis for reason in plain.reasons if reason.subject == "weights_format"] == [Basis.COMPUTED]


def test_what_a_device_cannot_run_is_said_with_what_it_can() -> None:
    plan = make_plan(dataclasses.replace(gpu(None), family=Family.CPU), published("Qwen3-8B-NVFP4"), Wish())
    assert not plan.fits
    assert plan.unsupported is not None
    assert say(plan.unsupported).startswith(
        "Its weights are in NVFP4: vLLM has no kernel for it on a CPU. This CPU runs "
    )


def test_pictures_whose_tokens_see_each_other_get_8_bit_caches_only_where_every_backend_reads_them() -> None:
    def kept_in(compute_capability: tuple[int, int]) -> set[str | None]:
        devices = [
            dataclasses.replace(gpu(compute_capability), memory_available_bytes=size * GIB // 8)
            for size in range(80, 120)
        ]
        wish = Wish(max_model_len=8192, concurrency=4)
        return {make_plan(device, published("gemma-3-4b-it"), wish).settings.kv_cache_dtype for device in devices}

    assert kept_in((8, 7)) == {None}
    assert kept_in((8, 9)) == {None, "fp8"}


@pytest.mark.parametrize("name", ["llava-1.5-7b-hf", "gemma-3-4b-it"])
def test_a_model_whose_pictures_have_one_size_is_given_no_limit(name: str) -> None:
    plan = make_plan(jetson(48 * GIB), published(name), Wish())
    assert plan.context.visual_tokens > 0
    assert (plan.context.image_max_pixels, plan.settings.image_max_pixels) == (None, None)


def test_on_hopper_4_bits_with_zero_points_take_more_memory() -> None:
    def weights(quantization: str, zero_points_bytes: int, capability: tuple[int, int] = (9, 0)) -> int:
        base = published("Qwen2.5-1.5B-Instruct-AWQ")
        model = dataclasses.replace(base, quantization=quantization, zero_points_bytes=zero_points_bytes)
        return make_plan(gpu(capability), model, Wish()).memory.weights_bytes

    added = {name: weights(name, 1000) - weights(name, 0) for name in ("awq", "gptq", "w4a16", "fp8")}
    assert added == {"awq": 3000, "gptq": 1000, "w4a16": 0, "fp8": 0}
    assert weights("awq", 1000, (8, 9)) == weights("awq", 0, (8, 9))


def test_of_an_unknown_architecture_is_said_what_was_assumed(tmp_path: Path) -> None:
    directory = make_shape("Qwen3-0.6B", tmp_path / "martian")
    config = directory / "config.json"
    config.write_text(config.read_text().replace("Qwen3ForCausalLM", "MartianLM").replace('"qwen3"', '"martian"'))
    plan = make_plan(jetson(8 * GIB), read_model(directory), Wish())
    bases = {reason.subject: reason.basis for reason in plan.reasons}
    assert {bases[part] for part in ("architecture", "kv_cache", "activation")} == {Basis.ASSUMED}
    text = explain_plan(plan, ["vllm", "serve", "martian", "--dtype", "bfloat16"], Paper(100, colour=False))
    assert "MartianLM: vedette does not know this architecture; assumed: keys and values of every token" in " ".join(
        text.split()
    )
    known = make_plan(jetson(8 * GIB), published("Qwen3-0.6B"), Wish())
    assert {"architecture"}.isdisjoint(reason.subject for reason in known.reasons)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("qwen3-vl-2b-instruct", "Qwen3-VL-2B-Instruct"),
        ("qwen3-vl-2b-instruct-fp8", "Qwen3-VL-2B-Instruct-FP8"),
        ("ernie-4.5-0.3b", "ERNIE-4.5-0.3B-PT"),
    ],
)
def test_a_plan_from_the_catalogue_is_the_one_that_the_files_lead_to(name: str, shape: str) -> None:
    assumed = read_facts(find_model(name, Path("/nowhere")))
    assert assumed is not None
    # The tokenizer of a shape is no real one.
    read = dataclasses.replace(published(shape), tokenizer_bytes=assumed.tokenizer_bytes)
    for device in (jetson(8 * GIB), gpu((9, 0)), dataclasses.replace(jetson(8 * GIB), family=Family.CPU)):
        plans = [make_plan(device, model, Wish(Workload.LIVE)) for model in (assumed, read)]
        assert plans[0].memory == plans[1].memory
        assert plans[0].settings.hf_overrides == plans[1].settings.hf_overrides


def test_the_catalogues_gemma_slides_as_its_files_say() -> None:
    assumed = read_facts(find_model("gemma-3-270m", Path("/nowhere")))
    assert assumed is not None
    config = {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 262_144,
        "max_position_embeddings": 32_768,
        "torch_dtype": "bfloat16",
        "sliding_window": 512,
        "layer_types": ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(18)],
        "rope_parameters": {
            "full_attention": {"rope_theta": 1_000_000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 10_000.0, "rope_type": "default"},
        },
    }
    read = parse_config(config, "config.json")
    assert (assumed.cache_layers, assumed.rotary) == (read.cache_layers, read.rotary)


KINDS = {
    "dense": "Qwen3-0.6B",
    "mixture of experts": "OLMoE-1B-7B-0125-Instruct",
    "latent": "DeepSeek-V2-Lite",
    "hybrid": "Qwen3.5-2B",
    "sliding": "gemma-3-1b-it",
    "sliding and seeing": "gemma-3-4b-it",
    "fp8": "Qwen3-VL-2B-Instruct-FP8",
    "awq": "Qwen2.5-1.5B-Instruct-AWQ",
    "each frame by itself": "Qwen2.5-VL-3B-Instruct",
    "tiles": "SmolVLM-500M-Instruct",
    "square": "llava-1.5-7b-hf",
}
MAKERS: dict[str, Callable[[int], Device]] = {
    "cpu": lambda size: dataclasses.replace(jetson(size), family=Family.CPU, compute_capability=None),
    "jetson": jetson,
    "gpu": lambda size: dataclasses.replace(gpu((9, 0)), memory_available_bytes=size),
}


@pytest.mark.parametrize("device", MAKERS)
@pytest.mark.parametrize("kind", KINDS)
@fewer_examples(4)
@given(
    workload=st.sampled_from([None, *Workload]),
    part=st.floats(0.3, 1.0),
    room=st.integers(0, 8 * GIB),
    more=st.one_of(st.integers(0, 64 * 1024**2), st.integers(0, 16 * GIB)),
)
def test_more_memory_never_gives_a_smaller_context_and_no_plan_takes_more_than_there_is(
    kind: str, device: str, workload: Workload | None, part: float, room: int, more: int
) -> None:
    model, make = published(KINDS[kind]), MAKERS[device]
    available = int(model.weights_bytes * part) + room
    less, greater = (make_plan(make(size), model, Wish(workload)) for size in (available, available + more))
    for plan in (less, greater):
        assert plan.fits == (plan.shortfall_bytes == 0 and plan.unsupported is None)
        assert not plan.fits or plan.memory.total_bytes <= plan.memory.available_bytes
        context = plan.context
        pictures = context.images_per_request * context.visual_tokens
        assert pictures + context.prompt_tokens + context.answer_tokens <= context.max_model_len
        assert context.max_model_len <= model.max_position_embeddings
    assert greater.fits or not less.fits
    assert greater.context.max_model_len >= less.context.max_model_len
    assert greater.context.concurrency >= less.context.concurrency
    assert (greater.context.image_max_pixels or 0) >= (less.context.image_max_pixels or 0)
    assert make_plan(make(available), model, Wish(workload)) == less

"""Engine settings, targets and plans that tests start engines with, and what `vllm serve --help=all` prints."""

import dataclasses
from pathlib import Path

from tests.rig.plans import proposal_of
from vedette.engine.vllm.flags import Target, can_limit_clips
from vedette.plan.plan import Backend, Context, EngineSettings, Graphs, Plan

VLLM_VERSIONS = ("0.11.2", "0.12.0", "0.15.1", "0.19.1", "0.20.2", "0.26.0", "0.32.0", "0.33.0")
GPU = Target(Path("/models/some"), "some", 8000, cpu=False)
CPU = dataclasses.replace(GPU, cpu=True)

TEXT = EngineSettings(
    backend=Backend.CUDA,
    dtype="bfloat16",
    max_model_len=8192,
    max_num_seqs=4,
    max_num_batched_tokens=2048,
    kv_cache_bytes=1_073_741_824,
    gpu_memory_utilization=0.01,
    kv_cache_dtype=None,
    graphs=Graphs.GRAPHS,
    capture_sizes=(1, 2, 4),
    images_per_prompt=0,
    videos_per_prompt=0,
    image_max_pixels=None,
    video_max_pixels=None,
    video_frames=0,
    processor_cache_bytes=0,
    reasoning_parser=None,
)

SEEING = dataclasses.replace(
    TEXT,
    max_model_len=2048,
    kv_cache_dtype="fp8",
    attention_backend="FLASHINFER",
    prefix_caching=False,
    images_per_prompt=2,
    image_max_pixels=262_144,
    processor_cache_bytes=64 * 1024**2,
    reasoning_parser="qwen3",
    processor_arguments={"images_kwargs": {"max_pixels": 262_144}},
    hf_overrides={"text_config": {"max_position_embeddings": 2048}},
)

WITH_CLIPS = dataclasses.replace(
    SEEING,
    videos_per_prompt=1,
    video_max_pixels=2_097_152,
    video_frames=8,
    processor_arguments={"images_kwargs": {"max_pixels": 262_144}, "videos_kwargs": {"max_pixels": 2_097_152}},
)


def settings_for(kind: str, version: str) -> EngineSettings:
    """The most that a version takes, with pictures ("seeing") or without ("text")."""
    if kind == "text":
        return TEXT
    return WITH_CLIPS if can_limit_clips(version) else SEEING


VLLM_HELP = Path(__file__).with_name("stand_ins").joinpath("vllm_help.txt").read_text(encoding="utf-8")
"""What `vllm serve --help=all` prints."""

_PLANNED = proposal_of("ernie-4.5-0.3b", "agx-orin-64gb").plan


def plan_with(settings: EngineSettings) -> Plan:
    return dataclasses.replace(_PLANNED, settings=settings)


CONTEXT = Context(
    max_model_len=512,
    visual_tokens=80,
    images_per_request=1,
    prompt_tokens=100,
    answer_tokens=200,
    image_max_pixels=80_000,
    concurrency=1,
)

"""The plan in vLLM's own words: arguments and environment by version. Pure.

Read in vLLM 0.32.0 (`vllm serve --help=all`) and run with it on a CPU.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vedette.plan.plan import EngineSettings, Graphs

_GIB = 1024**3
_INHERITED = re.compile("PATH|HOME|USER|LANG|LC_.*|TZ|TMPDIR|LD_LIBRARY_PATH|LD_PRELOAD|(CUDA|NVIDIA|OMP|KMP)_.*")


@dataclass(frozen=True)
class Target:
    """What an engine process serves, and where."""

    model_path: Path
    served_name: str
    port: int
    cpu: bool


def serve_arguments(settings: EngineSettings, target: Target) -> tuple[str, ...]:
    """The arguments of `vllm serve` (without the program itself) that run exactly these settings."""
    arguments = [
        "serve",
        str(target.model_path),
        *("--served-model-name", target.served_name),
        *("--host", "127.0.0.1", "--port", str(target.port)),
        *("--dtype", settings.dtype),
        *("--max-model-len", str(settings.max_model_len)),
        *("--max-num-seqs", str(settings.max_num_seqs)),
        *("--max-num-batched-tokens", str(settings.max_num_batched_tokens)),
        *("--kv-cache-memory-bytes", str(settings.kv_cache_bytes)),
        "--disable-uvicorn-access-log",
        # Whoever may ask must not make the engine fetch addresses: pictures come with the request.
        *("--allowed-media-domains", "none.invalid"),
    ]
    if settings.gpu_memory_utilization is not None and not target.cpu:
        arguments += ["--gpu-memory-utilization", f"{settings.gpu_memory_utilization:.4f}"]
    if settings.kv_cache_dtype is not None:
        arguments += ["--kv-cache-dtype", settings.kv_cache_dtype]
    arguments += _media_arguments(settings)
    if settings.reasoning_parser is not None:
        # A client that says nothing gets a plain answer; who wants reasoning asks for it in the request.
        arguments += ["--reasoning-parser", settings.reasoning_parser]
        arguments += ["--default-chat-template-kwargs", json.dumps({"enable_thinking": False})]
    return (*arguments, *_graph_arguments(settings))


def _media_arguments(settings: EngineSettings) -> list[str]:
    limits = {"image": settings.images_per_prompt, "video": settings.videos_per_prompt}
    if settings.image_max_pixels is None:  # nothing is to be seen: a vision tower is then not even loaded
        return ["--limit-mm-per-prompt", json.dumps(limits)]
    # The limits stand apart: a plain `max_pixels` would be taken for a whole clip as well.
    processor: dict[str, dict[str, int | None]] = {"images_kwargs": {"max_pixels": settings.image_max_pixels}}
    arguments = ["--limit-mm-per-prompt", json.dumps(limits)]
    if settings.videos_per_prompt:
        processor["videos_kwargs"] = {"max_pixels": settings.video_max_pixels}
        arguments += ["--media-io-kwargs", json.dumps({"video": {"num_frames": settings.video_frames}})]
    return [
        *arguments,
        *("--mm-processor-kwargs", json.dumps(processor)),
        *("--mm-processor-cache-gb", f"{settings.processor_cache_bytes / _GIB:.3f}"),
    ]


def _graph_arguments(settings: EngineSettings) -> list[str]:
    if settings.graphs is Graphs.EAGER:
        return ["--enforce-eager"]
    config: dict[str, object] = {
        "cudagraph_mode": "FULL_DECODE_ONLY",
        "cudagraph_capture_sizes": list(settings.capture_sizes),
    }
    if settings.graphs is Graphs.GRAPHS:
        config["mode"] = 0  # no torch.compile: as fast once running, a third of the start (docs/design.md)
    return ["--compilation-config", json.dumps(config)]


def serve_environment(cache: Path) -> dict[str, str]:
    """The variables that vedette sets for the engine; compiled code is kept under `cache` between starts."""
    return {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
    }


def inherited_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the engine may see of the caller's environment: what it runs with, nothing that bends the plan, no secret.

    `VLLM_CPU_KVCACHE_SPACE`, say, would override the planned KV cache.
    """
    return {name: value for name, value in environment.items() if _INHERITED.fullmatch(name)}

"""The plan in vLLM's own words: arguments and environment, for the version that will run. Pure.

What each version knows was read in its sources (versions.toml); 0.32.0 has been run with these arguments on a CPU.
On a GPU every version since 0.11 takes the KV cache's size in bytes and then obeys it; none needs a way round.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vedette.engine.process.process import Preload
from vedette.engine.process.workplace import TEMPORARY
from vedette.engine.vllm.versions import Dialect, dialect_of
from vedette.errors import EngineVersionError
from vedette.plan.plan import Backend, EngineSettings, EngineTraits, Graphs
from vedette.units import GIB

_RETURNING_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
"""Large blocks go back to the system at once: SmolLM2 held 107 MiB less, and took 2.2 s instead of 1.4 for a prompt of
1,400 tokens, whose tensors the system has to make anew each time (docs/notes/plan.md)."""
_INHERITED = re.compile("PATH|HOME|USER|LANG|LC_.*|TZ|TMPDIR|LD_LIBRARY_PATH|LD_PRELOAD|(CUDA|NVIDIA|OMP|KMP)_.*")

_SOCKET_NAME_BYTES = 37
"""A slash and a UUID (vllm/utils/network_utils.py)."""
_SOCKET_PATH_BYTES = 107
"""unix(7), without the zero at the end."""

# What `vllm serve` and its engine core import, in 0.26 or 0.32; what a version lacks it does without.
_COMMANDS = ("benchmark.main", "collect_env", "download_kernels", "launch", "openai", "preload", "run_batch", "serve")
_SERVER = ("vllm.v1.engine.async_llm", "vllm.parser.engine.registered_adapters")
_CORE = ("vllm.v1.engine.core", "vllm.v1.executor.uniproc_executor", "vllm.v1.worker.worker_base")
_WORKERS = {
    Backend.CPU: ("vllm.v1.worker.cpu_worker", "vllm.v1.worker.cpu_model_runner"),
    Backend.CUDA: ("vllm.v1.worker.gpu_worker", "vllm.v1.worker.gpu_model_runner", "torch._inductor.compile_fx"),
}


@dataclass(frozen=True)
class Target:
    """What an engine process serves, and where."""

    model_path: Path
    served_name: str
    port: int
    cpu: bool
    also_named: tuple[str, ...] = ()
    """What requests may call the model as well; answers come under `served_name`."""


def serve_arguments(
    settings: EngineSettings, target: Target, version: str, known_flags: frozenset[str] | None = None
) -> tuple[str, ...]:
    """The arguments of `vllm serve` (without the program itself) that run exactly these settings.

    version: what the engine calls itself; known_flags: the options its own help shows (`versions.parse_help`).
    Raises EngineVersionError when that engine cannot run them.
    """
    dialect = dialect_of(version, known_flags)
    pairs = [pair for pair in _pairs(settings, target, dialect) if not _is_convenience(pair[0], dialect)]
    for name, *_ in pairs:
        if not dialect.knows(name):
            raise _cannot(dialect, name)
    return ("serve", str(target.model_path), *(word for pair in pairs for word in pair))


def temporary_environment(workplace: Path) -> dict[str, str]:
    """Has temporary files and sockets made where they are removed again when the engine is killed.

    {} where the directory's name is too long for a socket's: then they stay in the system's /tmp.
    """
    directory = str(workplace / TEMPORARY)
    fits = len(directory.encode()) + _SOCKET_NAME_BYTES <= _SOCKET_PATH_BYTES
    return {"TMPDIR": directory, "VLLM_RPC_BASE_PATH": directory} if fits else {}


def serve_environment(cache: Path, settings: EngineSettings, version: str) -> dict[str, str]:
    """The variables that vedette sets for the engine; compiled code is kept under `cache` between starts.

    Raises EngineVersionError when that version cannot be told what the settings ask.
    """
    environment = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
    }
    if settings.backend is Backend.CPU:
        # The model runs in the engine core, as on a GPU, and not in a worker of its own: 0.4 GiB less. vLLM then leaves
        # it to others to say how many threads compute.
        environment |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": str(settings.threads)}
    else:
        # A fork of the server has everything imported: on one H100 ready after 31 s instead of 63, in 485 MiB less.
        environment["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
    if settings.returns_memory:
        environment |= _RETURNING_MEMORY
    dialect = dialect_of(version)
    if settings.attention_backend is not None and not dialect.knows("--attention-backend"):
        name = f"VLLM_ATTENTION_BACKEND {settings.attention_backend}"
        if not dialect.knows(name):
            raise _cannot(dialect, name)
        environment["VLLM_ATTENTION_BACKEND"] = settings.attention_backend
    return environment


def preload(settings: EngineSettings) -> Preload:
    """What the engine's interpreter can import before it knows the model.

    On a GPU the core is a fork of the server in any case (`serve_environment`); for a CPU vLLM would spawn it.
    """
    commands = (f"vllm.entrypoints.cli.{name}" for name in _COMMANDS)
    return Preload((*commands, *_SERVER, *_CORE, *_WORKERS[settings.backend]), settings.backend is Backend.CPU)


def substitutes(settings: EngineSettings, version: str, known_flags: frozenset[str] | None = None) -> tuple[str, ...]:
    """What this engine does otherwise than the newest would, in sentences; () if nothing."""
    dialect = dialect_of(version, known_flags)
    if settings.reasoning_parser is None or dialect.knows("--default-chat-template-kwargs"):
        return ()
    return (
        f"{dialect} cannot be told to answer plainly unless asked to think: requests that do not say "
        '`"chat_template_kwargs": {"enable_thinking": false}` are answered with reasoning first.',
    )


def can_limit_clips(version: str) -> bool:
    """Whether this vLLM takes a limit for clips that is not the pictures'; a plan for one that cannot has no clips."""
    return dialect_of(version).knows("--mm-processor-kwargs scoped")


def engine_traits(version: str) -> EngineTraits:
    """What a plan has to know of this vLLM. Raises EngineVersionError as `dialect_of` does."""
    spare = not dialect_of(version).knows("get_rope mrope_positions_factor")
    return EngineTraits(limits_clips=can_limit_clips(version), spare_positions=spare)


def inherited_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the engine may see of the caller's environment: what it runs with, nothing that bends the plan, no secret.

    `VLLM_CPU_KVCACHE_SPACE`, say, would override the planned KV cache.
    """
    return {name: value for name, value in environment.items() if _INHERITED.fullmatch(name)}


def _cannot(dialect: Dialect, name: str) -> EngineVersionError:
    return EngineVersionError(
        f"{dialect} does not know `{name}`, which the plan needs.", "Use an engine or image with a newer vLLM."
    )


def _is_convenience(name: str, dialect: Dialect) -> bool:
    """Options without which the same model serves the same requests in the same memory, where there are none."""
    return name in ("--disable-uvicorn-access-log", "--default-chat-template-kwargs") and not dialect.knows(name)


def _pairs(settings: EngineSettings, target: Target, dialect: Dialect) -> Iterator[tuple[str, ...]]:
    """Each option with its values."""
    yield "--served-model-name", target.served_name, *target.also_named
    yield "--host", "127.0.0.1"
    yield "--port", str(target.port)
    yield ("--disable-uvicorn-access-log",)
    # Whoever may ask must not make the engine fetch addresses: pictures come with the request.
    yield "--allowed-media-domains", "none.invalid"
    yield "--dtype", settings.dtype
    yield "--max-model-len", str(settings.max_model_len)
    yield "--max-num-seqs", str(settings.max_num_seqs)
    yield "--max-num-batched-tokens", str(settings.max_num_batched_tokens)
    if settings.hf_overrides:
        nested = any(isinstance(value, Mapping) for value in settings.hf_overrides.values())
        if nested and not dialect.knows("--hf-overrides nested"):  # 0.11.0 would put a plain dict where a config was
            raise _cannot(dialect, "--hf-overrides nested")
        yield "--hf-overrides", json.dumps(settings.hf_overrides)
    yield from _cache_pairs(settings, target, dialect)
    yield from _media_pairs(settings, dialect)
    if settings.reasoning_parser is not None:
        # A client that says nothing gets a plain answer; who wants reasoning asks for it in the request.
        yield "--reasoning-parser", settings.reasoning_parser
        yield "--default-chat-template-kwargs", json.dumps({"enable_thinking": False})
    yield from _graph_pairs(settings, dialect)


def _cache_pairs(settings: EngineSettings, target: Target, dialect: Dialect) -> Iterator[tuple[str, ...]]:
    if target.cpu and not dialect.knows("--kv-cache-memory-bytes cpu"):
        # It would parse the option and take VLLM_CPU_KVCACHE_SPACE, whole GiB, or a share of all RAM.
        raise EngineVersionError(
            f"{dialect} cannot be given an exact KV cache on a CPU.", "Use vLLM 0.20.0 or newer there."
        )
    yield "--kv-cache-memory-bytes", str(settings.kv_cache_bytes)
    if settings.gpu_memory_utilization is not None and not target.cpu:
        yield "--gpu-memory-utilization", f"{settings.gpu_memory_utilization:.4f}"
    if settings.kv_cache_dtype is not None:
        if not dialect.knows(f"--kv-cache-dtype {settings.kv_cache_dtype}"):
            raise _cannot(dialect, f"--kv-cache-dtype {settings.kv_cache_dtype}")
        yield "--kv-cache-dtype", settings.kv_cache_dtype
    # Said either way: what a version does on its own depends on the model.
    yield ("--enable-prefix-caching" if settings.prefix_caching else "--no-enable-prefix-caching",)
    if settings.attention_backend is not None and dialect.knows("--attention-backend"):
        if not dialect.knows(f"--attention-backend {settings.attention_backend}"):
            raise _cannot(dialect, f"--attention-backend {settings.attention_backend}")
        yield "--attention-backend", settings.attention_backend


def _media_pairs(settings: EngineSettings, dialect: Dialect) -> Iterator[tuple[str, ...]]:
    # With nothing to be seen a vision tower is not even loaded; a text model takes the limits as met.
    limits = {"image": settings.images_per_prompt, "video": settings.videos_per_prompt}
    yield "--limit-mm-per-prompt", json.dumps(limits)
    if not settings.images_per_prompt and not settings.videos_per_prompt:
        return
    if settings.processor_arguments:
        yield "--mm-processor-kwargs", json.dumps(_processor_arguments(settings.processor_arguments, dialect))
    if settings.videos_per_prompt:
        yield "--media-io-kwargs", json.dumps({"video": {"num_frames": settings.video_frames}})
    yield "--mm-processor-cache-gb", f"{settings.processor_cache_bytes / GIB:.3f}"


def _processor_arguments(arguments: Mapping[str, object], dialect: Dialect) -> dict[str, object]:
    """What the picture processor is told, in the form that this version also profiles its memory by.

    Before 0.29 vLLM looked for `max_pixels` and `size` outside the scopes alone, and sized its start-up run for the
    largest picture the model knows (multimodal/processing/context.py). What is said outside holds for clips too.
    """
    if dialect.knows("--mm-processor-kwargs scoped"):
        return dict(arguments)
    if "videos_kwargs" in arguments:
        raise EngineVersionError(
            f"{dialect} cannot limit pictures and clips apart.", "Use vLLM 0.29.0 or newer, or plan without clips."
        )
    flat = {name: value for name, value in arguments.items() if name != "images_kwargs"}
    pictures = arguments.get("images_kwargs", {})
    assert isinstance(pictures, Mapping)  # noqa: S101 - what a scope is
    return {**flat, **pictures}


def _graph_pairs(settings: EngineSettings, dialect: Dialect) -> Iterator[tuple[str, ...]]:
    if settings.graphs is Graphs.EAGER:
        yield ("--enforce-eager",)
        return
    config: dict[str, object] = {
        "cudagraph_mode": "FULL_DECODE_ONLY",
        "cudagraph_capture_sizes": list(settings.capture_sizes),
    }
    if settings.graphs is Graphs.GRAPHS:
        # No torch.compile: as fast once running, a third of the start (docs/design.md). 0.11.0 called it a level.
        config["mode" if dialect.knows("--compilation-config.mode") else "level"] = 0
    yield "--compilation-config", json.dumps(config)

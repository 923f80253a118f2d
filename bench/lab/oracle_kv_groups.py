"""Compares vedette's KV groups with a GPU version of vLLM, which cannot build models here: only its classes are used.

From the repository's root, with the Python of any engine and the unpacked GPU wheel before it:

    PYTHONPATH=WHEEL:src python -m bench.lab.oracle_kv_groups

The layers' specifications, as oracle_kv.py found them, are made with this version's classes. Its kv_cache_utils groups
them, computes the sizes and finds the longest context. Ends with status 1 on any difference.
"""

import logging
import math
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["VLLM_LOGGING_LEVEL"] = "CRITICAL"

import torch
import vllm
from vllm.v1 import kv_cache_interface as specs
from vllm.v1.core import kv_cache_utils

from bench.lab.shapes import SHAPES, make_shape
from vedette.models.checkpoint import read_model
from vedette.models.model import CacheKind, CacheLayers, Model
from vedette.plan.kv import Batching, blocks_per_request, kv_cache_bytes, kv_groups, longest_context, pool_block_bytes

KV_DTYPES = {1: torch.float8_e4m3fn, 2: torch.bfloat16}
CASES = [
    (block, context, concurrency, batched, kv_bytes)
    for block in (16, 32, 128)
    for context, concurrency, batched in ((512, 1, 512), (3001, 2, 2048), (8192, 4, 1024))
    for kv_bytes in KV_DTYPES
]


def layer_spec(cache: CacheLayers, block: int, kv_bytes: int, state_page: int) -> Any:
    """This version's specification of a layer of that kind."""
    attention = {"num_kv_heads": cache.kv_heads, "head_size": cache.key_size, "dtype": KV_DTYPES[kv_bytes]}
    if cache.kind is CacheKind.STATE:
        shapes, dtypes = ((cache.state_bytes,),), (torch.int8,)
        return specs.MambaSpec(block, shapes, dtypes, page_size_padded=state_page, mamba_cache_mode="align")
    if cache.kind is CacheKind.LATENT:
        latent = attention | {"num_kv_heads": 1, "head_size": cache.latent_size}
        return specs.MLAAttentionSpec(block_size=block, **latent)
    if cache.kind is CacheKind.SLIDING:
        # 0.26 starts from the smallest block that its attention takes; grouping makes it larger.
        return specs.SlidingWindowSpec(block_size=16, sliding_window=cache.window_tokens, **attention)
    return specs.FullAttentionSpec(block_size=block, **attention)


def layer_specs(model: Model, block: int, kv_bytes: int) -> dict[str, Any]:
    states = [cache.state_bytes for cache in model.cache_layers if cache.kind is CacheKind.STATE]
    token = 2 * model.kv_heads * model.head_size * kv_bytes
    if states:  # vLLM's platform does this before its layers are asked (_align_hybrid_block_size)
        block = max(block, block * math.ceil(states[0] / (block * token)))
    return {
        f"{cache.kind.value}.{layer}": layer_spec(cache, block, kv_bytes, block * token)
        for cache in model.cache_layers
        for layer in range(cache.count)
    }


def settings(context: int, batched: int) -> Any:
    """The part of an engine's configuration that the accounting reads."""
    return SimpleNamespace(
        model_config=SimpleNamespace(max_model_len=context, original_max_model_len=context),
        parallel_config=SimpleNamespace(decode_context_parallel_size=1, prefill_context_parallel_size=1),
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False),
        cache_config=SimpleNamespace(num_gpu_blocks_override=None, mamba_cache_mode="align"),
        speculative_config=None,
        kv_transfer_config=None,
        max_in_flight_tokens=2 * batched,
    )


def differences(model: Model, case: tuple[int, int, int, int, int]) -> list[str]:
    """The figures in which this version differs from vedette, as text."""
    block, context, concurrency, batched, kv_bytes = case
    config, batching = settings(context, batched), Batching(batched)
    layers = layer_specs(model, block, kv_bytes)
    theirs, ours = kv_cache_utils.get_kv_cache_groups(config, dict(layers)), kv_groups(model, block, kv_bytes)
    block_bytes = kv_cache_utils._pool_bytes_per_block(config, theirs)
    request = kv_cache_utils._max_memory_usage_bytes_from_groups(config, theirs)
    needed = kv_cache_bytes(model, context, concurrency, block, batched, kv_bytes)
    made = kv_cache_utils.get_kv_cache_configs(config, [layers], [needed])[0]
    served = kv_cache_utils.get_max_concurrency_for_kv_cache_config(config, made)
    share = (needed // block_bytes - 1) // concurrency * block_bytes
    config.model_config.max_model_len = model.max_position_embeddings
    figures = {
        "groups": (len(ours), len(theirs)),
        "bytes of a block": (pool_block_bytes(ours), block_bytes),
        "bytes of a request": (blocks_per_request(ours, context, batching) * block_bytes, request),
        "bytes": (needed, concurrency * request + block_bytes),
        "blocks made": (needed // block_bytes, made.num_blocks),
        "requests at once": (concurrency, int(served)),
        "longest context": (
            longest_context(model, needed, concurrency, block, batched, kv_bytes),
            kv_cache_utils._estimate_max_model_len_from_groups(config, theirs, share),
        ),
    }
    return [f"{what} {a:,} not {b:,}" for what, (a, b) in figures.items() if a != b]


def main() -> int:
    logging.disable()
    print(f"vLLM {vllm.__version__}\n\n| model | cases | equal |\n|---|---|---|")
    wrong = 0
    for name in SHAPES:
        with tempfile.TemporaryDirectory() as directory:
            model = read_model(make_shape(name, Path(directory)))
        found = {case: wrong_figures for case in CASES if (wrong_figures := differences(model, case))}
        wrong += len(found)
        print(f"| {name} | {len(CASES)} | {found or 'all'} |", flush=True)
    print(f"\n{len(CASES) * len(SHAPES)} cases of {len(SHAPES)} models, {wrong} differ.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

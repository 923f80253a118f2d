"""The KV cache in vLLM's own terms: layers in groups, one pool of equal blocks. Pure, exact arithmetic.

Followed: `get_kv_cache_groups`, `unify_kv_cache_spec_page_size`, `_max_memory_usage_bytes_from_groups` of
vllm/v1/core/kv_cache_utils.py, the specs of vllm/v1/kv_cache_interface.py and `_align_hybrid_block_size` of
vllm/platforms/interface.py, as 0.26.0 and 0.32.0 have them. Every group draws blocks of the same size from one
pool, in which the widest group sets the size; a request at full length takes the sum of its groups' blocks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vedette.models.model import CacheKind, CacheLayers, Model

SMALLEST_KERNEL_BLOCK = 16
"""Tokens; no attention backend takes smaller blocks (`get_supported_kernel_block_sizes`)."""
PADDING_RATIO = 1.5
"""Below it, vLLM pads the smaller kind of layer to the larger one's count instead of splitting the larger."""


@dataclass(frozen=True)
class KvGroup:
    """Layers that share one table of blocks."""

    kind: CacheKind
    layers: int
    block_tokens: int
    """Tokens of one block; of STATE groups, those that the blocks of other groups hold."""
    block_bytes: int
    """What one block takes in all its layers together."""
    window_tokens: int | None = None


@dataclass(frozen=True)
class Batching:
    """What the engine has under way at once; the blocks of a sliding window depend on it."""

    batched_tokens: int
    """`max_num_batched_tokens`."""
    steps_in_flight: int = 2
    """Steps scheduled but not settled: 2 with asynchronous scheduling, vLLM's default on a GPU; 1 on a CPU."""
    prefix_caching: bool = True
    """With it, layers that keep a state keep a second one for each sequence."""


@dataclass(frozen=True)
class _Page:
    """One block of one layer."""

    cache: CacheLayers
    tokens: int
    bytes: int


def kv_cache_bytes(  # noqa: PLR0913 - the six numbers that the cache depends on
    model: Model,
    max_model_len: int,
    concurrency: int,
    block_tokens: int,
    batched_tokens: int,
    kv_dtype_bytes: int,
    steps_in_flight: int = 2,
    prefix_caching: bool = True,
) -> int:
    """Bytes for `concurrency` requests of `max_model_len` tokens, and for the null block that vLLM keeps for itself.

    block_tokens: the engine's `--block-size`. kv_dtype_bytes: of one element of a key, a value or a latent.
    With exactly this many bytes vLLM starts and reports a concurrency of at least `concurrency`.
    """
    groups = kv_groups(model, block_tokens, kv_dtype_bytes)
    batching = Batching(batched_tokens, steps_in_flight, prefix_caching)
    blocks = concurrency * blocks_per_request(groups, max_model_len, batching) + 1
    return blocks * pool_block_bytes(groups)


def longest_context(  # noqa: PLR0913 - the same numbers
    model: Model,
    kv_bytes: int,
    concurrency: int,
    block_tokens: int,
    batched_tokens: int,
    kv_dtype_bytes: int,
    steps_in_flight: int = 2,
    prefix_caching: bool = True,
) -> int:
    """The largest `max_model_len` for which `kv_cache_bytes` is at most `kv_bytes`; 0 if none is.

    At most the positions that the model knows.
    """
    groups = kv_groups(model, block_tokens, kv_dtype_bytes)
    batching = Batching(batched_tokens, steps_in_flight, prefix_caching)
    blocks = (kv_bytes // pool_block_bytes(groups) - 1) // concurrency
    fits, too_long = 0, model.max_position_embeddings + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if blocks_per_request(groups, middle, batching) <= blocks:
            fits = middle
        else:
            too_long = middle
    return fits


def kv_groups(model: Model, block_tokens: int, kv_dtype_bytes: int) -> tuple[KvGroup, ...]:
    """The model's layers in groups, as vLLM makes them. A model without facts on its layers counts as plain GQA."""
    layers = model.cache_layers or _plain_layers(model)
    pages = _pages(layers, block_tokens, kv_dtype_bytes)
    if _same_type(layers):
        first = pages[0]
        block_bytes = sum(page.bytes * page.cache.count for page in pages)
        count = sum(page.cache.count for page in pages)
        return (KvGroup(first.cache.kind, count, first.tokens, block_bytes, first.cache.window_tokens),)
    counts = [page.cache.count for page in pages]
    largest, smallest = max(counts), min(counts)
    most = largest if largest < smallest * PADDING_RATIO else smallest
    groups: list[KvGroup] = []
    for page in _equal_pages(pages):
        count = page.cache.count
        number = math.ceil(count / most)
        # vLLM deals layers out in turn: the first groups get one more where they do not divide evenly.
        for turn in range(number):
            share = len(range(turn, count, number))
            groups.append(KvGroup(page.cache.kind, share, page.tokens, share * page.bytes, page.cache.window_tokens))
    return tuple(groups)


def pool_block_bytes(groups: Sequence[KvGroup]) -> int:
    """Bytes of one block of the pool: those of the widest group."""
    return max(group.block_bytes for group in groups)


def kv_tensors(model: Model, kv_bytes: int, block_tokens: int, kv_dtype_bytes: int) -> tuple[int, ...]:
    """Bytes of each tensor that a cache of `kv_bytes` is made of: one for each layer of one group, or for the
    layers of several groups that share it (`KVCacheTensor`)."""
    groups = kv_groups(model, block_tokens, kv_dtype_bytes)
    blocks = kv_bytes // pool_block_bytes(groups)
    if len(groups) == 1:
        layers = model.cache_layers or _plain_layers(model)
        pages = _pages(layers, block_tokens, kv_dtype_bytes)
        return tuple(blocks * page.bytes for page in pages for _ in range(page.cache.count))
    widest = max(groups, key=lambda group: group.block_bytes)
    return (blocks * widest.block_bytes // widest.layers,) * widest.layers


def blocks_per_request(groups: Sequence[KvGroup], max_model_len: int, batching: Batching) -> int:
    """Blocks that one request of `max_model_len` tokens can hold at once, in all groups together."""
    return sum(_blocks(group, max_model_len, batching) for group in groups)


def _plain_layers(model: Model) -> tuple[CacheLayers, ...]:
    return (CacheLayers(CacheKind.FULL, model.layers, model.kv_heads, model.head_size, model.head_size),)


def _blocks(group: KvGroup, max_model_len: int, batching: Batching) -> int:
    if group.kind is CacheKind.STATE:
        return 2 if batching.prefix_caching else 1
    if group.kind is CacheKind.SLIDING and group.window_tokens is not None:
        in_flight = batching.batched_tokens * batching.steps_in_flight
        held = min(group.window_tokens - 1 + in_flight, max_model_len)
        # One more, since a window need not begin where a block does.
        return math.ceil(held / group.block_tokens) + 1
    return math.ceil(max_model_len / group.block_tokens)


def _pages(layers: Sequence[CacheLayers], block_tokens: int, kv_dtype_bytes: int) -> list[_Page]:
    """Each kind's page. Where some layers keep a state, attention's blocks grow until one holds a state."""
    states = [cache.state_bytes for cache in layers if cache.kind is CacheKind.STATE]
    tokens = [_token_bytes(cache, kv_dtype_bytes) for cache in layers if cache.kind is not CacheKind.STATE]
    state_page = max(states, default=0)
    if states and tokens:
        aligned = max(block_tokens, SMALLEST_KERNEL_BLOCK)
        block_tokens = max(block_tokens, aligned * math.ceil(state_page / (aligned * tokens[0])))
        state_page = block_tokens * tokens[0]
    return [
        _Page(cache, block_tokens, state_page)
        if cache.kind is CacheKind.STATE
        else _Page(cache, block_tokens, block_tokens * _token_bytes(cache, kv_dtype_bytes))
        for cache in layers
    ]


def _token_bytes(cache: CacheLayers, kv_dtype_bytes: int) -> int:
    """What one token leaves in one layer."""
    if cache.kind is CacheKind.LATENT:
        return cache.latent_size * kv_dtype_bytes
    return cache.kv_heads * (cache.key_size + cache.value_size) * kv_dtype_bytes


def _same_type(layers: Sequence[CacheLayers]) -> bool:
    """Whether all layers need the same number of blocks, whatever the sizes of their heads: then one group does."""
    kinds = {cache.kind for cache in layers}
    if kinds <= {CacheKind.FULL, CacheKind.LATENT}:
        return True
    return len(kinds) == 1 and len({(cache.window_tokens, cache.state_bytes) for cache in layers}) == 1


def _equal_pages(pages: Sequence[_Page]) -> list[_Page]:
    """All pages as large as the largest: with more tokens in a block where that comes out even, else padded."""
    largest = max(page.bytes for page in pages)
    grown = []
    for page in pages:
        times, left = divmod(largest, page.bytes)
        more = times if left == 0 and page.cache.kind is not CacheKind.STATE else 1
        grown.append(replace(page, tokens=page.tokens * more, bytes=largest))
    return grown

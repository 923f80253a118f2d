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
    """Layers that share one block table."""

    kind: CacheKind
    layers: int
    block_tokens: int
    """Tokens of one block; of STATE groups, those that the blocks of other groups hold."""
    block_bytes: int
    """Bytes of one block in all its layers together."""
    window_tokens: int | None = None


@dataclass(frozen=True)
class Batching:
    """What the engine computes at the same time; the blocks of a sliding window depend on it."""

    batched_tokens: int
    """`max_num_batched_tokens`."""
    steps_in_flight: int = 2
    """Steps scheduled but not finished: 2 with asynchronous scheduling, vLLM's default on a GPU; 1 on a CPU."""
    prefix_caching: bool = True
    """With prefix caching, layers with a state keep a second one for each sequence."""


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
    """Return the bytes for `concurrency` requests of `max_model_len` tokens and for vLLM's own null block.

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
    """Return the largest `max_model_len` for which `kv_cache_bytes` is at most `kv_bytes`; 0 if none is.

    At most the positions of the model.
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
    """Return the model's layers in groups, as vLLM makes them. Without facts on layers all count as plain GQA."""
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
        # vLLM distributes layers in turn: the first groups get one more if they do not divide evenly.
        for turn in range(number):
            share = len(range(turn, count, number))
            groups.append(KvGroup(page.cache.kind, share, page.tokens, share * page.bytes, page.cache.window_tokens))
    return tuple(groups)


def pool_block_bytes(groups: Sequence[KvGroup]) -> int:
    """Return the bytes of one block of the pool, which are those of the widest group."""
    return max(group.block_bytes for group in groups)


def kv_tensors(model: Model, kv_bytes: int, block_tokens: int, kv_dtype_bytes: int) -> tuple[int, ...]:
    """Return the bytes of each tensor of a cache of `kv_bytes`: one for each layer of one group, or for the layers of
    several groups that share it (`KVCacheTensor`)."""
    groups = kv_groups(model, block_tokens, kv_dtype_bytes)
    blocks = kv_bytes // pool_block_bytes(groups)
    if len(groups) == 1:
        layers = model.cache_layers or _plain_layers(model)
        pages = _pages(layers, block_tokens, kv_dtype_bytes)
        return tuple(blocks * page.bytes for page in pages for _ in range(page.cache.count))
    widest = max(groups, key=lambda group: group.block_bytes)
    return (blocks * widest.block_bytes // widest.layers,) * widest.layers


def blocks_per_request(groups: Sequence[KvGroup], max_model_len: int, batching: Batching) -> int:
    """Return the blocks that one request of `max_model_len` tokens can hold at once, in all groups together."""
    return sum(_blocks(group, max_model_len, batching) for group in groups)


def _plain_layers(model: Model) -> tuple[CacheLayers, ...]:
    return (CacheLayers(CacheKind.FULL, model.layers, model.kv_heads, model.head_size, model.head_size),)


def _blocks(group: KvGroup, max_model_len: int, batching: Batching) -> int:
    if group.kind is CacheKind.STATE:
        return 2 if batching.prefix_caching else 1
    if group.kind is CacheKind.SLIDING and group.window_tokens is not None:
        in_flight = batching.batched_tokens * batching.steps_in_flight
        held = min(group.window_tokens - 1 + in_flight, max_model_len)
        # One more, because a window may begin within a block.
        return math.ceil(held / group.block_tokens) + 1
    return math.ceil(max_model_len / group.block_tokens)


def _pages(layers: Sequence[CacheLayers], block_tokens: int, kv_dtype_bytes: int) -> list[_Page]:
    """Return each kind's page. If some layers keep a state, attention's blocks grow until one holds a state."""
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
    """Return the bytes of one token in one layer."""
    if cache.kind is CacheKind.LATENT:
        return cache.latent_size * kv_dtype_bytes
    return cache.kv_heads * (cache.key_size + cache.value_size) * kv_dtype_bytes


def _same_type(layers: Sequence[CacheLayers]) -> bool:
    """Return whether all layers need the same number of blocks, whatever their head sizes. Then one group is enough."""
    kinds = {cache.kind for cache in layers}
    if kinds <= {CacheKind.FULL, CacheKind.LATENT}:
        return True
    return len(kinds) == 1 and len({(cache.window_tokens, cache.state_bytes) for cache in layers}) == 1


def _equal_pages(pages: Sequence[_Page]) -> list[_Page]:
    """Make all pages as large as the largest: with more tokens in a block where that divides evenly, else padded."""
    largest = max(page.bytes for page in pages)
    grown = []
    for page in pages:
        times, left = divmod(largest, page.bytes)
        more = times if left == 0 and page.cache.kind is not CacheKind.STATE else 1
        grown.append(replace(page, tokens=page.tokens * more, bytes=largest))
    return grown

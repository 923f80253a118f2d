"""The KV cache's arithmetic: what vLLM itself said of real shapes, and what must hold of any."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lab.oracle_configs import CONFIGS
from bench.lab.shapes import SHAPES, make_shape
from vedette.models.checkpoint import read_model
from vedette.models.model import CacheKind, CacheLayers, Model
from vedette.plan.kv import (
    Batching,
    blocks_per_request,
    kv_cache_bytes,
    kv_groups,
    kv_tensors,
    longest_context,
    pool_block_bytes,
)

TABLE = Path(__file__).parents[3] / "bench" / "lab" / "oracle_kv.md"
ROW = re.compile(
    r"\| (?P<name>\S+) \| (?P<dtype>\w+) \| (?P<context>\d+) × (?P<concurrency>\d+), blocks of (?P<block>\d+), "
    r"(?P<batched>\d+) × (?P<steps>\d) batched(?P<without>, no prefixes)? \| [\d,]+ \| (?P<bytes>[\d,]+) \|"
)
ROWS = [match.groupdict() for line in TABLE.read_text().splitlines() if (match := ROW.match(line))]
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "fp8": 1}
GEMMA = (
    CacheLayers(CacheKind.FULL, 5, kv_heads=4, key_size=256, value_size=256),
    CacheLayers(CacheKind.SLIDING, 29, kv_heads=4, key_size=256, value_size=256, window_tokens=1024),
)
QWEN = (
    CacheLayers(CacheKind.FULL, 6, kv_heads=2, key_size=256, value_size=256),
    CacheLayers(CacheKind.STATE, 18, state_bytes=1_085_440),
)
LATENT = (CacheLayers(CacheKind.LATENT, 27, latent_size=576),)


def model_of(layers: tuple[CacheLayers, ...], positions: int = 131_072) -> Model:
    return Model(
        name="shape",
        path=Path("shape"),
        architecture="ShapeForCausalLM",
        weights_bytes=1,
        vision_weights_bytes=0,
        decode_weights_bytes=1,
        layers=sum(cache.count for cache in layers) or 28,
        hidden_size=2048,
        intermediate_size=6144,
        attention_heads=16,
        kv_heads=8,
        head_size=128,
        vocabulary_size=151_936,
        max_position_embeddings=positions,
        dtype="bfloat16",
        cache_layers=layers,
    )


@pytest.fixture(scope="module")
def shape_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    def read(name: str) -> Model:
        directory = tmp_path_factory.mktemp("shape")
        if name in SHAPES:
            return read_model(make_shape(name, directory))
        (directory / "config.json").write_text(json.dumps(CONFIGS[name]))
        (directory / "tokenizer.json").touch()
        return read_model(directory, tensors={})

    return cache(read)


def test_the_table_is_of_every_model() -> None:
    own = {name for name, shape in SHAPES.items() if shape.like is None}  # others differ in sizes and formats only
    assert {row["name"] for row in ROWS} == own | set(CONFIGS)
    assert len(ROWS) >= 40


@pytest.mark.parametrize("name", [*SHAPES, *CONFIGS])
def test_bytes_are_those_that_vllm_named(name: str, shape_of: Callable[[str], Model]) -> None:
    model = shape_of(name)
    for row in (row for row in ROWS if row["name"] == name):
        needed = kv_cache_bytes(
            model,
            int(row["context"]),
            int(row["concurrency"]),
            int(row["block"]),
            int(row["batched"]),
            DTYPE_BYTES[row["dtype"]],
            int(row["steps"]),
            row["without"] is None,
        )
        assert needed == int(row["bytes"].replace(",", "")), row


def test_a_model_without_facts_on_its_layers_counts_as_plain_attention() -> None:
    """114,688 bytes a token is what vLLM took for the Qwen3-VL-2B shape."""
    assert kv_cache_bytes(model_of(()), 16, 1, 16, 2048, 2) == 2 * 16 * 114_688


def test_sliding_layers_are_dealt_to_groups_as_large_as_the_full_one() -> None:
    groups = kv_groups(model_of(GEMMA), 16, 2)
    assert [group.layers for group in groups] == [5, 5, 5, 5, 5, 5, 4]
    assert pool_block_bytes(groups) == 5 * 16 * 4096


def test_nearly_as_many_of_either_kind_are_padded_not_split() -> None:
    full = CacheLayers(CacheKind.FULL, 12, kv_heads=8, key_size=64, value_size=64)
    sliding = CacheLayers(CacheKind.SLIDING, 13, kv_heads=8, key_size=64, value_size=64, window_tokens=128)
    assert [group.layers for group in kv_groups(model_of((full, sliding)), 16, 2)] == [12, 13]


def test_a_state_takes_one_page_and_a_second_one_for_prefixes() -> None:
    groups = kv_groups(model_of(QWEN), 16, 2)
    assert [group.block_tokens for group in groups] == [544] * 4, "a page holds a state: 1,085,440 / 2048 bytes"
    assert blocks_per_request(groups, 544, Batching(512, prefix_caching=False)) == 1 + 3
    assert blocks_per_request(groups, 544, Batching(512, prefix_caching=True)) == 1 + 6


def test_heads_of_other_sizes_share_one_group_if_all_see_everything() -> None:
    wide = CacheLayers(CacheKind.FULL, 2, kv_heads=1, key_size=128, value_size=64)
    narrow = CacheLayers(CacheKind.FULL, 3, kv_heads=1, key_size=64, value_size=64)
    (group,) = kv_groups(model_of((wide, narrow)), 16, 2)
    assert (group.layers, group.block_bytes) == (5, 16 * 2 * (2 * 192 + 3 * 128))


def test_pages_of_unlike_layers_become_equal() -> None:
    full = CacheLayers(CacheKind.FULL, 4, kv_heads=2, key_size=128, value_size=128)
    half = CacheLayers(CacheKind.SLIDING, 4, kv_heads=1, key_size=128, value_size=128, window_tokens=512)
    odd = CacheLayers(CacheKind.SLIDING, 4, kv_heads=1, key_size=192, value_size=192, window_tokens=512)
    assert [group.block_tokens for group in kv_groups(model_of((full, half)), 16, 2)] == [16, 32]
    assert [group.block_tokens for group in kv_groups(model_of((full, odd)), 16, 2)] == [16, 16], "padded"
    assert len({group.block_bytes for group in kv_groups(model_of((full, odd)), 16, 2)}) == 1


def test_no_context_fits_into_a_few_bytes() -> None:
    assert longest_context(model_of(GEMMA), 0, 1, 16, 512, 2) == 0
    assert longest_context(model_of(GEMMA), 5 * 16 * 4096, 1, 16, 512, 2) == 0, "the null block is no request's"


@given(
    layers=st.sampled_from([(), GEMMA, QWEN, LATENT]),
    concurrency=st.integers(1, 8),
    block=st.sampled_from([16, 32, 128]),
    batched=st.sampled_from([256, 2048, 8192]),
    kv_bytes=st.integers(0, 8 * 1024**3),
    dtype_bytes=st.sampled_from([1, 2]),
)
def test_the_longest_context_fits_and_one_token_more_does_not(
    layers: tuple[CacheLayers, ...], concurrency: int, block: int, batched: int, kv_bytes: int, dtype_bytes: int
) -> None:
    model = model_of(layers)
    settings = (concurrency, block, batched, dtype_bytes)
    longest = longest_context(model, kv_bytes, *settings)
    if longest:
        assert kv_cache_bytes(model, longest, *settings) <= kv_bytes
    if longest < model.max_position_embeddings:
        assert kv_cache_bytes(model, longest + 1, *settings) > kv_bytes
    assert longest_context(model, kv_bytes + 1_000_000, *settings) >= longest


@pytest.mark.parametrize(
    ("layers", "tensors"), [((), 28), (LATENT, 27), (GEMMA, 5), (QWEN, 6)], ids=["plain", "latent", "gemma", "qwen3.5"]
)
def test_the_cache_is_as_many_tensors_as_its_widest_group_has_layers(
    layers: tuple[CacheLayers, ...], tensors: int
) -> None:
    model = model_of(layers)
    wanted = kv_cache_bytes(model, 4096, 2, 16, 2048, 2)
    made = kv_tensors(model, wanted, 16, 2)
    assert len(made) == tensors
    assert sum(made) == wanted
    spare = pool_block_bytes(kv_groups(model, 16, 2)) - 1
    assert kv_tensors(model, wanted + spare, 16, 2) == made


def test_two_steps_in_flight_with_prefixes_are_the_default() -> None:
    for model in (model_of(GEMMA), model_of(QWEN)):
        sizes = kv_cache_bytes(model, 8192, 2, 16, 2048, 2)
        assert sizes == kv_cache_bytes(model, 8192, 2, 16, 2048, 2, 2, True)
        assert longest_context(model, sizes, 2, 16, 2048, 2) == longest_context(model, sizes, 2, 16, 2048, 2, 2, True)
    gemma, qwen = model_of(GEMMA), model_of(QWEN)
    sizes = kv_cache_bytes(gemma, 8192, 2, 16, 2048, 2)
    assert kv_cache_bytes(gemma, 8192, 2, 16, 2048, 2, 1) < sizes
    assert longest_context(gemma, sizes, 2, 16, 2048, 2, 1) > longest_context(gemma, sizes, 2, 16, 2048, 2)
    assert kv_cache_bytes(qwen, 8192, 2, 16, 2048, 2, 2, False) < kv_cache_bytes(qwen, 8192, 2, 16, 2048, 2)

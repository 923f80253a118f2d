"""A model's files changed at random: a plan or a sentence comes out, never a traceback, and soon."""

import copy
import json
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lab.shapes import make_shape
from tests.rig.devices import GIB, jetson
from tests.rig.properties import fewer_examples
from vedette.deploy.proposing import propose
from vedette.errors import VedetteError
from vedette.models.checkpoint import read_model
from vedette.models.store.model_lookup import packaged_path
from vedette.models.tensors import read_tensors
from vedette.plan.make import make_plan
from vedette.plan.plan import Wish, Workload
from vedette.settings.home import Home, home_paths
from vedette.settings.load import read_settings

TINY = packaged_path("vedette-tiny")
JSON_FILES = ("config.json", "preprocessor_config.json", "video_preprocessor_config.json", "tokenizer_config.json")
HOSTILE: list[Any] = [
    *(0, -1, 1, 2, 3, 7, 2**16, 2**31, 2**32 - 1, 2**62, 2**64, 10**30, -(10**30)),
    *(0.0, 0.5, -0.5, 1e-320, 1e308, float("nan"), float("inf"), float("-inf")),
    *(True, False, None, "", "x", "16", "\x00", "--trust-remote-code", "\x1b[2J", "模型" * 50),
    *([], [[]], [0], [-1] * 3, [1, "2"], {}, {"": {}}, {"x": None}),
]


def header_of(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    return header


HEADER = header_of(TINY / "model.safetensors")
CONTENT = {name: json.loads((TINY / name).read_text()) for name in JSON_FILES} | {"model.safetensors": HEADER}
DATA_BYTES = max(entry["data_offsets"][1] for name, entry in HEADER.items() if name != "__metadata__")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


PLACES = {name: sorted(places(content), key=str) for name, content in CONTENT.items()}


@st.composite
def changed(draw: st.DrawFn, contents: Mapping[str, Any] = CONTENT) -> tuple[str, bytes]:
    """The name of a file, and its new text."""
    name = draw(st.sampled_from(sorted(contents)))
    content = copy.deepcopy(contents[name])
    ways = PLACES[name] if contents is CONTENT else sorted(places(content), key=str)
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(ways))
        holder = content
        try:
            for key in above:
                holder = holder[key]
            if draw(st.booleans()) or not isinstance(holder, dict):
                holder[last] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
            else:
                holder.pop(last)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has removed this place
    text = json.dumps(content).encode()
    if draw(st.integers(0, 9)) == 0:  # also what is no JSON any more
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=8)) + text[at + draw(st.integers(0, 8)) :]
    return name, text


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "changed"
    shutil.copytree(TINY, place, ignore=shutil.ignore_patterns("*.safetensors", "README.md"))
    return place


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return home_paths({"VEDETTE_HOME": str(tmp_path_factory.mktemp("home"))})


def put(directory: Path, name: str, text: bytes) -> None:
    path = directory / name
    if not name.endswith(".safetensors"):
        path.write_bytes(text)
        return
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + DATA_BYTES)  # a hole: no bytes are written


@given(changes=st.lists(changed(), min_size=1, max_size=2))
def test_a_plan_or_a_sentence(directory: Path, home: Home, changes: list[tuple[str, bytes]]) -> None:
    for name, content in CONTENT.items():
        put(directory, name, json.dumps(content).encode())
    for name, text in changes:
        put(directory, name, text)
    settings = read_settings({"model": str(directory)}, {"HOME": "/nowhere"})
    try:
        document = propose(settings, home, "orin-nano-8gb").as_json()
    except VedetteError as error:
        said = error.sentence
    else:
        said = json.dumps(document, allow_nan=False)
    assert 0 < len(said) < 50_000


@pytest.mark.parametrize(
    "name", ["SmolVLM-500M-Instruct", "gemma-3-4b-it", "llava-1.5-7b-hf", "Qwen3.5-2B", "gemma-3-1b-it"]
)
def test_other_families_too(tmp_path: Path, name: str) -> None:
    model = make_shape(name, tmp_path / name)
    tensors = read_tensors(model)
    files = (model / file for file in (*JSON_FILES, "processor_config.json"))
    contents = {path.name: json.loads(path.read_text()) for path in files if path.exists()}

    @fewer_examples(5)
    @given(change=changed(contents))
    def check(change: tuple[str, bytes]) -> None:
        for file, content in contents.items():
            put(model, file, json.dumps(content).encode())
        put(model, *change)
        try:
            assert make_plan(jetson(24 * GIB), read_model(model, tensors=tensors), Wish(Workload.CHAT)).memory
        except VedetteError as error:
            sentence = error.sentence
            assert 0 < len(sentence) < 1000

    check()

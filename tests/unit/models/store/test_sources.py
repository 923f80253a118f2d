"""Every source against a local server that speaks its protocol: lists, parts of files, refusals, and where keys go."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rig.model_servers import MODEL_ID, NGC_PATH, TOKEN, Fault, Library, ModelServer, serving
from tests.rig.safetensors_files import weights
from vedette.errors import ModelNotFoundError
from vedette.language.message import say
from vedette.models.store.fetching import file_transfer
from vedette.models.store.fetching.downloader import download
from vedette.models.store.fetching.manifest import MANIFEST, read_manifest
from vedette.models.store.fetching.model_source import SourceError, Trouble
from vedette.models.store.fetching.ngc_key import read_ngc_key
from vedette.models.store.fetching.ngc_source import ngc_source
from vedette.models.store.fetching.origin import Kind, Origin, parse_origin
from vedette.models.store.fetching.source_choice import source_of
from vedette.models.store.fetching.transfer_lock import transfer_lock
from vedette.models.store.fetching.web_access import parse_retry_after
from vedette.models.store.remote_facts import read_remote_model
from vedette.models.store.source_errors import error_of

PERSONAL, OLDER = "nvapi-a-personal-key", "an-older-key"
BIG = weights(300_000)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A small model, and a person without keys."""
    for name in (
        "NGC_API_KEY",
        "NGC_CLI_API_KEY",
        "NGC_APP_KEY",
        "HF_TOKEN",
        "MODELSCOPE_API_TOKEN",
        "MODELSCOPE_CACHE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NGC_CLI_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(file_transfer, "FIRST_WAIT_S", 0.001)
    return Library({"config.json": b'{"architectures": ["X"]}', "tokenizer.json": b"{}", "model.safetensors": BIG})


@pytest.fixture
def server(library: Library, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with serving(library) as server:
        for name in ("NGC_CLI_API_URL", "NGC_CLI_AUTH_URL", "HF_ENDPOINT", "MODELSCOPE_DOMAIN"):
            monkeypatch.setenv(name, server.url)
        yield server


def origins(server: ModelServer) -> list[Origin]:
    return [
        Origin(Kind.HUGGING_FACE, MODEL_ID),
        Origin(Kind.NGC, NGC_PATH),
        Origin(Kind.MODELSCOPE, MODEL_ID),
        Origin(Kind.WEB, f"{server.url}/plain"),
    ]


def fetch(origin: Origin, place: Path) -> Path:
    directory = place / origin.directory_name
    download(origin, source_of(origin, place / "keys"), directory)
    return directory


def trouble(origin: Origin, place: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(origin, place)
    return caught.value


def faults(wanted: str, *each: Fault) -> Callable[[str, int], Fault | None]:
    """What goes wrong with the answers for one file, one after the other."""
    left = list(each)
    return lambda name, _begin: left.pop(0) if name == wanted and left else None


NGC = Origin(Kind.NGC, NGC_PATH)


def test_every_source_brings_the_same_files(server: ModelServer, library: Library, tmp_path: Path) -> None:
    for origin in origins(server):
        directory = fetch(origin, tmp_path / "models")
        here = {path.name: path.read_bytes() for path in directory.iterdir() if path.name != MANIFEST}
        assert here == library.files, origin
        manifest = read_manifest(directory)
        assert manifest is not None
        assert manifest.origin == origin.name
        assert {file.name: file.sha256 for file in manifest.files} == {
            name: hashlib.sha256(data).hexdigest() for name, data in here.items()
        }


def test_every_source_resumes_at_the_byte_where_it_broke_off(
    server: ModelServer, library: Library, tmp_path: Path
) -> None:
    for origin in origins(server):
        library.sent.clear()
        library.fault = faults("model.safetensors", *(Fault(cut_after=size) for size in (100_001, 1, 0, 250_000)))
        directory = fetch(origin, tmp_path / "models")
        assert (directory / "model.safetensors").read_bytes() == BIG
        # A plain server, which lists nothing, is asked for the first byte of each file.
        assert library.sent_twice() <= (len(library.files) if origin.kind is Kind.WEB else 0)


def test_a_source_is_left_alone_as_long_as_it_asks(server: ModelServer, library: Library, tmp_path: Path) -> None:
    for origin in origins(server)[:2]:
        again = Fault(status=429, headers={"Retry-After": "1"})
        library.fault = faults("tokenizer.json", again, Fault(status=503), Fault(status=500))
        began_s = time.monotonic()
        fetch(origin, tmp_path / "models")
        assert time.monotonic() - began_s > 0.9
        far = origin.directory_name + "-later"
        library.fault = faults("tokenizer.json", *[Fault(status=503, headers={"Retry-After": "3600"})] * 20)
        with pytest.raises(SourceError) as caught:
            download(origin, source_of(origin, tmp_path), tmp_path / far)
        assert (caught.value.trouble, caught.value.wait_s) == (Trouble.BUSY, 3600)


def test_every_source_refuses_what_arrives_damaged_twice(server: ModelServer, library: Library, tmp_path: Path) -> None:
    library.fault = lambda name, _begin: Fault(damage=True) if name == "model.safetensors" else None
    for origin in origins(server):
        assert trouble(origin, tmp_path / "models").trouble is Trouble.CORRUPT
        assert not (tmp_path / "models" / origin.directory_name).exists()


def test_every_source_refuses_a_name_that_leads_out(server: ModelServer, library: Library, tmp_path: Path) -> None:
    library.extra_names = ("../escaped.json",)
    for origin in origins(server)[:3]:
        assert trouble(origin, tmp_path / "models").trouble is Trouble.HOSTILE_NAME
    assert not list(tmp_path.rglob("escaped.json"))


def test_weights_that_the_source_has_cut_short(server: ModelServer, library: Library, tmp_path: Path) -> None:
    library.files["model.safetensors"] = BIG[:-7]
    library.sums = False
    for origin in origins(server):
        assert trouble(origin, tmp_path / "models").trouble is Trouble.UNUSABLE
        assert not (tmp_path / "models" / origin.directory_name).exists()
    library.files["model.safetensors"] = BIG
    fetch(origins(server)[3], tmp_path / "models")


def test_a_list_that_is_cut_short_is_asked_for_again(server: ModelServer, library: Library, tmp_path: Path) -> None:
    """A plain server's list is its index of the weights, and the answers for each name."""
    library.files["model-1-of-1.safetensors"] = library.files.pop("model.safetensors")
    index = "model.safetensors.index.json"
    library.files[index] = b'{"weight_map": {"model.layers.0.weight": "model-1-of-1.safetensors"}}'
    lost = Fault(cut_after=0, reset=True)
    library.fault = faults(index, lost, Fault(), Fault(cut_after=20), Fault(), lost, Fault(), Fault(cut_after=3))
    directory = fetch(origins(server)[3], tmp_path)
    assert (directory / index).read_bytes() == library.files[index]


# NVIDIA's catalogue


def test_ngc_lists_many_pages(server: ModelServer, library: Library, tmp_path: Path) -> None:
    library.page_files = 2
    library.files |= {f"part-{number}.json": b"{}" for number in range(4)}
    assert len(list(fetch(NGC, tmp_path).iterdir())) == len(library.files) + 1


@pytest.mark.parametrize("key", [PERSONAL, OLDER])
def test_ngc_keys_are_shown_to_their_servers_alone(
    server: ModelServer, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    library.keys = frozenset({PERSONAL, OLDER})
    monkeypatch.setenv("NGC_API_KEY", key)
    with serving(Library(library.files)) as store:
        library.data_address = store.url
        fetch(NGC, tmp_path)
        assert {said for _, said in store.library.authorizations} == {None}
    said = {said for path, said in library.authorizations if path != "/token"}
    assert said == {f"Bearer {key if key == PERSONAL else TOKEN}"}


KEYS_PAGE = "https://org.ngc.nvidia.com/setup/api-keys"
PAGE = "https://catalog.ngc.nvidia.com/orgs/nim/teams/nvidia/models/small?version=1208-fp8"


@pytest.mark.parametrize(
    ("key", "status", "expected", "page"),
    [
        (None, 200, Trouble.KEY_NEEDED, KEYS_PAGE),
        ("nvapi-wrong", 200, Trouble.KEY_REFUSED, KEYS_PAGE),
        ("wrong", 200, Trouble.KEY_REFUSED, KEYS_PAGE),
        (PERSONAL, 403, Trouble.TERMS, PAGE),
        (PERSONAL, 412, Trouble.TERMS, PAGE),
        (PERSONAL, 404, Trouble.NOT_FOUND, PAGE),
    ],
)
def test_ngc_refusals_say_what_to_do(
    server: ModelServer, tmp_path: Path, key: str | None, status: int, expected: Trouble, page: str
) -> None:
    server.library.keys, server.library.listing_status = frozenset({PERSONAL}), status
    environment = {"NGC_CLI_API_URL": server.url, "NGC_CLI_AUTH_URL": server.url, "NGC_CLI_HOME": str(tmp_path)}
    source = ngc_source(NGC_PATH, tmp_path, environment | ({"NGC_API_KEY": key} if key else {}))
    with pytest.raises(SourceError) as caught:
        download(NGC, source, tmp_path / "model")
    assert caught.value.trouble is expected
    shown = error_of(caught.value, NGC)
    assert isinstance(shown, ModelNotFoundError)
    assert page in shown.hint
    assert key is None or key not in str(shown)


def test_an_ngc_plan_reads_facts_and_leaves_the_weights(server: ModelServer, library: Library, tmp_path: Path) -> None:
    import json

    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 100}
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", **sizes}
    library.files["config.json"] = json.dumps({**config, "max_position_embeddings": 512}).encode()
    library.files["model.safetensors"] = weights(2_000_000, name="model.layers.0.weight")
    for origin in origins(server):
        library.sent.clear()
        model = read_remote_model(origin, tmp_path / "later", tmp_path / "keys")
        assert (model.name, model.weights_bytes) == (origin.name, 4_000_000)
        assert sum(each.end - each.begin for each in library.sent) < 700_000


def test_where_an_ngc_key_comes_from(tmp_path: Path) -> None:
    keys, nowhere = tmp_path / "keys", {"NGC_CLI_HOME": str(tmp_path)}
    assert read_ngc_key(keys, nowhere) is None
    keys.mkdir()
    (keys / "ngc").write_text("nvapi-of-vedette\n")
    (keys / "ngc").chmod(0o644)
    with pytest.raises(SourceError, match="key_open"):
        read_ngc_key(keys, nowhere)
    (keys / "ngc").chmod(0o600)
    found = read_ngc_key(keys, nowhere)
    assert found is not None
    assert (found.key, found.org) == ("nvapi-of-vedette", None)
    (tmp_path / ".ngc").mkdir()
    (tmp_path / ".ngc" / "config").write_text(
        "[CURRENT]\napikey = nvapi-100%-of-ngc\nformat_type = ascii\norg = my-org\nteam = no-team\nace = no-ace\n"
    )
    found = read_ngc_key(keys, nowhere)
    assert found is not None
    assert (found.key, found.org, found.team) == ("nvapi-100%-of-ngc", "my-org", None)
    found = read_ngc_key(keys, {**nowhere, "NGC_API_KEY": "nvapi-now"})
    assert found is not None
    assert found.key == "nvapi-now"
    assert "nvapi" not in repr(found)


# Names, waits, locks


@pytest.mark.parametrize(
    "argument",
    [
        *("ngc:small:1", "ngc:a/b", "ngc:a/b/c/d:1", "ngc:../b:1", "ngc:a/b:..", "ngc:a/b:1/../../x", "ngc:-a/b:1"),
        *("modelscope:a", "modelscope:a/b/c", "modelscope:../b", "huggingface:a/..", "http://elsewhere/model"),
        *("https://user:key@host/model", "https://host/model?key=1", "https://host/a/../b", "https:///model"),
    ],
)  # fmt: skip
def test_names_that_no_source_has(argument: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        parse_origin(argument)
    assert "key@" not in str(caught.value)


def test_names_of_sources() -> None:
    assert parse_origin("ngc:nim/nvidia/m:1") == Origin(Kind.NGC, "nim/nvidia/m:1")
    assert parse_origin("ngc:org/m:1") == Origin(Kind.NGC, "org/m:1")
    assert parse_origin("https://host/a/b/") == Origin(Kind.WEB, "https://host/a/b")
    assert parse_origin("someone/small") is None
    assert Origin(Kind.NGC, "nim/nvidia/m:1").directory_name == "ngc+nim+nvidia+m+1"


def test_when_to_come_again() -> None:
    assert parse_retry_after("17") == 17
    assert parse_retry_after("Wed, 21 Oct 2026 07:28:10 GMT", now_s=1_792_567_680) == 10
    assert parse_retry_after("soon") is None
    assert parse_retry_after(None) is None


def test_one_download_at_a_time(tmp_path: Path) -> None:
    """The second waits for the first, also where the lock's file was removed meanwhile."""
    directory, order, waited = tmp_path / "model", [], threading.Event()

    def second() -> None:
        with transfer_lock(directory, waited.set):
            order.append("second")

    with transfer_lock(directory):
        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(10)
        (tmp_path / ".model.lock").unlink()
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    with transfer_lock(directory), pytest.raises(BlockingIOError), transfer_lock(directory):
        pass


def test_progress_names_rate_and_time_left() -> None:
    from vedette.models.store.fetching.transfer_report import Report
    from vedette.models.store.model_fetching import _detail

    detail = _detail(Report("model.safetensors", 25 << 20, 125 << 20, 10 << 20))
    assert say(detail) == "model.safetensors, 10 MiB/s, 10.0 s left"
    assert say(detail, "zh") == "model.safetensors，10 MiB/s，剩余 10.0 s"


def test_a_connection_that_only_drips_is_given_up(
    server: ModelServer, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that sends a little for ever keeps no download waiting: after some attempts, its trouble is reported."""
    monkeypatch.setattr(file_transfer, "SLOW_S", 0.02)
    monkeypatch.setattr(file_transfer, "SLOWEST_BYTES_PER_S", 1e9)
    monkeypatch.setattr(file_transfer, "MOST_ATTEMPTS", 1)
    library.rate_bytes_per_s = 2_000_000
    library.files["model.safetensors"] = weights(4_000_000)
    assert trouble(NGC, tmp_path).trouble is Trouble.UNREACHABLE

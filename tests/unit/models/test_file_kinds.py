"""Files of a model that are pipes, devices, sockets, endless or too many: refused at once, by the real command line."""

import os
import resource
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig.processes import clean_environment, command
from vedette.errors import ModelCorruptError
from vedette.models import model_files
from vedette.models.checkpoint import read_model
from vedette.models.store import model_lookup
from vedette.models.store.model_lookup import find_model, packaged_path, read_facts

pytestmark = pytest.mark.processes


AT_ONCE_S = 20
"""A limit against hanging, on a busy machine."""
MEMORY_BYTES = 1 << 30


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path may not be long
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


def terminal(path: Path) -> None:
    path.symlink_to("/dev/ptmx")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def endless(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def lies(path: Path) -> None:
    """A regular file of no size that has content."""
    path.symlink_to("/proc/self/environ")


MAKERS = (fifo, device, unix_socket, terminal, loop, endless, lies)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "odd"
    shutil.copytree(packaged_path("vedette-tiny"), directory, ignore=shutil.ignore_patterns("*.safetensors", "*.md"))
    (directory / "model.safetensors").symlink_to(packaged_path("vedette-tiny") / "model.safetensors")
    (directory / "chat_template.jinja").unlink()  # so that tokenizer_config.json is looked into
    return directory


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "preprocessor_config.json",
        "tokenizer_config.json",
        "tokenizer.json",
        "model.safetensors",
        "model.safetensors.index.json",
    ],
)
def test_no_file_of_a_model_is_trusted_by_its_name(model: Path, name: str, make: Callable[[Path], None]) -> None:
    (model / name).unlink(missing_ok=True)
    make(model / name)
    with pytest.raises(ModelCorruptError) as refused:
        read_model(model)
    assert str(model) in refused.value.sentence


@pytest.mark.parametrize("make", [fifo, device, unix_socket])
def test_files_that_only_the_engine_reads_are_looked_at_too(model: Path, make: Callable[[Path], None]) -> None:
    (model / "generation_config.json").unlink()
    make(model / "generation_config.json")
    with pytest.raises(ModelCorruptError, match=r"generation_config\.json cannot be read"):
        read_model(model)


def test_a_directory_is_not_listed_without_end(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "MAX_ENTRIES", 20)
    read_model(model)
    for number in range(20):
        (model / f"{number}\n.bin").touch()
    with pytest.raises(ModelCorruptError, match="more than 20 entries"):
        read_model(model)


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


@pytest.mark.parametrize(
    ("words", "name", "make"),
    [
        (("plan",), "config.json", device),
        (("plan",), "tokenizer.json", fifo),
        (("up", "--print"), "model.safetensors", fifo),
    ],
)
def test_the_command_line_says_so_in_a_sentence(
    tmp_path: Path, model: Path, words: tuple[str, ...], name: str, make: Callable[[Path], None]
) -> None:
    (model / name).unlink()
    make(model / name)
    result = subprocess.run(
        command(*words, str(model), "--device", "orin-nano-8gb"),
        env=clean_environment(tmp_path / "home", {}),
        capture_output=True,
        text=True,
        timeout=AT_ONCE_S,
        preexec_fn=limit_memory,
    )
    assert result.returncode == 1
    assert f"{model / name} cannot be read" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_server_that_does_not_answer_is_not_waited_for(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(model_lookup, "READ_WITHIN_S", 0.05)
    monkeypatch.setattr(model_lookup, "read_model", lambda *_: released.wait())
    try:
        with pytest.raises(ModelCorruptError, match="does not answer"):
            read_facts(find_model(str(model), model.parent))
    finally:
        released.set()

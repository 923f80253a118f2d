"""Docker, Podman, interpreters and pip that print anything: a fact, nothing, or an error with a sentence."""

import json
import stat
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig.properties import fewer_examples
from vedette.engine.hosts.adopted import parse_vllm
from vedette.engine.hosts.container_record import container_processes, record_container
from vedette.engine.hosts.docker import ContainerEngine, parse_gpu_access, parse_info
from vedette.engine.hosts.image_pull import explain_pull, parse_layer
from vedette.engine.hosts.images import parse_inspected
from vedette.engine.hosts.pip_output import explain_failure, parse_step
from vedette.errors import EngineInstallError, VedetteError

pytestmark = pytest.mark.processes


STRANGE = [
    "",
    "null",
    "[]",
    "7",
    "{",
    "\x00\x1b[2J",
    "x" * 100_000,
    "[" * 100_000,
    '{"a":' * 50_000,
    "\ud800",
    "\n" * 500,
]


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "docker"
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize("output", [*STRANGE, '{"ServerErrors": {"a": 1}}', '{"ServerErrors": [7, "broken"]}'])
@pytest.mark.parametrize("status", [0, 1, -9])
def test_a_container_engine_that_prints_anything_is_refused_with_a_sentence(output: str, status: int) -> None:
    try:
        info = parse_info("docker", status, output)
    except EngineInstallError as error:
        sentence = error.sentence
    else:
        assert status == 0
        sentence = str(sorted(info))
    assert 0 < len(sentence) < 1000


@pytest.mark.parametrize("runtimes", [None, 7, "nvidia", ["nvidia"], [], {"nvidia": 1}])
def test_runtimes_of_any_form_are_read(runtimes: object) -> None:
    try:
        options = parse_gpu_access("docker", {"Runtimes": runtimes}, ())
    except EngineInstallError:
        options = ()
    assert bool(options) == (runtimes == {"nvidia": 1})


@pytest.mark.parametrize("output", STRANGE)
def test_an_image_that_is_described_strangely_is_an_error_or_has_no_digests(output: str) -> None:
    with pytest.raises(EngineInstallError) as caught:
        parse_inspected(output) if output not in ("null", "7") else parse_inspected("")
    assert len(caught.value.sentence) < 1000
    assert parse_inspected(f"sha256:1 {output.splitlines()[0] if output.strip() else ''}")[0] == "sha256:1"


def test_an_images_names_are_read() -> None:
    assert parse_inspected('warning\nsha256:1 ["a@sha256:2"]\n') == ("sha256:1", ("a@sha256:2",))
    assert parse_inspected("sha256:1 null") == ("sha256:1", ())


@pytest.mark.parametrize("output", [*STRANGE, '["0.32.0"]', "[1, 2]", '["0.32.0", "/nowhere"]'])
def test_an_interpreter_that_prints_anything_has_no_vllm(output: str) -> None:
    assert parse_vllm(output) is None


@given(st.text(max_size=300))
@fewer_examples(2)
def test_any_line_of_a_pull_or_an_installation_is_a_step_or_none(line: str) -> None:
    for error in (explain_pull("image", (line, line)), explain_failure((line, line))):
        assert isinstance(error, VedetteError)
        assert 0 < len(error.sentence) < 1000
    parse_layer(line)
    parse_step(line)


@pytest.mark.parametrize("line", ["Downloading " + "a-1" * 700, "Copying blob " + "0" * 2000, "Collecting " * 180])
def test_a_line_of_the_longest_length_is_read_at_once(line: str) -> None:
    began = time.monotonic()
    parse_layer(line)
    parse_step(line)
    assert time.monotonic() - began < 1


async def test_a_command_that_prints_without_end_is_ended(tmp_path: Path) -> None:
    program = script(tmp_path, "import sys\nwhile True: sys.stdout.write('x' * 65536)")
    status, output = await ContainerEngine(program).run("info")
    assert status != 0
    assert len(output) <= 4 * 1024**2


@pytest.mark.parametrize(
    "text",
    [
        "import sys\nwhile True: sys.stdout.write('x' * 65536)",
        "import time; time.sleep(60)",
        "print('many')",
        "print('-1')",
    ],
)
def test_a_recorded_container_that_is_described_strangely_has_no_processes(tmp_path: Path, text: str) -> None:
    record_container(tmp_path, script(tmp_path, text), "vedette-1")
    began = time.monotonic()
    assert container_processes(tmp_path) == []
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("record", ["", "7", "[]", '["a"]', '{"a": 1}', "[1, 2]", "\xff", json.dumps(["a", "b", "c"])])
def test_a_record_of_any_form_names_no_container(tmp_path: Path, record: str) -> None:
    (tmp_path / "container.json").write_bytes(record.encode("latin-1"))
    assert container_processes(tmp_path) == []

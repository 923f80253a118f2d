"""The command line as a person meets it: real processes, one clear sentence, the right exit code, nothing left."""

import json
import re
import resource
import socket
import subprocess
from pathlib import Path

import pytest

from tests.rig.processes import free_port, run_vedette

pytestmark = pytest.mark.processes


def assert_refused(result: "subprocess.CompletedProcess[str]", says: str) -> None:
    assert result.returncode == 1, result
    assert says in result.stderr
    assert "→" in result.stderr, "no next step"
    assert "Traceback" not in result.stderr + result.stdout


@pytest.mark.parametrize("command", ["up", "plan", "status", "swap", "logs", "down", "device"])
def test_every_command_has_help_with_an_example(tmp_path: Path, command: str) -> None:
    result = run_vedette(tmp_path, command, "--help")
    assert result.returncode == 0
    assert "Example" in result.stdout


def test_an_unknown_model_is_refused_with_the_nearest(tmp_path: Path) -> None:
    result = run_vedette(tmp_path, "up", "vedette-tinny", "--port", str(free_port()))
    assert_refused(result, "vedette-tinny")
    assert "vedette-tiny" in result.stderr
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "exit_code"),
    [(("--for", "party"), 1), (("--context", "abc"), 1), (("--nosuch",), 2), (("--diff", "a"), 2), (("--json=1",), 2)],
)
def test_a_wrong_command_line_is_also_told_as_json(tmp_path: Path, wrong: tuple[str, ...], exit_code: int) -> None:
    result = run_vedette(tmp_path, "plan", "--json", *wrong)
    assert result.returncode == exit_code
    error = json.loads(result.stdout)
    assert error["event"] == "error"
    assert error["sentence"]
    assert error["hint"]
    assert result.stderr == ""
    shown = run_vedette(tmp_path, "plan", *wrong)
    assert shown.returncode == exit_code
    assert shown.stdout == ""
    assert shown.stderr.splitlines() == [f"✗ {error['sentence']}", f"  → {error['hint']}"]


@pytest.mark.parametrize(
    ("arguments", "as_json"),
    [
        (("--json", "bogus"), True),
        (("bogus", "--json"), True),
        (("plan", "--nope", "--json"), True),
        (("up", "--json", "--port", "x"), True),
        (("up", "--port", "--json"), False),  # here it is the port
        (("plan", "--explain", "--json"), False),
        (("plan", "--", "--json"), False),
    ],
)
def test_the_command_line_decides_the_form_of_errors_as_click_reads_it(
    tmp_path: Path, arguments: tuple[str, ...], as_json: bool
) -> None:
    result = run_vedette(tmp_path, *arguments)
    assert result.returncode in (1, 2)
    assert (result.stdout.startswith('{"event": "error"'), result.stderr == "") == (as_json, as_json)


def test_pictures_for_a_text_model_are_said_not_to_be_and_text_is_planned(tmp_path: Path) -> None:
    asked = ("plan", "ernie-4.5-0.3b", "--images", "2", "--device", "orin-nano-8gb")
    result = run_vedette(tmp_path, *asked)
    assert (result.returncode, result.stderr) == (1, ""), "it fits, but does not do what was asked for"
    assert "takes no pictures: text alone is planned." in result.stdout
    assert "--port 8000" in result.stdout
    wish = json.loads(run_vedette(tmp_path, *asked, "--json").stdout)["wish"]
    assert wish["met"] is False
    assert wish["ignored_messages"][0]["code"] == "deploy.pictures_ignored"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--device", ""), "no device named ''"),
        (("",), "model is '': not a text"),
        (("vedette-tiny", "--images", "64"), "no more than 4,096"),
        (("./model.gguf",), "GGUF"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(tmp_path: Path, asked: tuple[str, ...], says: str) -> None:
    assert_refused(run_vedette(tmp_path, "plan", *asked), says)


def test_an_error_as_json_is_one_object(tmp_path: Path) -> None:
    result = run_vedette(tmp_path, "plan", "no-such-model", "--json")
    assert result.returncode == 1
    error = json.loads(result.stdout)
    assert (error["event"], error["code"]) == ("error", "model_not_found")


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(run_vedette(tmp_path / "home", "plan", str(tmp_path / "empty")), "config.json")
    assert_refused(run_vedette(tmp_path / "home", "plan", str(tmp_path / "missing")), "missing")


def test_a_taken_port_is_refused_with_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_vedette(tmp_path, "up", "--port", str(port))
    assert_refused(result, f"Port {port} is taken")
    assert f"--port {port + 1}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("up", "--host", "203.0.113.7", "--https"), "203.0.113.7 is not an address of this machine"),
        (("up", "--port", "70000"), "not a number from"),
        (("plan", "--device", "orin-nanno-8gb"), "orin-nano-8gb"),
        (("plan", "--context", "-5"), "not a number from"),
        (("plan", "--images", "-1"), "not a number from"),
        (("plan", "--prompt-tokens", "0"), "not a number from"),
        (("plan", "--picture", "640"), "not a picture size"),
        (("plan", "--picture", "0x480"), "not a picture size"),
        (("plan", "--picture", "640x999999"), "not a picture size"),
        (("plan", "vedette-tiny", "--picture", "1x1"), "too small"),
        (("plan", "vedette-tiny", "--context", "9000000"), "positions"),
        (("plan", "--explain", "max-modl-len"), "--max-model-len"),
        (("plan", "vedette-tiny", "--diff", "orin-nanno-8gb", "orin-nx-8gb"), "Did you mean orin-nano-8gb?"),
        (("plan", "vedette-tiny", "--device", "orin-nx-8gb", "--try"), "only be tried on this machine"),
        (("plan", "vedette-tiny", "--diff", "missing.json", "orin-nx-8gb"), "missing.json"),
        (("plan", "vedette-tiny", "--diff", "x" * 300, "orin-nx-8gb"), "neither a device, nor a model"),
        (("down",), "not running"),
        (("logs",), "no log yet"),
    ],
)
def test_mistakes_are_said_in_one_sentence(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    assert_refused(run_vedette(tmp_path, *arguments), says)


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(run_vedette(tmp_path / "file" / "home", "device"), "VEDETTE_HOME")


def test_a_wrong_configuration_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("prot = 1\n")
    assert_refused(run_vedette(tmp_path, "plan"), "prot")


def test_status_of_nothing_says_so_and_exits_with_three(tmp_path: Path) -> None:
    result = run_vedette(tmp_path, "status", "--json")
    assert result.returncode == 3
    assert json.loads(result.stdout)["state"] == "stopped"


def test_device_tells_what_it_knows_and_what_not(tmp_path: Path) -> None:
    facts = json.loads(run_vedette(tmp_path, "device", "--json").stdout)
    assert facts["memory_total_bytes"] >= facts["memory_available_bytes"] > 0
    assert facts["assumed"] is False
    assert facts["page_cache_bytes"] >= 0
    assert facts["swap_total_bytes"] >= facts["swap_free_bytes"] >= 0
    assert isinstance(facts["page_cache_counts_as_used"], bool)
    assert all(set(each) == {"name", "pid", "resident_bytes", "run_by"} for each in facts["other_processes"])
    shown = run_vedette(tmp_path, "device").stdout
    assert "unknown" in shown
    assert re.search(r"^  other processes +(none|\S.* \(\d+\) \S+ [GM]iB)$", shown, re.MULTILINE)


def test_a_plan_for_a_board_is_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    arguments = ("plan", "vedette-tiny", "--device", "orin-nano-8gb", "--json")
    plans = [json.loads(run_vedette(tmp_path, *arguments).stdout) for _ in range(2)]
    assert plans[0] == plans[1]
    assert plans[0]["fits"]
    assert plans[0]["device"]["assumed"]
    assert plans[0]["memory"]["total_bytes"] <= plans[0]["memory"]["available_bytes"]
    assert all(reason["why"] and reason["basis"] for reason in plans[0]["reasons"])


def test_wishes_of_a_plan_are_planned_for(tmp_path: Path) -> None:
    wishes = (
        "--for",
        "live",
        "--picture",
        "320x240",
        "--images",
        "1",
        "--prompt-tokens",
        "90",
        "--answer-tokens",
        "70",
    )
    result = run_vedette(tmp_path, "plan", "vedette-tiny", "--device", "orin-nano-8gb", *wishes, "--json")
    context = json.loads(result.stdout)["context"]
    assert context["image_max_pixels"] == 320 * 240
    assert (context["images_per_request"], context["prompt_tokens"], context["answer_tokens"]) == (1, 90, 70)
    by_environment = run_vedette(
        tmp_path,
        "plan",
        "vedette-tiny",
        "--json",
        environment={"VEDETTE_PICTURE": "320x240", "VEDETTE_WORKLOAD": "live"},
    )
    assert json.loads(by_environment.stdout)["context"]["image_max_pixels"] == 320 * 240


def test_the_story_of_a_flag_also_as_json(tmp_path: Path) -> None:
    asked = ("plan", "vedette-tiny", "--device", "orin-nano-8gb", "--explain", "max_model_len")
    story = json.loads(run_vedette(tmp_path, *asked, "--json").stdout)
    assert (story["flag"], story["given"]) == ("--max-model-len", True)
    text = run_vedette(tmp_path, *asked).stdout
    assert text.startswith(f"--max-model-len {story['value']}\n")
    assert "\x1b" not in text


def test_two_devices_and_a_saved_plan_can_be_compared(tmp_path: Path) -> None:
    saved = run_vedette(tmp_path, "plan", "vedette-tiny", "--device", "orin-nx-8gb", "--json")
    (tmp_path / "saved.json").write_text(saved.stdout)
    sides = (str(tmp_path / "saved.json"), "orin-nx-16gb")
    found = json.loads(run_vedette(tmp_path, "plan", "vedette-tiny", "--diff", *sides, "--json").stdout)
    changed = {each["name"]: each["difference"] for each in found["differences"]}
    assert changed["memory.available_bytes"] == (15388 - 7620) * 1024**2
    text = run_vedette(
        tmp_path, "plan", "--device", "orin-nx-16gb", "--diff", "vedette-tiny", "Qwen2-7B-Instruct"
    ).stdout
    assert "weights" in text


def test_several_models_are_planned_side_by_side(tmp_path: Path) -> None:
    models = ("cosmos-reason2-2b", "ernie-4.5-0.3b")
    result = run_vedette(tmp_path, "plan", *models, "--device", "agx-orin-64gb", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 0
    assert [plan["model"] for plan in found["together"]] == ["nvidia/Cosmos-Reason2-2B", "baidu/ERNIE-4.5-0.3B-PT"]
    assert found["in_turns"] == []
    total = sum(plan["memory"]["total_bytes"] for plan in found["together"])
    assert total + found["reserve_bytes"] <= found["device"]["memory_available_bytes"]
    turns = run_vedette(tmp_path, "plan", "cosmos-reason2-2b", "Qwen2-7B-Instruct", "--device", "orin-nx-16gb")
    assert turns.returncode == 1
    assert "Turns" in turns.stdout


def test_what_does_not_fit_is_said_with_what_is_missing(tmp_path: Path) -> None:
    result = run_vedette(tmp_path, "plan", "Qwen2-7B-Instruct", "--device", "orin-nano-8gb", "--json")
    plan = json.loads(result.stdout)
    assert result.returncode == 1
    assert not plan["fits"]
    assert plan["shortfall_bytes"] == plan["memory"]["total_bytes"] - plan["memory"]["available_bytes"] > 0


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    assert "There are no keys" in run_vedette(tmp_path, "keys", "list").stdout
    made = run_vedette(tmp_path, "keys", "add", "anna", "--role", "admin")
    key, advice = made.stdout.splitlines()
    assert key.startswith("vedette-")
    assert "not shown again" in advice
    listed = run_vedette(tmp_path, "keys", "list", "--json")
    assert key not in listed.stdout
    assert [(each["name"], each["role"]) for each in json.loads(listed.stdout)] == [("anna", "admin")]
    again = run_vedette(tmp_path, "keys", "add", "anna")
    assert again.returncode == 1
    assert "vedette keys revoke anna" in again.stderr
    assert run_vedette(tmp_path, "keys", "revoke", "anna").returncode == 0
    assert run_vedette(tmp_path, "keys", "revoke", "anna").returncode == 1
    assert run_vedette(tmp_path, "open").returncode == 1


def test_the_last_lines_of_a_log_also_as_json(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "engine.log").write_text("one\ntwo\nthree\n")
    assert run_vedette(tmp_path, "logs", "-n", "2").stdout == "two\nthree\n"
    lines = run_vedette(tmp_path, "logs", "-n", "1", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"line": "three"}]


def test_a_log_is_shown_as_text_and_not_obeyed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    line = "a\x1b]52;c;eA==\x07 \x9b2J \u202egpj.exe caf\u00e9"
    (tmp_path / "run" / "engine.log").write_text(line + "\n", encoding="utf-8")
    shown = r"a\x1b]52;c;eA==\x07 \x9b2J \u202egpj.exe café"
    assert run_vedette(tmp_path, "logs").stdout == shown + "\n"
    as_json = run_vedette(tmp_path, "logs", "--json").stdout
    assert json.loads(as_json) == {"line": line}
    assert not set("\x1b\x07\x9b\u202e") & set(as_json)


def test_a_long_log_is_not_read_into_memory(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "engine.log").open("w") as log:
        log.truncate(400 * 1024**2)
        log.seek(0, 2)
        log.write("\nlast\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert run_vedette(tmp_path, "logs", "-n", "1").stdout == "last\n"
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before < 100 * 1024  # KiB


@pytest.mark.parametrize("wrong", ["a\x1b[2J", "a\nforged", "\u202egpj"])
def test_what_was_typed_is_repeated_as_text(tmp_path: Path, wrong: str) -> None:
    for arguments in (("plan", wrong), (wrong,), ("plan", "--" + wrong), ("logs", "-n", wrong)):
        output = run_vedette(tmp_path, *arguments).stderr
        assert "✗" in output
        assert wrong not in output


def test_a_detached_start_gets_the_settings_and_ends_as_its_child_does(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_vedette(tmp_path, "up", "--detach", "vedette-tiny", "--port", str(port), "--no-allow-swap")
    assert result.returncode == 1
    assert f"✗ Port {port} is taken" in result.stdout
    log = (tmp_path / "run" / "server.log").read_text()
    assert json.loads(log)["code"] == "port_in_use"


def test_settings_are_listed_with_their_values_and_origins(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('port = 9000\npicture = "640x480"\n')
    found = json.loads(run_vedette(tmp_path, "settings", "--json", environment={"VEDETTE_HOST": "::1"}).stdout)
    rows = {row["name"]: row for row in found["settings"]}
    assert found["config_path"] == str(tmp_path / "config.toml")
    assert (rows["port"]["value"], rows["port"]["origin"]) == (9000, str(tmp_path / "config.toml"))
    assert (rows["host"]["value"], rows["host"]["origin"]) == ("::1", "environment")
    assert (rows["wait_s"]["value"], rows["wait_s"]["origin"], rows["wait_s"]["option"]) == (60, "default", "--wait")
    shown = run_vedette(tmp_path, "settings", environment={"VEDETTE_HOST": "::1"}).stdout
    assert re.search(r"^picture +640x480 +\S+config\.toml$", shown, re.MULTILINE)
    assert re.search(r"^host +::1 +VEDETTE_HOST$", shown, re.MULTILINE)


def test_a_directory_that_is_named_like_an_option_is_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "--trust-remote-code").mkdir()
    monkeypatch.chdir(tmp_path)
    for words in (("plan", "--"), ("up", "--detach", "--port", str(free_port()), "--")):
        result = run_vedette(tmp_path / "home", *words, "--trust-remote-code")
        assert result.returncode == 1
        assert "has a name that cannot be a model's" in result.stderr + result.stdout

"""Settings: layers, origins, and errors in one sentence with the next step."""

import os
from pathlib import Path

import pytest

from vedette.errors import ConfigError
from vedette.settings.home import read_home
from vedette.settings.load import join_layers, parse_environment, parse_file, read_language, read_settings

FILE = Path("config.toml")


def test_later_layers_win_and_say_where_a_value_comes_from(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('port = 9001\nhost = "0.0.0.0"\nanswer_tokens = 64\n')
    environment = {"VEDETTE_CONFIG": str(tmp_path / "config.toml"), "VEDETTE_PORT": "9002", "HOME": str(tmp_path)}
    settings = read_settings({"port": 9003, "host": None, "model": None}, environment)
    assert (settings.port, settings.origins["port"]) == (9003, "command line")
    assert (settings.host, settings.origins["host"]) == ("0.0.0.0", str(tmp_path / "config.toml"))
    assert (settings.model, settings.origins["model"]) == (None, "default")
    assert read_settings({}, environment).port == 9002


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = read_settings({}, {"HOME": str(tmp_path)})
    assert (settings.host, settings.port) == ("127.0.0.1", 8090)


def test_the_same_value_may_come_from_each_layer(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('allow_swap = true\npicture = "640x480"\nbeside = "a, b"\nwait_s = 0\n')
    by_file = read_settings({}, {"VEDETTE_CONFIG": str(tmp_path / "config.toml")})
    texts = {"allow_swap": "true", "picture": "640x480", "beside": "a b", "wait_s": "0"}
    by_environment = join_layers(
        {"environment": parse_environment({f"VEDETTE_{name.upper()}": text for name, text in texts.items()})}
    )
    by_flags = read_settings(texts | {"allow_swap": True}, {"HOME": str(tmp_path)})
    for settings in (by_file, by_environment, by_flags):
        assert (settings.allow_swap, settings.picture, settings.beside, settings.wait_s) == (
            True,
            (640, 480),
            ("a", "b"),
            0,
        )


@pytest.mark.parametrize(
    ("text", "named"),
    [("prot = 1", "prot"), ('port = "x"', "port"), ("port = [", "TOML"), ("port = 1.5", "port")],
)
def test_a_mistake_in_the_file_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_file(text, FILE)


def test_the_environment_is_checked_too() -> None:
    assert parse_environment({"VEDETTE_CONCURRENCY": "2", "VEDETTE_HOME": "/x"}) == {"concurrency": 2}
    assert parse_environment({"VEDETTE_PORT": ""}) == {}
    with pytest.raises(ConfigError, match=r"^port is 'many': not a number from 1 to 65535\. Correct .*VEDETTE_PORT\.$"):
        parse_environment({"VEDETTE_PORT": "many"})


@pytest.mark.parametrize(("written", "size"), [("640x480", (640, 480)), (" 1 × 65535 ", (1, 65535)), ("8X8", (8, 8))])
def test_a_picture_has_a_width_and_a_height(written: str, size: tuple[int, int]) -> None:
    assert parse_environment({"VEDETTE_PICTURE": written}) == {"picture": size}


@pytest.mark.parametrize("written", ["640", "640x", "x", "0x1", "-1x5", "1.5x2", "65536x1", "9" * 40 + "x1", "vga"])
def test_what_is_no_size_of_a_picture_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match="640x480"):
        parse_environment({"VEDETTE_PICTURE": written})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('context = "big"', r"context is 'big': not a number from 64 to 10000000\. Correct it in settings\.toml\."),
        ('port = "9000"', "port is '9000': not a number"),
        ("images = true", "images is true: not a number from 0 to 64"),
        ("picture = 640", "picture is 640: .*640x480"),
        ("model = 3", "model is 3: not a text such as 'vedette-tiny'"),
        ('model = ""', "model is '': not a text such as 'vedette-tiny'"),
        ('allow_swap = "true"', "allow_swap is 'true': not true or false"),
        ('workload = "dance"', "workload is 'dance': not one of live, clip, chat, api"),
        ("contxt = 5", "no setting 'contxt' .*Did you mean context"),
        ("zzz = 5", "no setting 'zzz' .*`vedette settings`"),
    ],
)
def test_a_setting_of_the_wrong_kind_says_which_kind_it_is(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_file(text, Path("settings.toml"))


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match=f"port is {port}: not a number from 1 to 65535"):
        parse_file(f"port = {port}", FILE)
    with pytest.raises(ConfigError, match="Correct --port on the command line"):
        read_settings({"port": port}, {"VEDETTE_CONFIG": "missing.toml"})


def test_the_language_is_that_of_the_first_layer_that_names_one_and_mistakes_do_not_prevent_it(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('lang = "zh"\n')
    environment = {"VEDETTE_CONFIG": str(config), "LANG": "C"}
    assert read_language(None, environment) == "zh"
    assert read_language(None, {**environment, "VEDETTE_LANG": "en"}) == "en"
    assert read_language("zh", {**environment, "VEDETTE_LANG": "en"}) == "zh"
    config.write_text("lang = [")
    assert read_language(None, environment) == "en"
    assert read_language(None, {**environment, "LANG": "zh_CN.UTF-8"}) == "zh"


def test_home_follows_the_variable_else_the_xdg_directories(tmp_path: Path) -> None:
    home = read_home({"VEDETTE_HOME": str(tmp_path / "v")})
    assert home.engines == tmp_path / "v" / "engines"
    home = read_home({"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "d")})
    assert home.models == tmp_path / "d" / "vedette" / "models"
    assert home.state == tmp_path / ".local/state/vedette"
    assert home.state.stat().st_mode & 0o077 == 0


def test_a_home_that_cannot_be_made_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="VEDETTE_HOME"):
        read_home({"VEDETTE_HOME": str(tmp_path / "file" / "inside")})


@pytest.mark.parametrize("odd", ["fifo", "device", "endless", "deep"])
def test_a_file_that_never_ends_or_answers_is_not_waited_for(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "config.toml"
    if odd == "fifo":
        os.mkfifo(path)
    elif odd == "device":
        path.symlink_to("/dev/zero")
    elif odd == "endless":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.write_text("port = " + "[" * 100_000)
    with pytest.raises(ConfigError, match=r"config\.toml"):
        read_settings({}, {"VEDETTE_CONFIG": str(path)})
    assert read_language(None, {"VEDETTE_CONFIG": str(path), "LANG": "zh_CN.UTF-8"}) == "zh"

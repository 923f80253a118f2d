"""The table of settings: every row is complete, and what is written is read back."""

from dataclasses import fields

import pytest

from vedette.language.message import hint_of, say
from vedette.settings.load import read_settings
from vedette.settings.table import SETTINGS, Setting, Settings, command_arguments, named_models, settings_of

EXAMPLES = {
    "model": "vedette-tiny",
    "beside": "a, b",
    "workload": "live",
    "picture": "640x480",
    "images": "2",
    "audio": "1",
    "trust_remote_code": "true",
    "context": "2048",
    "prompt_tokens": "100",
    "answer_tokens": "99",
    "concurrency": "3",
    "port": "9000",
    "host": "0.0.0.0",
    "engine": "container",
    "allow_swap": "true",
    "require_key": "true",
    "requests_per_minute": "600",
    "tokens_per_minute": "100000",
    "requests_at_once": "32",
    "https": "true",
    "tls_cert": "/etc/ssl/jetson.pem",
    "tls_key": "/etc/ssl/jetson.key",
    "insecure": "true",
    "allowed_hosts": "jetson.lan, host.docker.internal",
    "allowed_origins": "https://app.lan, http://localhost:3000",
    "allow_smaller": "false",
    "wait_s": "5",
    "standby": "off",
    "log_mib": "16",
    "image": "name:tag",
    "torch_index": "http://127.0.0.1/",
    "lang": "zh",
}


def test_every_field_of_the_settings_is_a_row() -> None:
    assert [*SETTINGS, "origins"] == [each.name for each in fields(Settings)]
    assert set(EXAMPLES) == set(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_a_value_that_is_written_is_read_back(setting: Setting) -> None:
    value = setting.kind.parse(EXAMPLES[setting.name], is_text=True)
    assert setting.kind.parse(setting.kind.write(value), is_text=True) == value
    if setting.default is not None and setting.default != ():
        assert setting.kind.parse(setting.kind.write(setting.default), is_text=True) == setting.default
    unreadable: tuple[object, ...] = (None, 1.5, [], {})
    for raw in unreadable:
        with pytest.raises(ValueError):  # noqa: PT011 - its text is never shown
            setting.kind.parse(raw, is_text=False)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_a_setting_is_explained_in_both_languages(setting: Setting) -> None:
    for message in (setting.help, setting.kind.wanted):
        assert say(message)
        assert say(message, "zh") != say(message)
        assert hint_of(message) is None
    assert say(setting.help).endswith(".")
    assert say(setting.help, "zh").endswith("。")


def test_no_two_settings_share_an_option() -> None:
    options = [each.option for each in SETTINGS.values() if each.option]
    assert len(options) == len(set(options))
    assert {each.name for each in settings_of("plan")} < {each.name for each in settings_of("up")}
    assert settings_of("up") == settings_of("service install")


def test_the_words_of_a_command_line_give_the_settings_that_they_came_from() -> None:
    flags = {**named_models(["one", "two", "three"]), "port": "9000", "workload": "live", "host": None, "wait_s": 3}
    assert command_arguments({**flags, "allow_swap": True, "allow_smaller": False}) == [
        "one", "two", "three", "--port", "9000", "--for", "live", "--wait", "3", "--allow-swap", "--no-allow-smaller",
    ]  # fmt: skip
    assert command_arguments(named_models([])) == []
    assert command_arguments({"model": "--insecure", "port": "9000"}) == ["--port", "9000", "--", "--insecure"]
    assert read_settings(flags, {"VEDETTE_CONFIG": "missing.toml"}).beside == ("two", "three")


def test_trust_in_a_models_code_does_not_pass_to_another_model() -> None:
    trusting = Settings(model="./mine", trust_remote_code=True, context=4096)
    other = trusting.for_another_model("./yours")
    assert (other.model, other.trust_remote_code, other.context) == ("./yours", False, 4096)

import pytest

from vedette.errors import ConfigError
from vedette.instance.exposure import exposure_notes, exposure_of, is_loopback_host, network_addresses
from vedette.language.message import say
from vedette.serve.access.principal import Role
from vedette.settings.table import Settings

EVERY = "0.0.0.0"


@pytest.mark.parametrize(
    ("settings", "local", "https", "role"),
    [
        (Settings(), True, False, Role.USE),
        (Settings(host="::1"), True, False, Role.USE),
        (Settings(host="localhost", require_key=True), True, False, Role.NOBODY),
        (Settings(https=True), True, True, Role.USE),
        (Settings(host=EVERY, https=True), False, True, Role.NOBODY),
        (Settings(host=EVERY, tls_cert="/c.pem", tls_key="/c.key"), False, True, Role.NOBODY),
        (Settings(host=EVERY, https=True, insecure=True), False, True, Role.NOBODY),
        (Settings(host=EVERY, insecure=True), False, False, Role.USE),
        (Settings(host=EVERY, insecure=True, require_key=True), False, False, Role.NOBODY),
    ],
)
def test_who_reaches_it_and_what_they_may(settings: Settings, local: bool, https: bool, role: Role) -> None:
    found = exposure_of(settings)
    assert (found.is_local, found.uses_https, found.open_role) == (local, https, role)


@pytest.mark.parametrize("host", [EVERY, "::", "192.168.7.3", "10.0.0.1"])
def test_a_network_is_not_let_in_without_a_word(host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        exposure_of(Settings(host=host))
    assert f"vedette up --host {host} --https" in refused.value.hint
    assert f"vedette up --host {host} --insecure" in refused.value.hint
    with pytest.raises(ConfigError):
        exposure_of(Settings(host=host, require_key=True))  # the key would travel in the clear


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ConfigError, match="without its key"):
        exposure_of(Settings(tls_cert="/c.pem"))


@pytest.mark.parametrize(
    ("host", "here"), [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), (EVERY, False)]
)
def test_only_loopback_is_local(host: str, here: bool) -> None:
    assert is_loopback_host(host) is here


def test_the_addresses_are_those_that_others_can_use() -> None:
    assert list(network_addresses("192.168.7.3")) == ["192.168.7.3"]
    assert list(network_addresses("fd00::1")) == ["[fd00::1]"]
    assert "127.0.0.1" not in network_addresses(EVERY)


def test_a_start_says_what_others_may() -> None:
    def noted(**settings: object) -> str:
        chosen = Settings(host="10.1.2.3", **settings)  # type: ignore[arg-type]
        (note,) = exposure_notes(exposure_of(chosen), "10.1.2.3", 8090)
        return say(note.message)

    assert "https://10.1.2.3:8090. They may do nothing without a key" in noted(https=True)
    assert "without a key. Nothing is encrypted" in noted(insecure=True)
    assert "with a key. Nothing is encrypted" in noted(insecure=True, require_key=True)
    assert exposure_notes(exposure_of(Settings()), "127.0.0.1", 8090) == []

import socket

import pytest

from vedette.errors import PortInUseError
from vedette.instance.listener import listen, page_url


def test_a_free_port_is_listened_on() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_taken_port_is_refused_with_another_one() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"Port {port} is taken .* --port {port + 1}"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.7", "a" * 70, "no such host"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(PortInUseError, match=r"is not an address of this machine.*127\.0\.0\.1"):
        listen(host, 0)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("box.local", "http://box.local:80"),
    ],
)
def test_the_page_is_where_a_browser_on_this_machine_finds_it(host: str, url: str) -> None:
    assert page_url(host, 80) == url

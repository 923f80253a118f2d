"""Progress and failures of pulls, as Docker and Podman print them."""

import pytest

from vedette.engine.hosts.image_pull import explain_pull, parse_layer


def test_the_progress_of_a_pull_is_read() -> None:
    assert parse_layer("0123456789ab: Pulling fs layer") == ("0123456789ab", False)
    assert parse_layer("0123456789ab: Already exists") == ("0123456789ab", True)
    assert parse_layer("Copying blob sha256:" + "0123456789ab" * 5 + "0123") == ("0123456789ab", False)
    assert parse_layer("Copying blob 0123456789ab done") == ("0123456789ab", True)
    assert parse_layer("Status: Downloaded newer image") is None


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ("write /var/lib/x: no space left on device", "disk is full"),
        ("manifest for x not found: manifest unknown", "refuses access"),
        ("dial tcp: lookup nvcr.io: no such host", "is not reachable"),
        ("something else", "something else"),
    ],
)
def test_a_failed_pull_is_explained(last: str, says: str) -> None:
    assert says in explain_pull("image", ("start", last)).sentence

import pytest

from vedette.serve.access.redaction import without_places


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("No such file: /home/anna/models/x.", "No such file: …/x."),
        ("'/srv/models/a b/config.json' is damaged", "'…/a b/config.json' is damaged"),
        ("~/models/x", "…/x"),
        ("file:///etc/passwd", "…/passwd"),
        ("mounts /srv/models:/home/anna/models, PATH=/opt/a/b:/opt/c/d", "mounts …/models:…/models, PATH=…/b:…/d"),
        ("FileNotFoundError:/home/anna/x", "FileNotFoundError:…/x"),
        ("~anna/models/x", "…/x"),
        ("org/second is served", "org/second is served"),
        ("http://127.0.0.1:8090/", "http://127.0.0.1:8090/"),
        ("see /v1/models and /api/models", "see /v1/models and /api/models"),
        ("ghcr.io/a/b:tag", "ghcr.io/a/b:tag"),
        ("3/7 shards, 5 tokens/s", "3/7 shards, 5 tokens/s"),
    ],
)
def test_directories_are_taken_out_and_names_stay(text: str, shown: str) -> None:
    assert without_places(text) == shown
    assert without_places({"a": [text, 1, None]}) == {"a": [shown, 1, None]}

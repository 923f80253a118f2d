"""`vedette up ngc:…` from an empty home to an answer, against a local server that speaks as NVIDIA's catalogue does."""

import json
import subprocess
import urllib.request
from pathlib import Path

from tests.rig.model_servers import NGC_PATH, Fault, Library, serving
from tests.rig.processes import Vedette, run_vedette, vedette_running
from vedette.models.store.model_lookup import packaged_path

KEY = "nvapi-only-for-the-catalogue"
NAME = f"ngc:{NGC_PATH}"


def test_a_model_of_nvidias_catalogue_is_planned_fetched_and_served(own_home: Path, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in packaged_path("vedette-tiny").iterdir()}
    library = Library(files, keys=frozenset({KEY}))
    cuts = [Fault(cut_after=size) for size in (5_000_001, 1, 9_999_999)]
    with serving(library) as server:
        environment = {
            "NGC_CLI_API_URL": server.url,
            "NGC_CLI_AUTH_URL": server.url,
            "NGC_CLI_HOME": str(tmp_path),
            "NO_PROXY": "127.0.0.1",
        }
        refused = run_vedette(own_home, "plan", NAME, environment=environment)
        assert refused.returncode == 1
        assert "https://org.ngc.nvidia.com/setup/api-keys" in refused.stderr

        keys = own_home / "keys"
        keys.mkdir(mode=0o700)
        (keys / "ngc").write_text(f"{KEY}\n")
        (keys / "ngc").chmod(0o600)
        planned = run_vedette(own_home, "plan", NAME, "--json", environment=environment)
        assert planned.returncode == 0, planned.stderr
        assert json.loads(planned.stdout)["model"] == NAME
        assert sum(each.end - each.begin for each in library.sent) < 2_000_000, "the weights stay there"

        library.sent.clear()
        library.fault = lambda name, _begin: cuts.pop(0) if name == "model.safetensors" and cuts else None
        with vedette_running(own_home, NAME, environment=environment) as running:
            running.wait_until_ready()
            assert ask(running) != ""
            lines = json.dumps(running.events) + processes_text()
        assert KEY not in lines
        assert KEY not in (own_home / "run" / "engine.log").read_text()
        assert library.sent_twice() < 500_000, "what the plan has read before the download, and nothing else"
    assert not cuts
    verified = run_vedette(own_home, "verify", NAME, "--json")
    assert verified.returncode == 0, verified.stdout
    again = run_vedette(own_home, "plan", NAME, "--json")
    assert json.loads(again.stdout)["memory"]["weights_bytes"] == json.loads(planned.stdout)["memory"]["weights_bytes"]
    assert run_vedette(own_home, "rm", NAME).returncode == 0
    assert not list((own_home / "models").glob("[!.]*"))


def ask(running: Vedette) -> str:
    request = urllib.request.Request(
        f"{running.url}/v1/chat/completions",
        data=json.dumps({"model": NAME, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(json.load(response)["choices"][0]["message"]["content"])


def processes_text() -> str:
    return subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout

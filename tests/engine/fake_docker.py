"""A stand-in for Docker's command line: a real process that speaks its protocol and runs the stand-in for vLLM.

Its containers and images are files in the directory FAKE_DOCKER names; `modes` there holds words for fake_engine.py.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ.get("FAKE_DOCKER", "/nowhere"))
ENGINE = Path(__file__).with_name("fake_engine.py")
LAYERS = ("0123456789ab", "123456789abc", "23456789abcd")


def main() -> int:
    words = sys.argv[1:]
    with (ROOT / "said").open("a") as said:
        said.write(json.dumps(words) + "\n")
    if words[0] == "info":
        print(json.dumps({"Runtimes": {"runc": {}, "nvidia": {}}}))
        return 0
    if words[:2] == ["image", "inspect"]:
        if not (ROOT / "image").exists():
            print("Error: No such image", file=sys.stderr)
            return 1
        print("sha256:" + "5e" * 32)
        return 0
    if words[0] == "pull":
        return pull()
    if words[0] == "run":
        return run(words[1:])
    name = words[-1]
    pid = read_pid(name)
    if words[0] in ("stop", "kill"):
        if pid is None:
            return 1
        end(pid, float(words[2]) if words[0] == "stop" else 0)
        return 0
    if words[0] == "rm":
        if pid is not None:
            end(pid, 0)
        (ROOT / name).unlink(missing_ok=True)
        return 0
    return 125


def pull() -> int:
    if (ROOT / "offline").exists():
        print("Error response from daemon: dial tcp: lookup ghcr.io: no such host")
        return 1
    for layer in LAYERS:
        print(f"{layer}: Pulling fs layer", flush=True)
    for layer in LAYERS:
        print(f"{layer}: Pull complete", flush=True)
    (ROOT / "image").touch()
    return 0


def run(words: list[str]) -> int:
    if words[-1] == "--version":
        print("INFO 11-22 [__init__.py:1] Automatically detected platform cuda.\n0.19.1")
        return 0
    if words[-1] == "--help=all":
        print((ROOT / "help").read_text())
        return 0
    name = words[words.index("--name") + 1]
    if (ROOT / name).exists():
        print(f'docker: Conflict. The container name "/{name}" is already in use', file=sys.stderr)
        return 125
    modes = (ROOT / "modes").read_text().split()
    port = words[words.index("--port") + 1]
    # As a container's, its process is no child of this one's session and does not run where this one does.
    container = subprocess.Popen([sys.executable, str(ENGINE), port, *modes], cwd="/", start_new_session=True)
    (ROOT / name).write_text(str(container.pid))
    signal.signal(signal.SIGTERM, lambda *_: container.send_signal(signal.SIGTERM))
    status = container.wait()
    (ROOT / name).unlink(missing_ok=True)
    return status if status >= 0 else 128 - status


def read_pid(name: str) -> int | None:
    try:
        return int((ROOT / name).read_text())
    except (OSError, ValueError):
        return None


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end(pid: int, grace_s: float) -> None:
    began = time.monotonic()
    if grace_s:
        os.kill(pid, signal.SIGTERM)
    while alive(pid) and time.monotonic() < began + grace_s:
        time.sleep(0.05)
    if alive(pid):
        os.kill(pid, signal.SIGKILL)
        while alive(pid):
            time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())

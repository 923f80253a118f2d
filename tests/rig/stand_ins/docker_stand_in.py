"""A stand-in for Docker's command line: a real process that speaks its protocol and runs the stand-in for vLLM.

Its containers and images are files in the directory FAKE_DOCKER names: `published` and `tagged` hold the digest that
every tag stands for at the registry and here, `modes` holds words for engine_stand_in.py. If it is there, `broken`
holds what an image prints before it fails, and `version` what it prints as its version.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ.get("FAKE_DOCKER", "/nowhere"))
ENGINE = Path(__file__).with_name("engine_stand_in.py")
HELP = Path(__file__).with_name("vllm_help.txt")
FIRST, SECOND = "sha256:" + "5e" * 32, "sha256:" + "6f" * 32
"""Digests of two images."""
LAYERS = ("0123456789ab", "123456789abc", "23456789abcd")


def install_docker(root: Path, programs: Path) -> None:
    """Put the stand-in into a directory of programs as `docker`, with an empty store of images under `root`."""
    root.mkdir()
    programs.mkdir()
    (root / "modes").write_text("")
    (root / "help").write_text(HELP.read_text(encoding="utf-8"))
    (root / "published").write_text(FIRST)
    program = programs / "docker"
    program.write_text(f'#!/bin/sh\nFAKE_DOCKER="{root}" exec "{sys.executable}" "{__file__}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def words_of(root: Path) -> list[list[str]]:
    """The words of each command that the stand-in has been given."""
    return [json.loads(line) for line in (root / "said").read_text().splitlines()]


def main() -> int:
    words = sys.argv[1:]
    with (ROOT / "said").open("a") as said:
        said.write(json.dumps(words) + "\n")
    if words[0] == "info":
        print(json.dumps({"Runtimes": {"runc": {}, "nvidia": {}}}))
        return 0
    if words[:2] == ["image", "inspect"]:
        return inspect_image(words[-1])
    if words[0] == "pull":
        return pull(words[-1])
    if words[0] == "run":
        return run(words[1:])
    name = words[-1]
    pid = read_pid(name)
    if words[:2] == ["container", "inspect"]:
        print(pid or 0)
        return 0 if pid else 1
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


def inspect_image(name: str) -> int:
    repository, _, digest = name.partition("@")
    known = [path.name for path in ROOT.glob("sha256:*")]
    digest = digest or read(ROOT / "tagged")
    if digest not in known:
        print("Error: No such image", file=sys.stderr)
        return 1
    repository = repository.rpartition(":")[0] or repository
    print(digest.replace("sha256:", "sha256:1d"), json.dumps([f"{repository}@{digest}"]))
    return 0


def pull(name: str) -> int:
    if (ROOT / "offline").exists():
        print("Error response from daemon: dial tcp: lookup ghcr.io: no such host")
        return 1
    for layer in LAYERS:
        print(f"{layer}: Pulling fs layer", flush=True)
    for layer in LAYERS:
        print(f"{layer}: Pull complete", flush=True)
    digest = name.partition("@")[2]
    if not digest:
        digest = read(ROOT / "published")
        (ROOT / "tagged").write_text(digest)
    (ROOT / digest).touch()
    return 0


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def run(words: list[str]) -> int:
    if (ROOT / "broken").exists():
        print(read(ROOT / "broken"))
        return 1
    if words[-1] == "--version" and (ROOT / "version").exists():
        print(read(ROOT / "version"))
        return 0
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
    place = words[words.index("--workdir") + 1]
    (mount,) = (word for word in words if word.endswith(f",target={place}"))
    path = mount.removeprefix("type=bind,source=").removesuffix(f",target={place}") + "/engine.sock"
    # As a container's, its process is no child of this one's session and does not run where this one does.
    container = subprocess.Popen([sys.executable, str(ENGINE), path, *modes], cwd="/", start_new_session=True)
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

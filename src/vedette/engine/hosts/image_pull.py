"""Reads the output of `docker pull` and `podman pull`: their progress, and the reason of a failure. Pure."""

import re

from vedette.errors import EngineInstallError
from vedette.outputs import last_line


def parse_layer(line: str) -> tuple[str, bool] | None:
    """A layer's name and whether the layer is complete, from a line that is printed without a terminal."""
    docker = re.fullmatch(r"([0-9a-f]{12}): (.+)", line)
    if docker:
        return docker[1], docker[2] in ("Pull complete", "Already exists")
    podman = re.match(r"Copying blob (?:sha256:)?([0-9a-f]{12})[0-9a-f]*\s*(.*)", line)
    if podman:
        return podman[1], podman[2].startswith(("done", "skipped"))
    return None


def explain_pull(image: str, output: tuple[str, ...]) -> EngineInstallError:
    """The error for a failed pull; output: its last lines."""
    printed = "\n".join(output)
    text = printed.lower()
    if "no space left" in text:
        return EngineInstallError("engine.image_disk_full", image=image)
    if any(sign in text for sign in ("manifest unknown", "not found", "denied", "unauthorized")):
        return EngineInstallError("engine.image_refused", image=image)
    if any(sign in text for sign in ("no such host", "dial tcp", "timeout", "unreachable", "refused")):
        return EngineInstallError("engine.image_unreachable", image=image)
    last = last_line(printed)
    if last is None:
        return EngineInstallError("engine.image_pull_failed_silently", image=image)
    return EngineInstallError("engine.image_pull_failed", image=image, error=last)

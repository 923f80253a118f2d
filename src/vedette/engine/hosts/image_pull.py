"""Reads the output of `docker pull` and `podman pull`: their progress, and why they failed. Pure."""

import re

from vedette.errors import EngineInstallError


def parse_layer(line: str) -> tuple[str, bool] | None:
    """A layer's name and whether it is here, from a line of `docker pull` or `podman pull` without a terminal."""
    docker = re.fullmatch(r"([0-9a-f]{12}): (.+)", line)
    if docker:
        return docker[1], docker[2] in ("Pull complete", "Already exists")
    podman = re.match(r"Copying blob (?:sha256:)?([0-9a-f]{12})[0-9a-f]*\s*(.*)", line)
    if podman:
        return podman[1], podman[2].startswith(("done", "skipped"))
    return None


def explain_pull(reference: str, output: tuple[str, ...]) -> EngineInstallError:
    """The error that the last lines of a failed pull stand for."""
    text = "\n".join(output).lower()
    if "no space left" in text:
        why, hint = "the disk is full", "Free some space where images are kept, then start again."
    elif any(sign in text for sign in ("manifest unknown", "not found", "denied", "unauthorized")):
        why, hint = (
            "its registry does not give it out",
            "Log in to its registry, or name another image (VEDETTE_IMAGE).",
        )
    elif any(sign in text for sign in ("no such host", "dial tcp", "timeout", "unreachable", "refused")):
        why, hint = (
            "its registry cannot be reached",
            "Connect to the internet, or load it from a file, then start again.",
        )
    else:
        why, hint = output[-1] if output else "nothing was said", "Mend what it names, then start again."
    return EngineInstallError(f"The image {reference} could not be fetched: {why}.", hint)

"""Reads the output of pip: its progress, and the reason of a failure. Pure."""

import re

from vedette.errors import DiskFullError, EngineInstallError
from vedette.language.message import Message
from vedette.outputs import last_line

_UNREACHABLE = (
    "from versions: none",  # pip's last line when no index answers; warnings may precede it
    "NewConnectionError",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "ProxyError",
    "ConnectTimeoutError",
)


def parse_step(line: str) -> Message | None:
    """The step that a line of pip's output reports; None for any other line."""
    collecting = re.match(r"\s*Collecting ([A-Za-z0-9_.-]+)", line)
    if collecting:
        return Message("engine.pip_resolving", package=collecting[1])
    downloading = re.match(r"\s*Downloading (\S+?)-\d\S* \(([^)]+)\)", line)
    if downloading:
        return Message("engine.pip_downloading", package=downloading[1].rpartition("/")[2], amount=downloading[2])
    installing = re.match(r"Installing collected packages: (.+)", line)
    if installing:
        return Message("engine.pip_unpacking", packages=installing[1].count(",") + 1)
    return None


def explain_failure(output: tuple[str, ...]) -> EngineInstallError | DiskFullError:
    """The error for a failed step of an installation; output: its last lines."""
    text = "\n".join(output)
    if "No space left on device" in text:
        return DiskFullError("engine.install_disk_full")
    if "Failed to infer device type" in text:
        return EngineInstallError("engine.install_without_gpu")
    missing = re.search(r"No matching distribution found for (\S+)", text)
    package = missing and missing[1]
    if any(sign in text for sign in _UNREACHABLE):
        if package is None:
            return EngineInstallError("engine.install_offline")
        return EngineInstallError("engine.install_package_unreachable", package=package)
    if package is not None:
        return EngineInstallError("engine.install_package_missing", package=package)
    last = last_line(text)
    if last is None:
        return EngineInstallError("engine.install_failed_silently")
    return EngineInstallError("engine.install_failed", error=last)

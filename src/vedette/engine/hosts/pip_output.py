"""Reads the output of pip: its progress, and why it failed. Pure."""

import re

from vedette.errors import DiskFullError, EngineInstallError

_UNREACHABLE = (
    "from versions: none",  # how pip ends when no index answers, after the warnings it may have printed
    "NewConnectionError",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "ProxyError",
    "ConnectTimeoutError",
)


def parse_step(line: str) -> str | None:
    """What a line of pip's output says about its progress, in a person's words."""
    collecting = re.match(r"\s*Collecting ([A-Za-z0-9_.-]+)", line)
    if collecting:
        return f"resolving {collecting[1]}"
    downloading = re.match(r"\s*Downloading (\S+?)-\d\S* \(([^)]+)\)", line)
    if downloading:
        return f"downloading {downloading[1].rpartition('/')[2]} ({downloading[2]})"
    installing = re.match(r"Installing collected packages: (.+)", line)
    if installing:
        return f"unpacking {installing[1].count(',') + 1} packages"
    return None


def explain_failure(output: tuple[str, ...]) -> EngineInstallError | DiskFullError:
    """The error that pip's last lines stand for."""
    text = "\n".join(output)
    if "No space left on device" in text:
        return DiskFullError(
            "The disk was full before the engine was installed.",
            "Free some space, or set VEDETTE_HOME to a larger disk.",
        )
    if "Failed to infer device type" in text:
        return EngineInstallError(
            "The engine was installed, and finds no GPU here that it can use.",
            "See that `nvidia-smi` shows it, or run the engine in a container (VEDETTE_ENGINE=container).",
        )
    missing = re.search(r"No matching distribution found for (\S+)", text)
    if any(sign in text for sign in _UNREACHABLE):
        what = missing[1] if missing else "it"
        return EngineInstallError(
            f"The engine could not be installed: no package index that can be reached offers {what}.",
            "Connect to the internet, or point pip to a mirror (PIP_INDEX_URL) or to wheels on disk (PIP_FIND_LINKS).",
        )
    if missing:
        return EngineInstallError(
            f"The engine could not be installed: no index offers {missing[1]}.",
            "For torch, set VEDETTE_TORCH_INDEX to a mirror of PyTorch's CPU wheels; else set PIP_INDEX_URL.",
        )
    last = next((line.strip() for line in reversed(output) if line.strip()), "it said nothing")
    return EngineInstallError(f"The engine could not be installed: {last}", "Mend what it names, then start again.")

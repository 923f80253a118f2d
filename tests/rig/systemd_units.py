"""Units as the real systemd reads them."""

import os
import subprocess
from pathlib import Path


def complaints(text: str, system: bool, directory: Path) -> list[str]:
    """The lines that `systemd-analyze verify` says about a unit."""
    unit = directory / "vedette.service"
    unit.write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "--system" if system else "--user", "verify", "--man=no", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(directory / "run"), "HOME": str(directory)},
        capture_output=True,
        text=True,
    )
    lines = (result.stdout + result.stderr).splitlines()
    assert "Failed to initialize manager" not in lines, lines
    return [line for line in lines if "vedette" in line]

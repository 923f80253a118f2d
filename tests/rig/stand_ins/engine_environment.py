"""An environment with something in the place of vLLM, for hosts that run one."""

import shlex
import sys
from pathlib import Path

ENGINE_STAND_IN = Path(__file__).with_name("engine_stand_in.py")


def make_environment(root: Path, version: str | None, main: str) -> Path:
    """Make a directory whose bin/python imports a package `vllm` with this `main`, and return the directory.

    Without a version, the package has no metadata.
    """
    site = root / "site"
    package = site / "vllm" / "entrypoints" / "cli"
    package.mkdir(parents=True)
    for directory in (package, package.parent, package.parent.parent):
        (directory / "__init__.py").touch()
    (package / "main.py").write_text(main)
    if version is not None:
        (site / f"vllm-{version}.dist-info").mkdir()
        (site / f"vllm-{version}.dist-info" / "METADATA").write_text(f"Name: vllm\nVersion: {version}\n")
    python = root / "bin" / "python"
    python.parent.mkdir()
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(site))} exec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8"
    )
    python.chmod(0o755)
    return root

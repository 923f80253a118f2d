"""Runs the page's modules in Node, so that tests see what a browser would compute."""

import json
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import vedette

STATIC = Path(vedette.__file__).parent / "serve" / "static"


def run_in_node(script: str, data: object = None) -> Any:
    """What `script` returns: the body of an async function that gets `data` and imports from `./static/…`."""
    node = shutil.which("node")
    assert node, "node is missing; the page's modules are tested in it (on Debian and Ubuntu: sudo apt install nodejs)"
    with TemporaryDirectory() as name:
        directory = Path(name)
        shutil.copytree(STATIC, directory / "static")
        (directory / "package.json").write_text('{"type": "module"}')
        (directory / "data.json").write_text(json.dumps(data), encoding="utf-8")
        main = (
            'import { readFileSync } from "node:fs";\n'
            'const data = JSON.parse(readFileSync("data.json", "utf-8"));\n'
            f"const run = async () => {{\n{script}\n}};\n"
            "console.log(JSON.stringify(await run()));\n"
        )
        (directory / "main.js").write_text(main, encoding="utf-8")
        done = subprocess.run([node, "main.js"], cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

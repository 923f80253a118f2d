"""Runs schemathesis on vedette's OpenAPI document, against a vedette that is attached to a stand-in for an engine.

    python -m venv DIR && DIR/bin/pip install schemathesis==4.32.5
    python -m bench.product.abuse.schema_check --schemathesis DIR/bin/schemathesis --scratch DIR --examples 500

Exits with schemathesis' status: 0 if no answer breaks the document. About a minute.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from bench.product.abuse.connections import stand_in
from tests.rig.processes import vedette_running

_NOT_CHECKED = ",".join(
    (
        "positive_data_acceptance",  # the schema does not say that a model must be served, or a socket be asked for
        "allow_header_conformance",  # an address of /v1 also has the methods that the engine may have there
    )
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemathesis", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True, help="a directory for vedette's home")
    parser.add_argument("--examples", type=int, default=200)
    options = parser.parse_args()
    home = options.scratch / "schema"
    home.mkdir(parents=True, exist_ok=True)
    with stand_in() as (address, _), vedette_running(home, "--engine", address) as vedette:
        vedette.wait_until_ready()
        command = (
            *(str(options.schemathesis), "run", f"{vedette.url}/openapi.json", "--url", vedette.url),
            *("--checks", "all", "--exclude-checks", _NOT_CHECKED),
            *("--max-examples", str(options.examples), "--workers", "1", "--seed", "1"),
        )
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        status = subprocess.run(command, check=False, cwd=home, env=environment).returncode
    sys.exit(status)


if __name__ == "__main__":
    main()

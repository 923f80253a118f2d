#!/bin/sh
# Writes the pinned requirements anew from pyproject.toml: `requirements/lock.sh` (needs `uv`).
# The lists are complete and are installed with --no-deps. hf-xet (12 MB) is left out: it is the hub's fast protocol,
# which vedette switches off, since it cannot resume at any byte.
set -eu
cd "$(dirname "$0")/.."
lock() {
  uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate --no-emit-package hf-xet \
    --custom-compile-command requirements/lock.sh pyproject.toml "$@"
}
lock -o requirements/vedette.txt
lock --extra dev --extra films -o requirements/dev.txt
lock --extra examples -o requirements/examples.txt

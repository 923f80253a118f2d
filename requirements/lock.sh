#!/bin/sh
# Writes the pinned requirements anew from pyproject.toml: `requirements/lock.sh` (needs `uv`).
set -eu
cd "$(dirname "$0")/.."
lock() {
  uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate \
    --custom-compile-command requirements/lock.sh pyproject.toml "$@"
}
lock -o requirements/vedette.txt
lock --extra dev -o requirements/dev.txt
lock --extra examples -o requirements/examples.txt

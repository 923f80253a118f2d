#!/usr/bin/env bash
# Runs a bench of faults on a GPU host without internet: vedette from this checkout, its dependencies from a folder of
# wheels, the engine that bench/lab/gpu.sh has unpacked there. From the repository's root:
#
#   bench/product/faults/gpu.sh WHEELS kills --scratch /tmp/kills --out "$OUT" --kills 100 --parallel 8 --seconds 560
set -euo pipefail
wheels=$1 bench=$2
shift 2
engine=/tmp/vllm/engine site=/tmp/vedette-site

bench/lab/gpu.sh unpack
[ -d $site ] || python3 -m pip install -q --no-index --no-deps --no-compile --target $site "$wheels"/*.whl
mkdir -p $engine/bin
cat > $engine/bin/python <<PYTHON
#!/bin/sh
export PYTHONPATH=/tmp/vllm/package:/tmp/vllm/site VLLM_USE_FLASHINFER_SAMPLER=0 VLLM_USE_DEEP_GEMM=0
export GLOO_SOCKET_IFNAME=lo
exec $(command -v python3) "\$@"
PYTHON
chmod +x $engine/bin/python
export PYTHONPATH=$PWD/src:$site PYTHONUNBUFFERED=1
exec python3 -m "bench.product.faults.$bench" --engine $engine "$@"

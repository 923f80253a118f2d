#!/usr/bin/env bash
# Sets vLLM 0.26 up on a GPU host without internet that has Python 3.12, torch 2.11 and transformers 5.17, from an
# archive of wheels and of the vllm package (folders `wheels` and `package`) that travels in pieces. From the
# repository's root there:
#
#   bench/lab/gpu.sh keep FOLDER…    keeps the pieces found in these folders under /tmp/pieces (several calls)
#   bench/lab/gpu.sh unpack          joins the pieces, unpacks the archive and its wheels: under half a minute
#   bench/lab/gpu.sh run COMMAND…    runs a command with vLLM and vedette importable, for instance
#                                     bench/lab/gpu.sh run python3 -m bench.lab.probe "$OUT" --seconds 400
set -euo pipefail
root=/tmp/vllm

keep() {
  mkdir -p /tmp/pieces
  find "$@" -type f -name 'piece*' -exec cp -n {} /tmp/pieces/ \;
  du -sm /tmp/pieces
}

unpack() {
  [ -e $root/ready ] && return
  mkdir -p $root/site
  cat /tmp/pieces/piece* | xz -dc -T0 | tar x -C $root
  python3 - $root <<'PY'
import glob, os, shutil, sys, zipfile
from concurrent.futures import ProcessPoolExecutor

root = sys.argv[1]


def unpack(wheel):
    zipfile.ZipFile(wheel).extractall(root + "/site")


if __name__ == "__main__":
    with ProcessPoolExecutor(16) as pool:
        list(pool.map(unpack, glob.glob(root + "/wheels/*.whl")))
    for folder in glob.glob(root + "/site/*.data/*lib"):  # what pip would have moved out of NAME.data/purelib
        shutil.copytree(folder, root + "/site", dirs_exist_ok=True)
PY
  touch $root/ready
}

run() {
  unpack
  export PYTHONPATH=$PWD/src:$PWD:$root/package:$root/site PYTHONUNBUFFERED=1
  export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_USE_FLASHINFER_SAMPLER=0 VLLM_USE_DEEP_GEMM=0
  export VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 VLLM_HOST_IP=127.0.0.1 GLOO_SOCKET_IFNAME=lo
  exec "$@"
}

"$@"

# Sourced by ./vedette and ./check: makes .venv from pinned requirements with hashes.

# The first Python that vedette runs on and that can make environments.
find_python() {
  for name in python3 python3.11 python3.12 python3.13 python3.10; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "vedette needs Python 3.10 to 3.13 with its venv module, and none was found." >&2
  echo "Install one (on Debian and Ubuntu: sudo apt install python3-venv), then run this again." >&2
  exit 1
}

# make_environment ROOT NAME: .venv holds requirements/NAME.txt (dev includes vedette).
make_environment() {
  venv=$1/.venv
  wanted=$(cat "$1/requirements/$2.txt" "$1/requirements/environment.sh" | cksum)
  for kind in "$2" dev; do
    if [ "$(cat "$venv/made-for-$kind" 2>/dev/null)" = "$(cat "$1/requirements/$kind.txt" "$1/requirements/environment.sh" | cksum)" ]; then
      return
    fi
  done
  python=$(find_python) || exit 1
  echo "Making vedette's environment in $venv (about 15 seconds) …" >&2
  "$python" -m venv --clear "$venv"
  if ! "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --require-hashes \
    -r "$1/requirements/$2.txt" 2>"$venv/pip.log"; then
    grep -v WARNING "$venv/pip.log" | tail -n 3 >&2
    echo "vedette's packages could not be installed; is a package index reachable (PIP_INDEX_URL)? Then run this again." >&2
    exit 1
  fi
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$1/src" > "$site/vedette.pth"
  echo "$wanted" > "$venv/made-for-$2"
}

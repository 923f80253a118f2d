# Sourced by ./vedette and ./check: makes environments from pinned requirements with hashes.

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

# install_packages PYTHON ARGUMENT…: pip install, silent unless it fails.
install_packages() {
  pip_python=$1
  shift
  pip_output=$("$pip_python" -m pip --disable-pip-version-check install --quiet "$@" 2>&1) && return
  printf '%s\n' "$pip_output" | grep -v WARNING | tail -n 3 >&2
  echo "Packages could not be installed with $pip_python; is a package index reachable (PIP_INDEX_URL)?" >&2
  echo "Then run this again." >&2
  return 1
}

# make_environment ROOT NAME VENV: VENV holds requirements/NAME.txt, and vedette from ROOT/src.
make_environment() {
  wanted=$(cat "$1/requirements/$2.txt" "$1/requirements/environment.sh" | cksum)
  if [ "$(cat "$3/made-for" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  python=$(find_python) || exit 1
  echo "Making the environment $3 (about 15 seconds) …" >&2
  "$python" -m venv --clear "$3" || exit 1
  install_packages "$3/bin/python" --no-deps --require-hashes -r "$1/requirements/$2.txt" || exit 1
  site=$("$3/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$1/src" > "$site/vedette.pth"
  echo "$wanted" > "$3/made-for"
}

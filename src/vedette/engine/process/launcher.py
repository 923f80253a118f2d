"""Runs in the engine's own Python, and then becomes the engine: `launcher.py PARENT_PID PROGRAM ARGUMENT…`.

It asks the kernel to end the engine when vedette ends for any reason, and to kill the engine before vedette when memory
runs out. It imports nothing of vedette, which is not installed there.
"""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_OOM_SCORE_ADJ = 500
"""The kernel counts this as half of the machine's memory. Desktops and services have 0 to 300, so that the kernel kills
the engine before vedette, which can start it again."""


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # vedette ended before the kernel was asked
        sys.exit(1)
    _raise_oom_score()
    os.umask(0o077)  # its socket and its files are this user's alone
    os.execv(program[0], program)  # noqa: S606 - no shell is the point


def _raise_oom_score() -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as score:  # noqa: PTH123 - starts sooner
        if int(score.read()) < _OOM_SCORE_ADJ:
            score.seek(0)
            score.write(str(_OOM_SCORE_ADJ))


if __name__ == "__main__":
    main()

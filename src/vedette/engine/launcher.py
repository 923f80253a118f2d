"""Started by the engine's own Python in front of the engine: `launcher.py PARENT_PID PROGRAM ARGUMENT…`.

Asks the kernel to end the engine when vedette dies, however it dies, and then becomes the engine.
Knows nothing of vedette: it runs where vedette is not installed.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # vedette died before the kernel was asked
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()

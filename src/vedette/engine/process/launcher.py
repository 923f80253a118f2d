"""Started by the engine's own Python in front of the engine: `launcher.py PARENT_PID PROGRAM ARGUMENT…`.

Asks the kernel to end the engine when vedette dies, however it dies, and to take it first where memory runs out; then
becomes the engine. Knows nothing of vedette: it runs where vedette is not installed.
"""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_OOM_SCORE_ADJ = 500
"""Half of the machine's memory, in the kernel's count: above a desktop's or a service's 0 to 300, so that the engine is
killed before whoever can start it again."""


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # vedette died before the kernel was asked
        sys.exit(1)
    _offer_to_the_kernel()
    os.execv(program[0], program)  # noqa: S606 - no shell is the point


def _offer_to_the_kernel() -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as score:  # noqa: PTH123 - starts sooner
        if int(score.read()) < _OOM_SCORE_ADJ:
            score.seek(0)
            score.write(str(_OOM_SCORE_ADJ))


if __name__ == "__main__":
    main()

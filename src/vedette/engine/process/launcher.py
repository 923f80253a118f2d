"""Runs in the engine's own Python, and becomes the engine: `launcher.py PARENT LIFELINE GRACE_S PROGRAM ARGUMENT…`.

It asks the kernel to end the engine when vedette ends for any reason, and to kill the engine before vedette when memory
runs out. It imports nothing of vedette, which is not installed there.

PARENT: vedette's process id. LIFELINE: a descriptor, the reading end of a pipe whose other end only vedette holds.
GRACE_S: how long the engine may take to end after vedette, in seconds.
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
_KILL_LATER = """
trap '[ -e "/proc/$2/exe" ] && exit' TERM  # the engine has ended, and vedette has not
echo && exec >/dev/null
read -r _
trap '' TERM
sleep "$1"
kill -KILL 0
"""
"""Ends with the engine. But once the lifeline has ended, it waits for the grace period and kills its process group,
which is the engine's: the server may end in time and leave a core that does not."""


def main() -> None:
    parent, lifeline, grace_s, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    _end_with(parent, signal.SIGTERM)
    _kill_group_after(parent, lifeline, grace_s)
    _raise_oom_score()
    os.umask(0o077)  # its socket and its files are this user's alone
    os.execv(program[0], program)  # noqa: S606 - no shell is the point


def _end_with(parent: int, by: signal.Signals) -> None:
    """Ask the kernel for a signal to this process at its parent's end."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the kernel was asked
        sys.exit(1)


def _kill_group_after(vedette: int, lifeline: int, grace_s: str) -> None:
    """Start a shell that kills what still runs of the engine `grace_s` seconds after vedette's end.

    vLLM 0.32's server loses a SIGTERM that arrives while it starts its core, and the kernel sends only one. The shell
    works outside the engine's directory, so no one takes it for a part of the engine.
    """
    engine = os.getpid()
    reading, writing = os.pipe()
    if os.fork():
        os.close(lifeline)
        os.close(writing)
        os.read(reading, 1)  # until the shell would survive the engine
        os.close(reading)
        return
    _end_with(engine, signal.SIGTERM)
    os.chdir("/")
    os.dup2(lifeline, 0)
    os.dup2(writing, 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.execv("/bin/sh", ["sh", "-c", _KILL_LATER, "sh", grace_s, str(vedette)])  # noqa: S606


def _raise_oom_score() -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as score:  # noqa: PTH123 - starts sooner
        if int(score.read()) < _OOM_SCORE_ADJ:
            score.seek(0)
            score.write(str(_OOM_SCORE_ADJ))


if __name__ == "__main__":
    main()

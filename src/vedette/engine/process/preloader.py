"""Runs in the engine's own Python: `preloader.py wait|go fork|spawn MODULE…`. Its standard input is a socket.

It imports the modules, and then becomes the program that it receives as an order. With `wait` the order may come much
later: until then it runs at a low priority. With `fork`, the first process that the program starts with
multiprocessing's "spawn" is a fork of this one, which has everything imported and shares its memory. It imports nothing
of vedette, which is not installed there.
"""

import sys

del sys.path[0]  # this file's directory: its modules are not the program's

import contextlib  # noqa: E402
import ctypes  # noqa: E402
import fcntl  # noqa: E402
import gc  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import multiprocessing  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import runpy  # noqa: E402
import shlex  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, NoReturn  # noqa: E402

_PR_SET_PDEATHSIG = 1
_OOM_SCORE_ADJ = 750
"""Above the engine's (launcher.py): when memory runs out, the kernel kills the waiting process first."""
_NICENESS = 10
"""A tenth of another process's share. With less, a standby beside a busy engine would never be ready."""
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IDLE = 3 << 13
"""The I/O class that reads from a disk only when no other process does (linux/ioprio.h)."""
_ASK_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"
_PROXY = Path(__file__).with_name("fork_proxy.py")
_SOCKET = "core.sock"
_HIGH = 900
"""Descriptors from here on do not collide with those of the proxy, which must keep their numbers."""


def main() -> None:
    waits, forks, modules = sys.argv[1] == "wait", sys.argv[2] == "fork", sys.argv[3:]
    if forks:
        _load_libraries_first()
    channel = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    score = _set_oom_score(str(_OOM_SCORE_ADJ)) if waits else None
    _import_all(modules, at_low_priority=waits)
    usable = _forks_can_use_gpu()
    if waits:
        if not usable:
            sys.exit(1)
        channel.sendall(b"!")
    with channel, channel.makefile(encoding="utf-8") as lines:
        order = json.loads(lines.readline() or "null")
        if order is not None and waits:
            channel.sendall(b"!")
    if order is None:  # the standby is not needed any more
        return
    if score is not None:
        _set_oom_score(score)
    os.chdir(order["workplace"])
    if not usable:
        os.execv(sys.executable, [sys.executable, *order["arguments"]])  # noqa: S606
    if forks and threading.active_count() == 1:
        _fork_in_advance()
    _become(order["arguments"])


def _import_all(modules: "list[str]", at_low_priority: bool) -> None:
    """Import the modules without garbage collection, which saves a quarter of the time."""
    os.environ[_ASK_NVML] = "1"  # torch would initialize CUDA to find a GPU
    gc.disable()
    if at_low_priority:
        # In a thread, which has its own priority: without privileges a process could not raise its priority again.
        thread = threading.Thread(target=_import_at_low_priority, args=(modules,))
        thread.start()
        thread.join()
    else:
        _import(modules)
    gc.enable()
    gc.collect()
    gc.freeze()
    del os.environ[_ASK_NVML]


def _import_at_low_priority(modules: "list[str]") -> None:
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _IDLE)
    _import(modules)


def _import(modules: "list[str]") -> None:
    for name in modules:
        with contextlib.suppress(Exception):  # a version may lack a module; the program reports real errors
            importlib.import_module(name)


def _forks_can_use_gpu() -> bool:
    """Whether no import has initialized CUDA: after that a fork, such as the engine's core, could not use it."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return True
    child = os.fork()
    if not child:
        os._exit(bool(torch.cuda._is_in_bad_fork()))
    return os.waitpid(child, 0)[1] == 0


def _set_oom_score(value: str) -> "str | None":
    """Set the kernel's preference for killing this process when memory runs out; return the value before."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as score:  # noqa: PTH123
        before = score.read()
        score.seek(0)
        score.write(value)
        return before
    return None


def _become(arguments: "list[str]") -> None:
    """Run `SCRIPT ARGUMENT…` or `-m MODULE ARGUMENT…` like the interpreter."""
    if arguments[0] == "-m":
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(arguments[0]))  # noqa: PTH120
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


# The fork for the first process that the program spawns


def _load_libraries_first() -> None:
    """Start this script again with the libraries preloaded that vLLM preloads for its core on a CPU (platforms/cpu.py).

    With a second OpenMP library beside torch's, all threads would run on one processor.
    """
    before = os.environ.get("LD_PRELOAD", "")
    wanted = []
    for package, name, patterns in (
        ("vllm", "tcmalloc", ("libs/libtcmalloc_minimal*.so*", "libs/libtcmalloc.so*")),
        ("torch", "omp", ("../torch.libs/libgomp*.so*", "lib/libgomp*.so*")),
    ):
        spec = importlib.util.find_spec(package)
        places = (spec.submodule_search_locations if spec else None) or ()
        found = [path for place in places for pattern in patterns for path in sorted(Path(place).glob(pattern))]
        if found and name not in before:
            wanted.append(str(found[0].resolve()))
    if wanted:
        os.environ["LD_PRELOAD"] = ":".join([*wanted, *([before] if before else [])])
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606


def _fork_in_advance() -> None:
    """Fork a process for the first one that the program spawns; fork_proxy.py, started instead, passes the work on."""
    Path(_SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(_SOCKET)
    listener.listen(1)
    program = Path("core")
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", "-S", str(_PROXY)])} "$@"\n')
    program.chmod(0o700)
    parent = os.getpid()
    if os.fork():
        listener.close()
        multiprocessing.set_executable(str(program.absolute()))
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == parent:
        _work_for_proxy(listener)
    os._exit(1)


def _work_for_proxy(listener: socket.socket) -> NoReturn:
    accepted, _ = listener.accept()
    listener.close()
    Path(_SOCKET).unlink()
    channel = socket.socket(fileno=fcntl.fcntl(accepted.fileno(), fcntl.F_DUPFD_CLOEXEC, _HIGH))
    accepted.close()
    size, descriptors, _, _ = socket.recv_fds(channel, 4, 250)
    with channel.makefile("rb") as message:
        work = json.loads(message.read(int.from_bytes(size, "little")))
    moved = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _HIGH) for number in descriptors]
    for number in descriptors:
        os.close(number)
    for number, wanted in zip(moved, work["descriptors"], strict=True):
        os.dup2(number, wanted)
        os.close(number)
    for name in os.environ.keys() - work["environment"].keys():
        del os.environ[name]
    # Only what has changed: after a change of all variables, setproctitle no longer finds the arguments to overwrite.
    os.environ.update(work["environment"].items() - os.environ.items())
    channel.sendall(os.getpid().to_bytes(4, "little"))
    threading.Thread(target=_end_with_proxy, args=(channel,), daemon=True).start()
    sys.argv = ["-c", *work["arguments"]]
    try:
        exec(work["code"], {"__name__": "__main__"})  # noqa: S102 - the code that multiprocessing gave the interpreter
    except SystemExit as exit_request:
        code = exit_request.code
        channel.sendall(bytes([code & 0xFF if isinstance(code, int) else code is not None]))
        raise
    except BaseException:
        channel.sendall(b"\x01")
        raise
    channel.sendall(b"\x00")
    sys.exit(0)


def _end_with_proxy(channel: socket.socket) -> None:
    """End when the proxy was killed: the program takes its worker for dead."""
    if not channel.recv(1):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()

"""Run by the engine's own Python: `preloader.py wait|go fork|spawn MODULE…`, told on its standard input what to be.

Imports the modules and then is the program that it is told, with little left to import. `wait` means that the order
may come much later: it takes nothing from others meanwhile. With `fork`, the first process that the program starts by
multiprocessing's "spawn" is a fork of this one, which has everything imported and shares its memory. Knows nothing of
vedette: it runs where vedette is not installed.
"""

import sys

del sys.path[0]  # this file's directory, whose names are not the program's

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
"""Above the engine's (launcher.py): where memory runs out, the kernel takes first what only waits."""
_NICENESS = 10
"""A tenth of what another gets; less, and where the engine always computes a standby would never be ready."""
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IDLE = 3 << 13
"""The class of those who read from a disk when nobody else does (linux/ioprio.h)."""
_ASK_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"
_CORE = Path(__file__).with_name("fork_proxy.py")
_SOCKET = "core.sock"
_HIGH = 900
"""Descriptors from here on are not in the way of those that another process has numbered."""


def main() -> None:
    waits, forks, modules = sys.argv[1] == "wait", sys.argv[2] == "fork", sys.argv[3:]
    if forks:
        _load_libraries_first()
    orders = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    score = _exchange_score(str(_OOM_SCORE_ADJ)) if waits else None
    _import_all(modules, aside=waits)
    usable = _forks_can_use_gpu()
    if waits:
        if not usable:
            sys.exit(1)
        orders.sendall(b"!")
    with orders, orders.makefile(encoding="utf-8") as lines:
        order = json.loads(lines.readline() or "null")
        if order is not None and waits:
            orders.sendall(b"!")
    if order is None:  # nobody wants it any more
        return
    if score is not None:
        _exchange_score(score)
    os.chdir(order["workplace"])
    if not usable:
        os.execv(sys.executable, [sys.executable, *order["arguments"]])  # noqa: S606
    if forks and threading.active_count() == 1:
        _fork_ahead()
    _become(order["arguments"])


def _import_all(modules: "list[str]", aside: bool) -> None:
    """Imports, in three quarters of the time since nothing is looked for that could be thrown away; if aside, at a low
    priority."""
    os.environ[_ASK_NVML] = "1"  # whether there is a GPU: torch would ask CUDA itself
    gc.disable()
    if aside:
        # A thread may be nicer than its process, and what a process of no rights once gave up it would not get back.
        importing = threading.Thread(target=_import_aside, args=(modules,))
        importing.start()
        importing.join()
    else:
        _import(modules)
    gc.enable()
    gc.collect()
    gc.freeze()
    del os.environ[_ASK_NVML]


def _import_aside(modules: "list[str]") -> None:
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _IDLE)
    _import(modules)


def _import(modules: "list[str]") -> None:
    for name in modules:
        with contextlib.suppress(Exception):  # another version may lack it; what is really wrong the program will say
            importlib.import_module(name)


def _forks_can_use_gpu() -> bool:
    """Whether nothing that was imported has asked CUDA anything: after that a fork, the engine's core, could not."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return True
    child = os.fork()
    if not child:
        os._exit(bool(torch.cuda._is_in_bad_fork()))
    return os.waitpid(child, 0)[1] == 0


def _exchange_score(value: str) -> "str | None":
    """Sets how readily the kernel ends this process where memory runs out; returns what it was."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as score:  # noqa: PTH123
        before = score.read()
        score.seek(0)
        score.write(value)
        return before
    return None


def _become(arguments: "list[str]") -> None:
    """Runs `SCRIPT ARGUMENT…` or `-m MODULE ARGUMENT…`, as the interpreter would."""
    if arguments[0] == "-m":
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(arguments[0]))  # noqa: PTH120
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


# What the program would spawn


def _load_libraries_first() -> None:
    """Starts anew with the libraries loaded first that vLLM has its core load first on a CPU (platforms/cpu.py): with
    a second OpenMP beside torch's, threads would share one processor."""
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


def _fork_ahead() -> None:
    """Forks a process that waits to be the first one spawned: `fork_proxy.py`, started in its place, tells it so."""
    Path(_SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(_SOCKET)
    listener.listen(1)
    program = Path("core")
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", "-S", str(_CORE)])} "$@"\n')
    program.chmod(0o700)
    parent = os.getpid()
    if os.fork():
        listener.close()
        multiprocessing.set_executable(str(program.absolute()))
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == parent:
        _be_spawned(listener)
    os._exit(1)


def _be_spawned(listener: socket.socket) -> NoReturn:
    accepted, _ = listener.accept()
    listener.close()
    Path(_SOCKET).unlink()
    talk = socket.socket(fileno=fcntl.fcntl(accepted.fileno(), fcntl.F_DUPFD_CLOEXEC, _HIGH))
    accepted.close()
    size, descriptors, _, _ = socket.recv_fds(talk, 4, 250)
    with talk.makefile("rb") as message:
        told = json.loads(message.read(int.from_bytes(size, "little")))
    out_of_the_way = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _HIGH) for number in descriptors]
    for number in descriptors:
        os.close(number)
    for number, wanted in zip(out_of_the_way, told["descriptors"], strict=True):
        os.dup2(number, wanted)
        os.close(number)
    for name in os.environ.keys() - told["environment"].keys():
        del os.environ[name]
    # Only what is new: where all is, the program's arguments are no longer found, which its title is written over.
    os.environ.update(told["environment"].items() - os.environ.items())
    talk.sendall(os.getpid().to_bytes(4, "little"))
    threading.Thread(target=_end_with, args=(talk,), daemon=True).start()
    sys.argv = ["-c", *told["arguments"]]
    try:
        exec(told["code"], {"__name__": "__main__"})  # noqa: S102 - what the interpreter would have been started with
    except SystemExit as ended:
        talk.sendall(bytes([ended.code & 0xFF if isinstance(ended.code, int) else ended.code is not None]))
        raise
    except BaseException:
        talk.sendall(b"\x01")
        raise
    talk.sendall(b"\x00")
    sys.exit(0)


def _end_with(talk: socket.socket) -> None:
    """The process that it stands for has been killed: its parent takes it for dead."""
    if not talk.recv(1):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()

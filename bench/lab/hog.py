"""Takes GPU memory until as much is free as on a smaller board, and tracks the least free memory.

    python -m bench.lab.hog        reads commands, one a line: `leave BYTES`, `watch`, `look`; answers in JSON

Uses the driver directly, without torch: it starts fast and holds only its context besides the memory it takes.
"""

import ctypes
import json
import select
import subprocess
import sys
import time
from typing import Any

PAGE = 2 << 20
LOOK_SECONDS = 0.005


class Hog:
    """Controls the process that holds the memory."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.lab.hog"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        alone = self._ask("look")
        self.total, self.whole = alone["total"], alone["free"]

    def leave(self, free_bytes: int) -> int:
        """Leaves at most `free_bytes` free, to within a page; returns the bytes that are free.

        Frees its own memory first and waits until no other process holds any: an ended engine frees its memory a
        moment later, and that memory would then be free beyond the budget.
        """
        self._ask(f"leave {self.total}")
        self.settle(self.whole)
        return int(self._ask(f"leave {free_bytes}")["free"])

    def watch(self) -> None:
        """Resets the least free memory."""
        self._ask("watch")

    def look(self) -> dict[str, int]:
        """`free` now, the `least` free since `watch`, `total` of the device; bytes."""
        return self._ask("look")

    def settle(self, free_bytes: int, seconds: float = 15) -> int:
        """Waits until an ended engine has freed its memory; returns the free bytes."""
        until = time.monotonic() + seconds
        while (free := self.look()["free"]) < free_bytes - PAGE and time.monotonic() < until:
            time.sleep(0.05)
        return free

    def end(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(10)

    def _ask(self, command: str) -> dict[str, int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the memory holder has ended")
        found: dict[str, int] = json.loads(answer)
        return found


class _Driver:
    """The calls of libcuda that this bench needs; checks every result code."""

    def __init__(self) -> None:
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.held: list[ctypes.c_void_p] = []
        context = ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxSetCurrent", context)

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self.cuda, name)(*arguments)
        if code:
            raise RuntimeError(f"{name}: CUDA error {code}")

    def memory(self) -> tuple[int, int]:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def leave(self, wanted: int) -> None:
        while self.held:
            self.call("cuMemFree_v2", self.held.pop())
        for _ in range(40):
            surplus = self.memory()[0] - wanted
            if surplus <= 0:
                return
            pointer = ctypes.c_void_p()
            size = min(8 << 30, -(-surplus // PAGE) * PAGE)
            self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(size))
            self.held.append(pointer)


def main() -> None:
    driver = _Driver()
    least = driver.memory()[0]
    while True:
        free, total = driver.memory()
        least = min(least, free)
        if not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
            continue
        command = sys.stdin.readline().split()
        if not command:
            return
        if command[0] == "leave":
            driver.leave(int(command[1]))
        free, total = driver.memory()
        if command[0] in ("leave", "watch"):
            least = free
        sys.stdout.write(json.dumps({"free": free, "least": min(least, free), "total": total}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Sizes of memory, and how people read them. Pure."""

import math

MIB = 1024**2
GIB = 1024**3
_SPREAD_BYTES = 4 * MIB
"""Eight starts after as much had been freed as they were said to lack were short of 1 to 3 MiB again."""


def gib(size_bytes: int) -> str:
    """A size as a person reads it; what would be no more than a hundredth of a GiB is told in MiB."""
    if size_bytes >= GIB // 100 or not size_bytes:
        return f"{size_bytes / GIB:.2f} GiB"
    return f"{size_bytes / MIB:.0f} MiB" if size_bytes >= MIB else "less than 1 MiB"


def missing_gib(missing_bytes: int) -> str:
    """Memory to be freed, as a person reads it: rounded up, and with what a process is larger now and then."""
    return f"{math.ceil((missing_bytes + _SPREAD_BYTES) * 100 / GIB) / 100:.2f} GiB"


def signed_gib(difference_bytes: int) -> str:
    """A difference of memory as a person reads it."""
    if abs(difference_bytes) < GIB // 200:
        return "no more memory"
    return f"{gib(abs(difference_bytes))} {'more' if difference_bytes > 0 else 'less'}"

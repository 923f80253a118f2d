"""Sizes and durations, and how people read them. Pure; everything that shows a size shows it through here."""

import math

MIB = 1024**2
GIB = 1024**3
_LEAST_GIB = GIB // 10
"""Smaller sizes are shown in MiB: two decimals of a GiB would round them away."""
_SPREAD_BYTES = 4 * MIB
"""Engines that were given exactly what they were said to lack were short of 1 to 3 MiB again (eight starts)."""


def size(size_bytes: float) -> str:
    """A size as a person reads it: `6.44 GiB`, `50 MiB`, `< 1 MiB`."""
    if size_bytes < 0:
        return f"-{size(-size_bytes)}"
    if size_bytes >= _LEAST_GIB:
        return f"{size_bytes / GIB:.2f} GiB"
    if size_bytes >= MIB or not size_bytes:
        return f"{size_bytes / MIB:.0f} MiB"
    return "< 1 MiB"


def missing_size(missing_bytes: float) -> str:
    """Memory to be freed: rounded up, with a margin for processes that are not always equally large."""
    if missing_bytes + _SPREAD_BYTES < _LEAST_GIB:
        return f"{math.ceil((missing_bytes + _SPREAD_BYTES) / MIB)} MiB"
    return f"{math.ceil((missing_bytes + _SPREAD_BYTES) * 100 / GIB) / 100:.2f} GiB"


def duration(duration_s: float) -> str:
    """A duration as a person reads it: `8.1 s`, `3 min 20 s`, `1 h 5 min`."""
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"

"""Sizes of memory, and how people read them. Pure."""

MIB = 1024**2
GIB = 1024**3


def gib(size_bytes: int) -> str:
    """A size as a person reads it; what would be no more than a hundredth of a GiB is told in MiB."""
    if size_bytes >= GIB // 100 or not size_bytes:
        return f"{size_bytes / GIB:.2f} GiB"
    return f"{size_bytes / MIB:.0f} MiB" if size_bytes >= MIB else "less than 1 MiB"


def signed_gib(difference_bytes: int) -> str:
    """A difference of memory as a person reads it."""
    if abs(difference_bytes) < GIB // 200:
        return "no more memory"
    return f"{gib(abs(difference_bytes))} {'more' if difference_bytes > 0 else 'less'}"

"""Values of reasons, as people read them. Pure."""

from vedette.language.message import Message


def size_value(size_bytes: int) -> Message:
    """Return a size."""
    return Message("plan.value.size", size_bytes=size_bytes)


def count_value(count: int) -> Message:
    """Return a number of tokens, pixels, pictures or requests."""
    return Message("plan.value.count", count=count)


def name_value(name: str) -> Message:
    """Return a name that is the same in every language."""
    return Message("plan.value.name", name=name)

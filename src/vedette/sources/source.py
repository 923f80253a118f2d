"""Where frames come from: what every source offers, and the sources by name.

A source answers one question: what is the newest frame, at this size? Nobody pushes frames, so none waits in a queue
and a slow reader never sees an old one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from vedette.errors import BadInputError


@dataclass(frozen=True)
class Frame:
    """One picture with its time."""

    picture: bytes
    mime: str
    captured: float
    """When it was taken, as `time.monotonic()`, in seconds."""
    truth: str | None = None
    """What the picture really shows, where that is known."""
    from_page: bool = False
    """The page took it, and so need not be sent it."""


class FrameSource(Protocol):
    """One open source."""

    async def newest(self, max_pixels: int, deadline: float) -> Frame | None:
        """The newest frame, of at most `max_pixels`; None if there is none by `deadline`.

        deadline: as `time.monotonic()`, in seconds. Raises VedetteError when the source cannot give usable frames.
        """

    def close(self) -> None:
        """Release what the source holds; a call that still waits gets None."""


Factory = Callable[[], FrameSource]


class Sources:
    """The sources that can be opened, by name. A new kind of source is one more factory."""

    def __init__(self, factories: Mapping[str, Factory]) -> None:
        self._factories = dict(factories)

    def __or__(self, factories: Mapping[str, Factory]) -> "Sources":
        """These sources and further ones, for instance those that only one page has."""
        return Sources({**self._factories, **factories})

    def open(self, name: str) -> FrameSource:
        """A source that the caller closes. Raises BadInputError for an unknown name, VedetteError if it cannot open."""
        if name not in self._factories:
            raise BadInputError("sources.unknown", name=repr(name[:100]), known=tuple(self._factories))
        return self._factories[name]()

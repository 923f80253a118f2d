"""Which request is to blame where an engine ran out of memory while it answered, and that it is not tried again soon.

Admission keeps a request within the plan; this is for what nobody has foreseen. Of the requests in flight, the one that
was also in flight at an earlier death is blamed; else one with pictures, else the largest, else the newest.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from vedette.errors import CostlyRequestError
from vedette.serve.admission.admission import Admitted, media_in

REFUSED_S = 600.0
"""How long a picture or text is refused that an engine ran out of memory with."""
_MOST_REMEMBERED = 64


@dataclass(eq=False)
class InFlight:
    """A request that an engine answers."""

    admitted: Admitted
    began_at: float
    digests: tuple[bytes, ...] = ()
    """Of what it holds; only once its answer broke off."""

    def break_off(self) -> None:
        """Note that the engine ended before its answer."""
        self.digests = _digests(self.admitted)


class Suspects:
    """The requests in flight at each engine, and those that are refused."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_flight: dict[Hashable, list[InFlight]] = {}
        self._blamed: WeakKeyDictionary[Hashable, InFlight] = WeakKeyDictionary()
        """The one request of each engine that is to blame for its end."""
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        """What was in flight at a death, with the time at which that is forgotten."""
        self._refused: OrderedDict[bytes, float] = OrderedDict()
        """What is refused, with the time until which."""

    def refuse(self, admitted: Admitted) -> None:
        """Raises CostlyRequestError for a request that an engine ran out of memory with."""
        for remembered in (self._seen, self._refused):
            for digest in [digest for digest, until in remembered.items() if until <= self._clock()]:
                del remembered[digest]
        if self._refused and not self._refused.keys().isdisjoint(_digests(admitted)):
            raise CostlyRequestError("serve.request_refused_again", wait_s=round(REFUSED_S))

    @contextmanager
    def watch(self, engine: Hashable, admitted: Admitted) -> Iterator[InFlight]:
        """Entered while an engine answers a request, and until it is known why the answer broke off, if it did."""
        one = InFlight(admitted, self._clock())
        requests = self._in_flight.setdefault(engine, [])
        requests.append(one)
        try:
            yield one
        finally:
            requests.remove(one)
            if not requests:
                del self._in_flight[engine]

    def is_to_blame(self, engine: Hashable, one: InFlight) -> bool:
        """Whether this request, of those in flight when the engine ran out of memory, caused it; then it is refused."""
        if engine not in self._blamed:
            self._blamed[engine] = max(self._in_flight[engine], key=self._suspicion)
        blamed = self._blamed[engine] is one
        for digest in one.digests:
            _remember(self._refused if blamed else self._seen, digest, self._clock() + REFUSED_S)
        return blamed

    def _suspicion(self, one: InFlight) -> tuple[bool, bool, int, float]:
        seen_before = not self._seen.keys().isdisjoint(one.digests)
        return seen_before, one.admitted.has_media, len(one.admitted.body or b""), one.began_at


def _remember(table: OrderedDict[bytes, float], digest: bytes, until: float) -> None:
    table[digest] = until
    table.move_to_end(digest)
    while len(table) > _MOST_REMEMBERED:
        table.popitem(last=False)


def _digests(admitted: Admitted) -> tuple[bytes, ...]:
    """Of each picture and clip; of the whole request if it has none."""
    whole = bytes(admitted.body or b"")
    pieces = [url.encode() for url in media_in(whole, admitted.path)] if admitted.has_media else [whole]
    return tuple(hashlib.sha256(piece).digest() for piece in pieces)

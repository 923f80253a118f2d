"""A bounded rate, with bursts."""

import time


class RateLimit:
    """Allows `per_s` uses a second, and up to `at_once` after a pause."""

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._left = at_once
        self._counted_at = time.monotonic()

    def use(self) -> bool:
        """Count one use; whether it is allowed."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._counted_at) * self._per_s, self._at_once) - 1
        self._counted_at = now
        return self._left >= 0

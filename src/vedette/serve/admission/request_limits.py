"""What one request may ask of the engine: the plan's limits, and those that hold for any plan. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from vedette.plan.plan import Context

MOST_DEPTH = 96
"""Objects and lists inside each other: a schema of 64 levels, which vLLM allows, inside a request."""
MOST_VALUES = 1_000_000
"""Values in a request's JSON under any plan; each takes about 100 bytes of memory once it is read."""
MOST_VALUES_UNPLANNED = 200_000
"""The same before there is a plan."""
_VALUES_BESIDE_THE_PROMPT = 50_000
_VALUES_PER_TOKEN = 2
"""A prompt as a list of token ids has one value for each token; a text has fewer commas than that."""
_BYTES_BESIDE_THE_PROMPT = 128 * 1024
"""Schemas, and all other fields."""
_BYTES_PER_TOKEN = 16
"""Of text: a token has about 4, and 12 where every character is escaped."""


@dataclass(frozen=True)
class RequestLimits:
    """What the plan has room for in one request."""

    context: Context

    @property
    def sequences(self) -> int:
        """Answers that are generated at the same time."""
        return max(1, self.context.concurrency)

    @property
    def pictures(self) -> int:
        """In one prompt, earlier messages included."""
        return self.context.images_per_request if self.context.image_max_pixels is not None else 0

    def text_bytes(self, prompts: int) -> int:
        """Of a request with so many prompts, beside its pictures: the engine tokenizes all before it refuses any."""
        return _BYTES_BESIDE_THE_PROMPT + _BYTES_PER_TOKEN * self.context.max_model_len * prompts

    @property
    def values(self) -> int:
        """In the request's JSON."""
        tokens = self.context.max_model_len * self.sequences
        return min(MOST_VALUES, _VALUES_BESIDE_THE_PROMPT + _VALUES_PER_TOKEN * tokens)


def most_values(contexts: Iterable[Context | None]) -> int:
    """The most values in the JSON of a request that may be for any of these plans."""
    return max((RequestLimits(each).values for each in contexts if each), default=MOST_VALUES_UNPLANNED)

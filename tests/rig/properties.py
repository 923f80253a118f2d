"""How many examples property tests try.

`check` is the default: a few examples, always the same. `thorough` (`./check properties`) tries thousands, and others
each time.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("check", max_examples=50, derandomize=True, database=None, deadline=None)
settings.register_profile(
    "thorough",
    max_examples=2000,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def fewer_examples(divisor: int) -> settings:
    """The profile's number of examples divided by `divisor`, for tests that are costly or run once a parameter."""
    return settings(max_examples=settings().max_examples // divisor)

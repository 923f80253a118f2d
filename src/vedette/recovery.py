"""After an engine's death: whether to try again, after how long, and with how much memory. Pure.

The ladder of smaller plans is the planner's own: it is only told of less memory. Each step down is at least 128 MiB
and the ladder has an end, so what does not fit ends in a sentence and never in a loop.
"""

from dataclasses import dataclass

from vedette.engine.state import Cause
from vedette.plan.calibration import smaller_budget_bytes
from vedette.plan.plan import Plan

MOST_IN_A_ROW = 8
"""Deaths one after another, with no steady service between them, after which it is given up."""
STEADY_S = 10.0
BACKOFF_S = 2.0
LONGEST_BACKOFF_S = 30.0


@dataclass
class Recovery:
    """What one deployment has learned from the deaths of its engine."""

    budget_bytes: int | None = None
    """A plan may take no more than this: with more, the engine ran out of memory. None: it never did."""
    in_a_row: int = 0

    def after(self, cause: Cause, plan: Plan, served_s: float) -> float | None:
        """Seconds to wait before the next start; None if it died too often.

        plan: what it ran when it died; served_s: how long it had served, 0 if it never did.
        """
        if cause.code == "out_of_memory":
            self.budget_bytes = smaller_budget_bytes(plan.memory.total_bytes)
            return BACKOFF_S
        self.in_a_row = 1 if served_s >= STEADY_S else self.in_a_row + 1
        if self.in_a_row > MOST_IN_A_ROW:
            return None
        return min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** (self.in_a_row - 1))

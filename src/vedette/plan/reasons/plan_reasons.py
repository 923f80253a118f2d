"""The reasons of a whole plan, and the advice about memory that other programs hold. Pure."""

from vedette.language.message import Message
from vedette.plan.climb import Choice
from vedette.plan.memory import Site
from vedette.plan.plan import EngineSettings, Plan, Reason, Wish
from vedette.plan.reasons.context_reasons import context_reasons
from vedette.plan.reasons.memory_reasons import OTHERS, memory_reasons
from vedette.plan.reasons.settings_reasons import settings_reasons


def plan_reasons(site: Site, wish: Wish, settings: EngineSettings, choice: Choice) -> tuple[Reason, ...]:
    """Return a reason for every number, memory first."""
    return (
        *memory_reasons(site, settings, choice),
        *context_reasons(site, wish, choice),
        *settings_reasons(site, settings),
    )


def other_processes(plan: Plan) -> Message | None:
    """Return which processes hold memory that the plan could use; None where it needs no more, or none are known."""
    return next((reason.why for reason in plan.reasons if reason.subject == OTHERS), None)


def free_memory(plan: Plan) -> Message:
    """Return the advice for a plan that does not fit, as the beginning of a sentence."""
    others = other_processes(plan)
    return Message("plan.free_memory_of_others", others=others) if others else Message("plan.free_memory")

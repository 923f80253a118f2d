"""What a plan says about a wish that does not fit."""

from vedette.language.message import Message
from vedette.plan.plan import Concession, Plan
from vedette.plan.reasons.plan_reasons import other_processes


def concession_message(concession: Concession) -> Message:
    """Return what a wish would have needed, and what is planned instead."""
    return Message(
        "report.concession",
        wished=concession.wished,
        missing_bytes=concession.missing_bytes,
        planned=concession.planned,
    )


def concession_notes(plan: Plan) -> list[Message]:
    """Return the notes about a plan that fits but grants less than the wish; none if it grants all."""
    if plan.concession is None:
        return [*plan.ignored]
    notes, others = [*plan.ignored, concession_message(plan.concession)], other_processes(plan)
    if others is not None:
        notes.append(Message("report.sentence", text=others))
    return notes

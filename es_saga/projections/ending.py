"""How a saga ended, for whoever started it: the answer of the status checker (R076 to R078).

| ending | the saga | HTTP |
|---|---|---|
| completed | is completed | 200 |
| refused | is compensated, because a participant said no or somebody cancelled it | 409 |
| failed | is compensated because of an error, owes undos, or is stuck | 500 |
| pending | goes on | 202 |
"""

from __future__ import annotations

from enum import StrEnum

from es_saga.projections.queries import SagaRow


class Ending(StrEnum):
    """What a client needs to know."""

    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    PENDING = "pending"


_ERRORS = ("failed", "unknown")
"""Statuses of a step that did not end in an answer of the business."""


def ending(row: SagaRow) -> Ending:
    """How a saga ended, if it has; a stuck one counts as failed until somebody helps it on."""
    if row.status == "completed":
        return Ending.COMPLETED
    if row.status in ("stuck", "compensated-with-exceptions"):
        return Ending.FAILED
    if row.status != "compensated":
        return Ending.PENDING
    if row.reason_step is None:
        return Ending.FAILED if row.reason == "deadline exceeded" else Ending.REFUSED
    step = row.steps.get(row.reason_step, {})
    return Ending.FAILED if step.get("status") in _ERRORS else Ending.REFUSED

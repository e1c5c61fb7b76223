"""How a saga ended, for whoever started it: the answer of the status checker (R076 to R078).

| ending | the saga | code, as in HTTP |
|---|---|---|
| completed | is completed | 200 |
| pending | goes on | 202 |
| refused | is compensated, because a participant said no or somebody cancelled it | 409 |
| failed | is compensated because of an error, owes undos, or is stuck | 500 |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from es_saga.projections.queries import SagaRow


class Ending(StrEnum):
    """What a client needs to know."""

    COMPLETED = "completed"
    PENDING = "pending"
    REFUSED = "refused"
    FAILED = "failed"


CODES: Final = {
    Ending.COMPLETED: 200,
    Ending.PENDING: 202,
    Ending.REFUSED: 409,
    Ending.FAILED: 500,
}

_ERRORS: Final = ("failed", "unknown")
"""Statuses of a step that did not end in an answer of the business."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a saga ended, and what came of it."""

    saga_id: str
    ending: Ending
    code: int
    """As the HTTP API answers."""
    status: str
    type: str
    business_id: str | None
    reason: str | None
    reason_step: str | None
    version: int
    closed: float | None
    replies: dict[str, Any]
    """What each step that was done answered."""


def outcome(row: SagaRow) -> Outcome:
    """How a saga ended, out of its row."""
    ended = ending(row)
    return Outcome(
        saga_id=row.saga_id,
        ending=ended,
        code=CODES[ended],
        status=row.status,
        type=row.type,
        business_id=row.business_id,
        reason=row.reason,
        reason_step=row.reason_step,
        version=row.version,
        closed=row.closed,
        replies={
            name: step.get("reply")
            for name, step in row.steps.items()
            if step.get("status") == "succeeded"
        },
    )


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

"""Alerts: what operations must hear of, once for each cause, and when it is over (law L33).

A cause is read off a saga's state, so the same history always leads to the same alerts. The durable
record is kept by `es_saga.projections.alerts`, and delivered by `es_saga.engine.alerting`;
`es_saga.engine.monitor` tells them at once, as long as the process lasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import structlog

from es_saga.core.messages import PARTS
from es_saga.core.state import GIVEN_UP, SagaState

IDLE_PART: Final = PARTS
"""The part of alerts that no event opened: one beyond those of the log."""

_log = structlog.get_logger("es_saga.alerts")


class AlertKind(StrEnum):
    """What is the matter."""

    STUCK = "stuck"
    """The saga cannot go on without a human."""
    UNDO = "undo"
    """An undo was given up, and is still owed (requirement R040)."""
    DEADLINE = "deadline"
    """The saga is not over, and its deadline is."""
    IDLE = "idle"
    """It has made no progress for longer than is allowed (requirement R082)."""
    DOUBT = "doubt"
    """A participant has prepared a transaction for it, and nobody settles that."""
    SLOT = "slot"
    """A server keeps too much of its log for a participant's outbox. It is of no saga."""


class Cause(NamedTuple):
    """What an alert is about: there is one open for each cause of a saga, no more."""

    kind: AlertKind
    step: str | None


def causes(state: SagaState) -> Mapping[Cause, str]:
    """Everything in a saga that needs a human, and why. Idleness is not: that takes a clock."""
    found: dict[Cause, str] = {}
    if state.stuck is not None:
        found[Cause(AlertKind.STUCK, state.stuck.step)] = state.stuck.why
    for name, step in state.steps.items():
        undo = step.undo
        if undo is not None and undo.status in GIVEN_UP:
            found[Cause(AlertKind.UNDO, name)] = undo.error or undo.status.value
    if state.deadline_noted and state.closed is None:
        found[Cause(AlertKind.DEADLINE, None)] = "its deadline has passed"
    return found


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that needs a human, or no longer does."""

    saga_id: str
    """Empty: it is of no saga, but of a participant, which is its type then."""
    saga_type: str
    kind: AlertKind
    opened: bool
    """False: it is over."""
    why: str
    step: str | None
    at: float
    """When it was opened, or closed; seconds since the epoch."""
    since: int
    """The number of the event that opened it."""

    @property
    def id(self) -> str:
        """The same for the same news, so that whoever gets it twice can tell."""
        what = "opened" if self.opened else "closed"
        return "/".join((self.saga_id, self.kind, self.step or "-", str(self.since), what))


def log_alert(alert: Alert) -> None:
    """An error in the log when an alert opens, a note when it closes."""
    tell = _log.error if alert.opened else _log.info
    tell(
        "alert_opened" if alert.opened else "alert_closed",
        saga=alert.saga_id,
        type=alert.saga_type,
        kind=alert.kind.value,
        step=alert.step,
        why=alert.why,
    )

"""One direction of one step through time: when it was sent, how it was answered, how it stood."""

from __future__ import annotations

from typing import NamedTuple

from es_saga.core.compiled import StepDefinition
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationSucceeded,
    SagaEvent,
    StepFailed,
    StepRefused,
    StepRetried,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.observing import unheard
from es_saga.core.state import WorkStatus

Sending = StepStarted | StepRetried | CompensationIssued
Answer = (
    StepSucceeded
    | StepRefused
    | StepFailed
    | StepTimedOut
    | CompensationSucceeded
    | CompensationFailed
)

DONE = frozenset({WorkStatus.SUCCEEDED, WorkStatus.SKIPPED})
OPEN = frozenset({WorkStatus.STARTED, WorkStatus.BACKOFF})
SLACK = 1e-5
"""Seconds: what arithmetic with the seconds since the epoch may cost in precision, and more."""

_UNANSWERED = "timed out"
"""The error of an undo that stayed unanswered; of one that is only expected see `unheard`."""


def by_timer(event: SagaEvent) -> bool:
    """Whether time alone led to it: nobody answered."""
    if isinstance(event, CompensationFailed):
        unanswered = event.error == _UNANSWERED or event.error.endswith(unheard(""))
        return event.cause is None and unanswered
    return isinstance(event, StepTimedOut)


class Mark(NamedTuple):
    """From this event on, work stands so."""

    event: int
    status: WorkStatus
    due: float | None = None
    """BACKOFF: when it may be sent again. STARTED: when it counts as unanswered."""
    maybe: bool = False
    """It was done, or may have been: some attempt of it has no definite end."""


class Deed:
    """One direction of one step, through time."""

    __slots__ = ("answers", "marks", "name", "sendings", "step", "unanswered", "undo")

    def __init__(self, step: StepDefinition, *, undo: bool) -> None:
        self.step = step
        self.undo = undo
        self.name = f"the undo of {step.name}" if undo else step.name
        self.marks: list[Mark] = []
        self.sendings: list[tuple[int, Sending]] = []
        self.answers: list[tuple[int, Answer]] = []
        self.unanswered = False

    def before(self, index: int) -> Mark | None:
        """How it stood when that event came; None: untouched."""
        for mark in reversed(self.marks):
            if mark.event < index:
                return mark
        return None

    def status(self, index: int) -> WorkStatus | None:
        """As `before`, its status alone."""
        mark = self.before(index)
        return mark.status if mark else None

    def maybe(self, index: int) -> bool:
        """Whether it had been done, or might have been, when that event came."""
        mark = self.before(index)
        return mark is not None and mark.maybe

    @property
    def last(self) -> WorkStatus | None:
        """How it stands in the end."""
        return self.marks[-1].status if self.marks else None

    @property
    def begun(self) -> int | None:
        """The event that sent it for the first time."""
        return self.sendings[0][0] if self.sendings else None

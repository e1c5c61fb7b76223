"""What a saga's state is: what the log says, no more.

Folding a history needs no definition, so a view can show a saga whose code is long gone. Forward
work and compensation of a step are kept apart, each a `Work`. How events change it is in
`es_saga.core.aggregate`.

The values are named tuples: one is made for every event, and a frozen dataclass costs three times
as much to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from es_saga.core.events import Json, Parent, ParentDecided, UndoException

REMEMBERED_VERBS = 16
"""How many operators' message ids a saga remembers, so that a redelivered verb acts once."""


class SagaStatus(StrEnum):
    """Where a saga stands. The last three are closed: nothing follows but noted arrivals."""

    RUNNING = "running"
    WAITING = "waiting"
    COMPENSATING = "compensating"
    STUCK = "stuck"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    COMPENSATED_WITH_EXCEPTIONS = "compensated-with-exceptions"


CLOSED = frozenset(
    {SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.COMPENSATED_WITH_EXCEPTIONS}
)


class WorkStatus(StrEnum):
    """Where one direction of one step stands."""

    STARTED = "started"
    """In flight: sent, not answered."""
    BACKOFF = "backoff"
    """The last attempt ended without an outcome; another one is due."""
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    """A definite no: nothing was done."""
    FAILED = "failed"
    """Given up, and every attempt is known to have been rolled back."""
    UNKNOWN = "unknown"
    """Given up, and at least one attempt was never answered: maybe done."""
    SKIPPED = "skipped"
    """Did not have to run, or was waived."""


UNDECIDED = frozenset(
    {WorkStatus.STARTED, WorkStatus.BACKOFF, WorkStatus.UNKNOWN, WorkStatus.FAILED}
)
"""Statuses that an answer can still settle."""

GIVEN_UP = frozenset({WorkStatus.REFUSED, WorkStatus.FAILED, WorkStatus.UNKNOWN})
"""Ended, and not done: forward, the saga cannot go on; an undo is still owed."""


class Sent(NamedTuple):
    """A command as it was, or will be, sent."""

    type: str
    to: str
    """The service; empty: nobody, the step waits for a message from outside, or for a time."""
    data: Json
    expected: bool = False
    """It was not sent: an event will tell that it is done."""


class Work(NamedTuple):
    """One direction of one step: what was sent, how often, and what became of it."""

    status: WorkStatus
    attempt: int
    started: float
    due: float | None = None
    """When the attempt counts as unanswered, or the next one is to be sent."""
    sent: Sent | None = None
    """Kept while it may have to be sent again."""
    reply: Json | None = None
    error: str | None = None
    unanswered: int = 0
    """Attempts that ended in a timeout, or that an operator would not wait for."""
    round: int = 1
    """Counts an operator's fresh starts after a refusal; part of the command id."""
    ended: float | None = None

    @property
    def open(self) -> bool:
        """Whether an answer is still awaited, or another attempt is."""
        return self.status in (WorkStatus.STARTED, WorkStatus.BACKOFF)


class StepState(NamedTuple):
    """One step: its forward work, and its undo once one was issued."""

    do: Work
    undo: Work | None = None
    late: bool = False
    """A late answer has been noted; the next ones are not."""

    @property
    def undoing(self) -> bool:
        """Whether its undo is under way."""
        return self.undo is not None and self.undo.open


class Origin(NamedTuple):
    """What was settled when the saga began."""

    saga_id: str
    saga_type: str
    definition: int
    fingerprint: str
    data: Json
    started: float
    key: str | None = None
    deadline: float | None = None
    notify: str | None = None
    trace: str | None = None
    parent: Parent | None = None


class Failure(NamedTuple):
    """Why a saga is not on its way to completion."""

    why: str
    step: str | None
    detail: str = ""


_NO_STEPS: Mapping[str, StepState] = MappingProxyType({})
_NO_SIGNALS: Mapping[str, Json] = MappingProxyType({})
_NO_FANS: Mapping[str, int] = MappingProxyType({})


class SagaState(NamedTuple):
    """A saga, folded from its history."""

    origin: Origin
    version: int
    """Number of events."""
    status: SagaStatus
    updated: float
    steps: Mapping[str, StepState] = _NO_STEPS
    """Steps that were begun or skipped, in the order in which they were."""
    backward: bool = False
    """Compensation has started."""
    failure: Failure | None = None
    """Why it is not on its way to completion: the first reason; later ones do not replace it."""
    stuck: Failure | None = None
    """What takes a human, while it does."""
    exceptions: tuple[UndoException, ...] = ()
    """Undos that a closed saga still owes."""
    deadline_noted: bool = False
    verbs: tuple[str, ...] = ()
    """Message ids of the last operators' verbs."""
    closed: float | None = None
    signals: Mapping[str, Json] = _NO_SIGNALS
    """Messages from outside, by type."""
    waiting: tuple[str, ...] = ()
    """Steps that wait for one, or for time to pass."""
    fans: Mapping[str, int] = _NO_FANS
    """Steps over a list that have begun, and how many stand for each."""
    held: bool = False
    """Its steps are done, and its parent has not decided."""
    decided: ParentDecided | None = None
    """What its parent has decided."""
    back_to: str | None = None
    """While it goes back: the save-point at which that ends."""
    ways: tuple[tuple[str, int], ...] = ()
    """The save-points it has gone on from anew, and the numbers of the ways it took."""
    past: Mapping[str, StepState] = _NO_STEPS
    """Steps of ways that were given up: undone, and never begun again."""

    @property
    def saga_id(self) -> str:
        return self.origin.saga_id

    @property
    def bound(self) -> bool:
        """Whether it may not complete yet: its parent has not decided."""
        parent, decided = self.origin.parent, self.decided
        return parent is not None and parent.undoable and not (decided and decided.close)

    @property
    def next_due(self) -> float | None:
        """When time alone will change something next, in seconds since the epoch."""
        if self.closed is not None:
            return None
        due = None if self.deadline_noted else self.origin.deadline
        for step in self.steps.values():
            work = step.undo or step.do
            if work.due is not None and (due is None or work.due < due):
                due = work.due
        return due

    @property
    def current(self) -> tuple[str, ...]:
        """Steps something is open for, in either direction."""
        return tuple(name for name, step in self.steps.items() if (step.undo or step.do).open)

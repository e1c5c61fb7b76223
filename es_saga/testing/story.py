"""What a law looks at: a saga's definition, its history, and what became of it in the world.

A `Story` may come from anywhere: the engine, the simulated world, a scene, a foreign log that was
imported. Nothing here says that it is a good one; that is for `es_saga.testing.laws` to judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from es_saga.core.compiled import Definition
from es_saga.core.events import SagaEvent
from es_saga.core.messages import Direction, Envelope

if TYPE_CHECKING:
    from es_saga.engine.alerts import Alert
    from es_saga.engine.ports import Recorded


class Effect(NamedTuple):
    """One business effect in a participant's database."""

    saga_id: str
    step: str
    direction: Direction
    command_id: str
    at: float
    """Seconds since the epoch."""


class Story(NamedTuple):
    """One saga, as far as it was observed. It ends where a reaction ended: nothing more follows.

    None: it was not observed, so laws that need it do not apply.
    """

    definition: Definition
    saga_id: str
    history: Sequence[SagaEvent]
    effects: Sequence[Effect] | None = None
    """In the order in which they were committed, whatever saga's."""
    sent: Sequence[Envelope] | None = None
    """Commands that were published, in order, repetitions included."""


Row = Mapping[str, object]
"""A row of a view: column to value."""


class Reservation(NamedTuple):
    """What a participant keeps of a hold. Times in seconds since the epoch."""

    hold: str
    """The id of its command."""
    participant: str
    status: str
    """`held`, `confirmed`, `cancelled` or `expired`."""
    expires_at: float
    settled_at: float | None
    seen_at: float


class System(NamedTuple):
    """Several sagas, and what was kept and told of them. None: not observed."""

    stories: Sequence[Story]
    log: Sequence[Recorded] | None = None
    """Everything that was committed, part by part, as a reader of the log gets it."""
    alerts: Sequence[Alert] | None = None
    """What a monitor told."""
    status: Mapping[str, Row] | None = None
    """The status view, by saga id."""
    rebuilt: Mapping[str, Row] | None = None
    """The same view, made anew from the whole log."""
    audit: Sequence[tuple[str, int, str]] | None = None
    """The audit trail: saga id, version, name of the event."""
    rebuilding: Sequence[Envelope] | None = None
    """What was published while states and views were rebuilt."""
    reservations: Sequence[Reservation] | None = None
    """What participants held, and what became of it, once all is settled."""
    totals: Mapping[str, Sequence[int]] | None = None
    """By name, what must never change: each value that it was seen to have, the first one first."""
    poisoned: frozenset[str] = frozenset()
    """Sagas that were sent what nobody can read."""
    settled: bool = False
    """The faults are over and all time that it takes has passed: nothing more will happen."""


class Violation(NamedTuple):
    """A law that a story breaks, and where."""

    law: str
    """Its number: `L06`."""
    saga_id: str
    event: int | None
    """The event that broke it, counted from 1; None: no single one did."""
    why: str

    def __str__(self) -> str:
        where = self.saga_id if self.event is None else f"{self.saga_id}, event {self.event}"
        return f"{self.law} ({where}): {self.why}"


class Judgement(NamedTuple):
    """What the laws say of a story or a system."""

    violations: Sequence[Violation]
    applied: frozenset[str]
    """Numbers of the laws that had something to look at."""

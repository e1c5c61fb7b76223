"""Sagas that nobody conducts: services react to each other's events, and the flow is watched.

    flow = Choreography("fulfilment", OrderCreated)
    flow.expects(PaymentCompleted, after=OrderCreated, within=timedelta(minutes=1))
    flow.expects(StockReserved, after=PaymentCompleted, within=timedelta(minutes=1),
                 unless=StockInsufficient)
    flow.undoes(PaymentRefunded, PaymentCompleted, after=StockInsufficient, within=...)
    flow.undoes(OrderCancelled, OrderCreated, after=PaymentRefunded, within=...)

It compiles to the definition that every saga has. Its steps are not asked for but expected: each
event that is heard is credited to the step it tells of, see `es_saga.core.observing`, and one that
is not heard in time takes a human. So the log of such a flow is read as any other.

Refused with all faults at once: events that wait for each other (R008), undos that nothing brings
about, what a refusal would leave done, and events that do not say which flow they belong to.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import create_model

from es_saga.core.compiled import (
    Definition,
    Nothing,
    Observed,
    Opening,
    StepDefinition,
    StepKind,
    UndoDefinition,
    told_by,
)
from es_saga.core.correlation import Correlation
from es_saga.core.definition import Saga
from es_saga.core.errors import DefinitionError
from es_saga.core.listening import itself
from es_saga.core.messages import Command, Event
from es_saga.core.options import some_seconds
from es_saga.core.policy import ONCE, OnFailedUndo
from es_saga.core.step import Step, asking_nobody, named_after
from es_saga.core.verify import Verifier

E = TypeVar("E", bound=Event)

Events = type[Event] | Iterable[type[Event]]


@dataclass(frozen=True, slots=True)
class Expectation:
    """One event that follows others, or else its refusals."""

    event: type[Event]
    after: tuple[type[Event], ...]
    within: timedelta
    unless: tuple[type[Event], ...] = ()
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Undoing:
    """One event that takes another one back."""

    event: type[Event]
    of: type[Event]
    after: tuple[type[Event], ...]
    within: timedelta


class Choreography(Saga[E]):
    """A flow of events between services, watched.

    Args:
        name: as of a `Saga`; with the key of its events it makes the saga's id.
        begins: the event that begins it; what it carries is the saga's input.
        key: the field, of all its events, that says which saga they belong to; default: what the
            first event is about.
        version: as of a `Saga`.
    """

    def __init__(
        self, name: str, begins: type[E], *, key: str | None = None, version: int = 1
    ) -> None:
        # The order of undos is their services' own, so all are expected at once; one that is not
        # told in time takes a human, who may find that it was done.
        policy = OnFailedUndo.HALT
        super().__init__(
            name, begins, version=version, on_failed_undo=policy, undo_order="parallel"
        )
        self.key = begins.about if key is None else key
        self.expectations = [Expectation(begins, (), timedelta(minutes=1))]
        self.undoings: list[Undoing] = []

    def expects(
        self,
        event: type[Event],
        /,
        *,
        after: Events,
        within: timedelta,
        unless: Events = (),
        stays: bool = False,
    ) -> None:
        """After those events this one is told, by its service's own decision.

        Args:
            event: its name, in small letters with `_`, is the name of the step.
            after: all of them must have been told.
            within: longest time from then on; after it the saga is stuck, which is an alert. If the
                event comes after all, the saga goes on.
            unless: events, of any service, that say no instead: the flow is undone.
            stays: what it tells need not be undone when another step is refused.
        """
        found = Expectation(event, _events(after), within, _events(unless), stays)
        self.expectations.append(found)
        self._compiled = None

    def undoes(
        self, event: type[Event], of: type[Event], /, *, after: Events, within: timedelta
    ) -> None:
        """The event tells that what `of` told has been taken back.

        Args:
            after: refusals, or other undos: any one of them brings it about.
            within: longest time from what brings it about; after it the saga is stuck.
        """
        self.undoings.append(Undoing(event, of, _events(after), within))
        self._compiled = None

    def reactions(self) -> Iterator[tuple[type[Event], tuple[type[Event], ...]]]:
        """Every event but the first, and those that its service reacts to by telling it."""
        for expected in self.expectations:
            if expected.after:
                for event in (expected.event, *expected.unless):
                    yield event, expected.after
        for undoing in self.undoings:
            yield undoing.event, undoing.after

    def _compile(self) -> Definition:
        return _ChoreographyVerifier(self).compile()


def _events(given: Events) -> tuple[type[Event], ...]:
    return (given,) if inspect.isclass(given) else tuple(given)


# ── compiling it ─────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Roles:
    """Which part every event of a flow has, by its name."""

    done: dict[str, Expectation] = field(default_factory=dict[str, Expectation])
    refused: dict[str, Expectation] = field(default_factory=dict[str, Expectation])
    undone: dict[str, Undoing] = field(default_factory=dict[str, Undoing])


class _ChoreographyVerifier(Verifier):
    """Verifies the expectations as the steps they are."""

    def __init__(self, flow: Choreography[Any]) -> None:
        super().__init__(flow)
        self.flow = flow
        self.roles = _Roles()
        self.correlations: dict[type[Event], Correlation] = {}

    def compile(self) -> Definition:
        if self.saga.steps:
            self.fault("it has steps: nobody conducts a Choreography; write expects(…)")
        if self.saga.beginnings:
            self.fault("it is begun by its first event only: starts_on(…) is for conducted sagas")
        self.saga.steps[:] = [_step(one) for one in self.flow.expectations]
        try:
            self.check_saga()
        finally:
            self.saga.steps.clear()
        self.check_events()
        self.check_edges()
        self.find_ancestors()
        self.check_undos()
        self.check_left_behind()
        if self.faults:
            raise DefinitionError(self.saga.name, self.faults, kind="choreography")
        begins = self.flow.data
        return Definition(
            name=self.saga.name,
            version=self.saga.version,
            data=self.saga.data,
            steps={name: self.observe(name, one) for name, one in self.named()},
            deadline=None,
            on_failed_undo=self.saga.on_failed_undo,
            undo_order=self.saga.undo_order,
            openings={told_by(begins): Opening(begins, itself)},
            correlations={told_by(event): one for event, one in self.correlations.items()},
        )

    def named(self) -> Iterable[tuple[str, Expectation]]:
        return ((named_after(one.event), one) for one in self.flow.expectations)

    def check_events(self) -> None:
        """Every event has one part, a service, and the key."""
        roles, seen = self.roles, set[str]()
        for expected in self.flow.expectations:
            roles.done[expected.event.__name__] = expected
            roles.refused |= {event.__name__: expected for event in expected.unless}
            told = (expected.event, *expected.unless)
            self.check_each(told, seen, expected.within)
        for undoing in self.flow.undoings:
            roles.undone[undoing.event.__name__] = undoing
            self.check_each((undoing.event,), seen, undoing.within)

    def check_each(self, events: Iterable[type[Event]], seen: set[str], within: timedelta) -> None:
        for event in events:
            name = event.__name__
            if name in seen:
                self.fault(f"{name} is told of twice: derive a class for each meaning")
            seen.add(name)
            self.correlations[event] = correlation = Correlation(event, self.flow.key)
            for fault in correlation.faults():
                self.fault(fault)
            some_seconds(f"{name}: `within`", within, self.fault)

    def check_undos(self) -> None:
        """Each undo is of something, and a refusal leads to it."""
        roles, of = self.roles, set[str]()
        for undoing in self.flow.undoings:
            name, target = undoing.event.__name__, undoing.of.__name__
            if target not in roles.done:
                self.fault(f"{name} undoes {target}, which is not expected")
            if target in of:
                self.fault(f"{target} is undone by two events")
            of.add(target)
            for cause in undoing.after:
                if cause.__name__ not in roles.refused and cause.__name__ not in roles.undone:
                    self.fault(
                        f"{name} comes after {cause.__name__}, which is neither a refusal nor an "
                        f"undo: name it in unless=, or in undoes(…)"
                    )
        for name in self.never_told():
            self.fault(f"{name} is never told: no refusal leads to it")

    def never_told(self) -> list[str]:
        """Undos that no chain from a refusal reaches; those that wait for each other are among
        them."""
        told = self.follow(self.roles.refused)
        return [name for name in self.roles.undone if name not in told]

    def follow(self, refusals: Iterable[str]) -> set[str]:
        """All that is told in the end where these refusals are."""
        told = set(refusals)
        while True:
            more = {
                name
                for name, undoing in self.roles.undone.items()
                if any(cause.__name__ in told for cause in undoing.after)
            }
            if more <= told:
                return told
            told |= more

    def check_left_behind(self) -> None:
        """What may have been done when another step is refused is undone then, or said to stay."""
        undone = {undoing.of: undoing.event.__name__ for undoing in self.flow.undoings}
        never = self.never_told()
        for name, one in self.named():
            undo = undone.get(one.event)
            refusals = [] if one.stays or undo in never else self.refusals_beside(name)
            if undo is None and refusals:
                self.fault(
                    f"{one.event.__name__} is not undone when there is {refusals[0]}: declare what "
                    f"undoes it, or say stays=True"
                )
            for refusal in refusals:
                if undo is not None and undo not in self.follow([refusal]):
                    self.fault(
                        f"{one.event.__name__} is not undone when there is {refusal}: nothing "
                        f"leads from that to {undo}"
                    )

    def refusals_beside(self, name: str) -> list[str]:
        """The refusals of other steps that may come when this one is done."""
        return [
            refusal.__name__
            for other, one in self.named()
            if other != name and other not in self.ancestors[name]
            for refusal in one.unless
        ]

    def observe(self, name: str, one: Expectation) -> StepDefinition:
        undoing = next((u for u in self.flow.undoings if u.of is one.event), None)
        command = _expected(one.event)
        return StepDefinition(
            name=name,
            kind=StepKind.WAIT if undoing is None else StepKind.COMPENSATABLE,
            after_pivot=False,
            fn=_asking(command),
            command=command,
            reply=one.event,
            after=self.after[name],
            ancestors=self.ancestors[name],
            binds=(),
            timeout=one.within.total_seconds(),
            retry=ONCE,
            on_unknown="undo",
            undo=None if undoing is None else self.observe_undo(undoing),
            doc=inspect.getdoc(one.event) or "",
            observed=Observed(
                one.event,
                one.unless,
                None if undoing is None else undoing.event,
                () if undoing is None else undoing.after,
            ),
        )

    def observe_undo(self, undoing: Undoing) -> UndoDefinition:
        command = _expected(undoing.event)
        return UndoDefinition(
            fn=_asking(command),
            command=command,
            reply=None,
            accepts_unknown=True,
            binds=(),
            timeout=self.patience(undoing).total_seconds(),
            retry=ONCE,
        )

    def patience(self, undoing: Undoing) -> timedelta:
        """How long after a refusal an undo may come: those that lead to it take their time, too."""
        undone = self.roles.undone
        before = [undone[cause.__name__] for cause in undoing.after if cause.__name__ in undone]
        return undoing.within + max(map(self.patience, before), default=timedelta(0))


def _step(one: Expectation) -> Step[Any, ..., Any]:
    """What the checks of a saga's steps look at."""
    nobody = asking_nobody(named_after(one.event))
    after = tuple(named_after(event) for event in one.after)
    return Step(nobody, StepKind.WAIT, after, one.within, ONCE, "undo")


def _expected(event: type[Event]) -> type[Command[None]]:
    """Stands where other sagas have the command: called like the event, and never sent."""
    made = create_model(event.__name__, __base__=Nothing, __module__=event.__module__)
    made.to = event.by
    return made


def _asking(command: type[Command[None]]) -> Any:
    def expect(_data: Event) -> Command[None]:
        return command()

    return expect

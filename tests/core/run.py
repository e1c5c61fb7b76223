"""One saga's whole life as it was played: every input, what it led to, and what came of it.

Inputs go to the core, commands to a reference participant. `worlds.py` draws what happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis.vendor.pretty import RepresentationPrinter

from es_saga.core.aggregate import evolve
from es_saga.core.aggregate import start as begin
from es_saga.core.compiled import Definition
from es_saga.core.decide import react
from es_saga.core.errors import (
    ConflictError,
    IllegalOperation,
    InvalidInput,
    NotFound,
    SagaError,
)
from es_saga.core.events import (
    CompensationIssued,
    SagaEvent,
    SagaStarted,
    StepRetried,
    StepStarted,
)
from es_saga.core.inputs import Input, Reply, Resolve
from es_saga.core.messages import (
    CommandKey,
    Direction,
    Envelope,
    Outcome,
    Subjects,
    parse_command_id,
)
from es_saga.core.state import SagaState
from es_saga.core.unfolding import unfolded
from es_saga.engine.outgoing import Sender
from es_saga.testing.plans import Built
from es_saga.testing.story import Story
from tests.core.service import Answer, Service

SAGA = "s-1"

_SENDING = StepStarted | StepRetried | CompensationIssued
_SENDER = Sender("tests", Subjects())


_OBJECTIONS = (ConflictError, IllegalOperation, InvalidInput, NotFound)
"""What an input may be answered with; a CorruptHistory of our own making may not."""


class Turn(NamedTuple):
    """One input, and what it led to."""

    input: Input
    now: float
    before: SagaState | None
    events: list[SagaEvent]
    after: SagaState | None
    error: SagaError | None
    forged: bool
    broken: frozenset[str]
    """Functions that had a bug at the time."""


class Change(NamedTuple):
    """One event between two states."""

    before: SagaState
    event: SagaEvent
    after: SagaState
    turn: Turn


Deed = tuple[str, Direction]
"""One direction of one step."""


class Command(NamedTuple):
    """A command as it was sent; it may be delivered any number of times."""

    key: CommandKey
    undoes: CommandKey
    attempt: int

    @property
    def deed(self) -> Deed:
        return self.key.step, self.key.direction


@dataclass(repr=False)
class Run:
    built: Built
    service: Service = field(default_factory=Service)
    now: float = 1_000.0
    turns: list[Turn] = field(default_factory=list[Turn])
    state: SagaState | None = None
    commands: list[Command] = field(default_factory=list[Command])
    published: list[Envelope] = field(default_factory=list[Envelope])
    """The messages that carry them, as the engine's own sender makes them."""
    replies: list[Reply] = field(default_factory=list[Reply])
    verbs: int = 0

    @property
    def definition(self) -> Definition:
        return self.built.saga.definition

    @property
    def whole(self) -> Definition:
        """With a step for each item of its lists."""
        return unfolded(self.definition, self.state)

    @property
    def saga(self) -> SagaState:
        """The saga's state; there is one once the run has begun."""
        assert self.state is not None, "it was started"
        return self.state

    @property
    def log(self) -> list[SagaEvent]:
        return [event for turn in self.turns for event in turn.events]

    @property
    def story(self) -> Story:
        """What the laws of one saga judge."""
        return Story(self.definition, SAGA, self.log, self.service.effects, self.published)

    def changes(self) -> Iterator[Change]:
        """Every event after the first, between the states before and after it."""
        for turn in self.turns:
            state = turn.before
            for event in turn.events:
                if state is None:
                    assert isinstance(event, SagaStarted)
                    state = begin(SAGA, event)
                    continue
                after = evolve(state, event)
                yield Change(state, event, after, turn)
                state = after

    def feed(self, input: Input, *, forged: bool = False) -> Turn:
        before, events, error = self.state, list[SagaEvent](), None
        broken = frozenset(self.built.broken)
        try:
            events, self.state = react(self.definition, before, input, self.now)
        except _OBJECTIONS as raised:
            error = raised
        turn = Turn(input, self.now, before, events, self.state, error, forged, broken)
        self.turns.append(turn)
        for event in events:
            if (
                isinstance(event, _SENDING)
                and unfolded(self.definition, self.saga).steps[event.step].wait is None
            ):
                self._send(event)
        sent = _SENDER.commands(self.definition, self.saga, events)
        self.published += [outgoing.envelope for outgoing in sent]
        return turn

    def _send(self, event: StepStarted | StepRetried | CompensationIssued) -> None:
        own = self.saga.steps[event.step]
        undoes = key_of(event.step, Direction.DO, own.do.round)
        self.commands.append(Command(parse_command_id(event.command_id), undoes, event.attempt))

    def deliver(self, command: Command, wish: Answer) -> Reply:
        """Have the participant handle a command; its reply is now on its way."""
        reply = self.service.handle(command.key, command.undoes, command.attempt, wish, self.now)
        self.replies.append(reply)
        return reply

    def verb_id(self) -> str:
        self.verbs += 1
        return f"verb-{self.verbs}"

    def resolve(self, step: str, direction: Direction, outcome: Outcome) -> Turn:
        """An operator's word on a piece of work, and what makes it true.

        What the participant has settled is told as it is; else the operator does it by hand.
        """
        own = self.saga.steps.get(step)
        work = None if own is None else own.do if direction is Direction.DO else own.undo
        key = key_of(step, direction, work.round if work is not None else 1)
        known = self.service.fence.get(key)
        if direction is Direction.DO and known is not None:
            outcome = known.outcome
        done = direction is Direction.DO and outcome is Outcome.SUCCEEDED
        turn = self.feed(
            Resolve(
                "ann",
                "looked it up",
                self.verb_id(),
                step,
                direction,
                outcome,
                {"step": step} if done else None,
            )
        )
        planned = self.whole.steps.get(step)
        waits = planned is not None and planned.wait is not None
        if turn.events and not waits and (known is None or known.outcome is not outcome):
            if direction is Direction.UNDO and known is None:
                assert own is not None
                assert work is not None
                undoes = key_of(step, Direction.DO, own.do.round)
                self.service.handle(key, undoes, work.attempt + 1, Answer(outcome), self.now)
            else:
                self.service.settle(key, outcome, self.now)
        return turn

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        printer.text(repr(self))

    def __repr__(self) -> str:
        """The history as a person reads it."""
        lines = [f"{self.built.plan}"]
        for turn in self.turns:
            lines.append(f"{turn.now:9.2f} {'forged ' if turn.forged else ''}{turn.input}")
            if turn.error is not None:
                lines.append(f"          ! {turn.error!r}")
            lines += [f"          → {type(event).__name__} {event}" for event in turn.events]
        return "\n".join(lines)


def key_of(step: str, direction: Direction, round: int = 1, saga_id: str = SAGA) -> CommandKey:
    return CommandKey(saga_id=saga_id, step=step, direction=direction, round=round)

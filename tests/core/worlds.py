"""A saga in an unreliable world: messages lost, late, doubled, forged; time passing; operators.

`runs()` draws a definition and a schedule, carries it out, and then lets a fair world finish it:
all functions mended, every answer arrives, operators help. What happened is a `Run`, which the laws
in `laws.py` judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from hypothesis import strategies as st
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
from es_saga.core.inputs import Cancel, Input, Reply, Resolve, RetryStuck, Skip, Start, Tick
from es_saga.core.messages import (
    CommandKey,
    Direction,
    Envelope,
    Outcome,
    Subjects,
    parse_command_id,
)
from es_saga.core.state import SagaState, SagaStatus, Work, WorkStatus
from es_saga.engine.outgoing import Sender
from es_saga.testing.story import Story
from tests.core.plans import Built, build, plans
from tests.core.service import REFUSED, SUCCEEDED, Answer, Service, reply_to

T = TypeVar("T")

SAGA = "s-1"
MAX_MOVES = 40
MAX_LATE_MOVES = 4
MAX_FAIR_ROUNDS = 120

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


class Command(NamedTuple):
    """A command as it was sent; it may be delivered any number of times."""

    key: CommandKey
    undoes: CommandKey
    attempt: int


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
            if isinstance(event, StepStarted | StepRetried | CompensationIssued):
                self._send(event)
        sent = _SENDER.commands(self.definition, self.saga, events)
        self.published += [outgoing.envelope for outgoing in sent]
        return turn

    def _send(self, event: StepStarted | StepRetried | CompensationIssued) -> None:
        own = self.saga.steps[event.step]
        undoes = _key(event.step, Direction.DO, own.do.round)
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
        key = _key(step, direction, work.round if work is not None else 1)
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
        if turn.events and (known is None or known.outcome is not outcome):
            if direction is Direction.UNDO and known is None:
                assert own is not None
                assert work is not None
                undoes = _key(step, Direction.DO, own.do.round)
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


def _key(step: str, direction: Direction, round: int = 1, saga_id: str = SAGA) -> CommandKey:
    return CommandKey(saga_id=saga_id, step=step, direction=direction, round=round)


# ── the schedule ─────────────────────────────────────────────────────────────────────────────────

_TROUBLE = [
    REFUSED,
    Answer(Outcome.FAILED, "Busy"),
    Answer(Outcome.FAILED, "Busy", retry_after=7.0),
    Answer(Outcome.FAILED, "Fatal"),
    Answer(Outcome.FAILED, "Terminal", retry_after=-1.0),
]
_MOODS = st.sampled_from(
    [
        st.sampled_from([SUCCEEDED] * 12 + _TROUBLE),
        st.sampled_from([SUCCEEDED] * 3 + _TROUBLE),
    ]
)
"""Participants that seldom or often say no, or fail."""

Wishes = dict[Direction, st.SearchStrategy[Answer]]


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """A saga's whole life."""
    run = Run(build(draw(plans())))
    wishes: Wishes = {direction: draw(_MOODS) for direction in Direction}
    run.feed(Start(SAGA, {"n": 1}, message_id="start"))
    for _ in range(draw(st.sampled_from([0, 5, 15, MAX_MOVES, MAX_MOVES]))):
        if run.saga.closed is None:
            _move(draw, run, wishes)
    _finish(run)
    for _ in range(draw(st.integers(0, MAX_LATE_MOVES))):
        _move(draw, run, wishes)
    for reply in [*run.replies]:
        run.feed(reply)
    for command in [*run.commands]:
        run.feed(run.deliver(command, SUCCEEDED))
    return run


def _move(draw: st.DrawFn, run: Run, wishes: Wishes) -> None:
    rare = ["cancel", "start", "verb"]
    moves = ["tick", "tick", "forge", "again", draw(st.sampled_from(rare))]
    moves += ["ask"] * 8 + ["deliver"] * 2 if run.commands else []
    moves += ["answer"] * 2 if run.replies else []
    moves += ["verb"] * 8 if run.saga.status is SagaStatus.STUCK else []
    match draw(st.sampled_from(moves)):
        case "ask":
            command = draw(_late(run.commands))
            run.feed(run.deliver(command, draw(wishes[command.key.direction])))
        case "deliver":
            command = draw(_late(run.commands))
            run.deliver(command, draw(wishes[command.key.direction]))
        case "answer":
            run.feed(draw(_late(run.replies)))
        case "tick":
            due = run.saga.next_due
            wait = draw(st.sampled_from([0.0, 0.5, 3.0]))
            run.now = max(run.now + wait, due if due is not None and not wait else 0.0)
            run.feed(Tick())
        case "forge":
            run.feed(_forged(draw, run), forged=True)
        case "cancel":
            run.feed(Cancel("bob", "changed my mind", run.verb_id()))
        case "verb":
            _verb(draw, run)
        case "again":
            true = [turn.input for turn in run.turns if not turn.forged]
            run.feed(draw(st.sampled_from(true)))
        case _:
            run.feed(Start(SAGA, {"n": draw(st.integers(1, 2))}, message_id="start-2"))


def _late(items: list[T]) -> st.SearchStrategy[T]:
    """Often one of the newest, sometimes an old one again."""
    few = min(3, len(items))
    return st.sampled_from(items[-few:]) | st.sampled_from(items)


def _forged(draw: st.DrawFn, run: Run) -> Reply:
    """A reply to something that was never asked for."""
    step = draw(st.sampled_from([*run.definition.steps, "nobody"]))
    direction = draw(st.sampled_from(Direction))
    own = run.saga.steps.get(step)
    work: Work | None = None
    if own is not None:
        work = own.do if direction is Direction.DO else own.undo
    round, attempt, saga_id = 1, 1, SAGA
    if work is not None:
        round, attempt = work.round, max(work.attempt, 1)
        match draw(st.sampled_from(["saga", "round", "later", "earlier"])):
            case "saga":
                saga_id = "s-2"
            case "round":
                round += 1
            case "later":
                attempt = work.attempt + 1
            case _:
                attempt = 0
    answer = draw(st.sampled_from([SUCCEEDED, REFUSED, Answer(Outcome.FAILED, "Busy")]))
    return reply_to(_key(step, direction, round, saga_id), attempt, answer)


def _verb(draw: st.DrawFn, run: Run) -> None:
    step = draw(st.sampled_from([*run.definition.steps]))
    if run.saga.stuck is not None and run.saga.stuck.step and draw(st.booleans()):
        step = run.saga.stuck.step
    match draw(st.sampled_from(["retry", "retry one", "skip", "resolve", "mend"])):
        case "retry":
            run.feed(RetryStuck("ann", "up again", run.verb_id()))
        case "retry one":
            run.feed(RetryStuck("ann", "up again", run.verb_id(), step))
        case "skip":
            run.feed(Skip("ann", "never mind", run.verb_id(), step))
        case "mend":
            run.built.broken.clear()
            run.feed(RetryStuck("ann", "mended", run.verb_id()))
        case _:
            run.resolve(step, draw(st.sampled_from(Direction)), draw(st.sampled_from(Outcome)))


# ── the fair end ─────────────────────────────────────────────────────────────────────────────────


def _finish(run: Run) -> None:
    """Let it come to its end: a world without faults, and an operator who knows what to do."""
    for _ in range(MAX_FAIR_ROUNDS):
        state = run.saga
        if state.closed is not None:
            return
        if state.stuck is not None:
            _help(run)
            continue
        asked = _open(run)
        for command in asked:
            run.feed(run.deliver(command, SUCCEEDED))
        if not asked:
            assert state.next_due is not None, "not closed, not stuck, and nothing will happen"
            run.now = max(run.now, state.next_due)
            run.feed(Tick())


def _open(run: Run) -> list[Command]:
    """The commands of the attempts in flight."""
    in_flight: list[Command] = []
    for name, own in run.saga.steps.items():
        for direction, work in ((Direction.DO, own.do), (Direction.UNDO, own.undo)):
            if work is not None and work.status is WorkStatus.STARTED:
                key, undoes = (
                    _key(name, direction, work.round),
                    _key(name, Direction.DO, own.do.round),
                )
                in_flight.append(Command(key, undoes, work.attempt))
    return in_flight


def _help(run: Run) -> None:
    """Retry; where that is refused, find out what became of it."""
    run.built.broken.clear()
    run.feed(RetryStuck("ann", "mended", run.verb_id()))
    stuck = run.saga.stuck
    if stuck is None:
        return
    assert stuck.step is not None, "it says where it is stuck"
    known = run.service.fence.get(_key(stuck.step, Direction.DO))
    done = known is not None and known.outcome is Outcome.SUCCEEDED
    outcome = Outcome.SUCCEEDED if done else Outcome.REFUSED
    turn = run.resolve(stuck.step, Direction.DO, outcome)
    assert turn.error is None, "what cannot be retried can be resolved"

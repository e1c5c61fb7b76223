"""What a history tells of the world outside: who answered what to which command, and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from typing import Final, NamedTuple

from es_saga.core.events import (
    CompensationIssued,
    SagaEvent,
    SagaHeld,
    StepRetried,
    StepStarted,
)
from es_saga.core.inputs import FromParent, Input, Reply, Tick
from es_saga.core.messages import CommandKey, Direction, Outcome, parse_command_id
from es_saga.core.state import SagaState, Sent, Work, WorkStatus
from es_saga.replay.again import Again
from es_saga.replay.inputs import TIMES, Kind
from es_saga.replay.replaying import Replay

LAST: Final = 2**63
"""The place of what is not on record, among what happens at the same time."""

Sending = StepStarted | StepRetried | CompensationIssued
SENDING: Final = (StepStarted, StepRetried, CompensationIssued)


class Attempt(NamedTuple):
    """One sending of a step's command, or of its undo."""

    step: str
    direction: Direction
    number: int


class Asked(NamedTuple):
    """When an attempt was sent, and what."""

    at: float
    sent: Sent


class Told(NamedTuple):
    """An answer, or an operator's verb."""

    version: int
    """Number of the event that came of it first."""
    at: float
    input: Input


class Away(NamedTuple):
    """Something was due, and nobody looked: timers are late, or the process manager was down."""

    since: float
    until: float
    version: int
    """The first event after that."""


class Record:
    """A history, as the world that it took place in."""

    def __init__(self, replay: Replay, again: Again) -> None:
        self.asked: dict[Attempt, Asked] = {}
        self.answers: defaultdict[Attempt, list[Told]] = defaultdict(list)
        self.silent: set[Attempt] = set()
        """Attempts that were waited for in vain, those of steps that ask nobody among them."""
        self.verbs: list[Told] = []
        """What operators did, and messages from outside; not how it began."""
        held = (event.at for event in replay.events if isinstance(event, SagaHeld))
        self.held: float | None = next(held, None)
        """When its steps were done, and its parent had not decided."""
        self.closing: Told | None = None
        """Its parent's decision that what was held may complete."""
        self._away: list[Away] = []
        first = _first_of_each_round(replay.events)
        inputs = [*again.inputs]
        inputs += [one.input or Tick() for one in replay.reactions[len(inputs) :]]
        for reaction, given in zip(replay.reactions, inputs, strict=True):
            state = replay.state_at(reaction.first - 1)
            due = state.next_due if state is not None else None
            if due is not None and due <= reaction.at:
                self._away.append(Away(due, reaction.at, reaction.first))
            if isinstance(given, Reply):
                key = given.key
                number = max(given.attempt, first.get(key, 1))  # a child names the first always
                attempt = Attempt(key.step, key.direction, number)
                self.answers[attempt].append(Told(reaction.first, reaction.at, given))
            elif isinstance(given, FromParent) and given.order == "close" and self.held is not None:
                self.closing = Told(reaction.first, reaction.at, given)
            elif reaction.first > 1 and not isinstance(given, Tick):
                self.verbs.append(Told(reaction.first, reaction.at, given))
        for moment in replay.moments:
            self._note(moment.event, moment.after)
            if moment.before is not None:
                self.silent.update(_given_up(moment.before, moment.after, moment.reaction.kind))

    def _note(self, event: SagaEvent, after: SagaState) -> None:
        attempt = attempt_of(event, after.waiting)
        if attempt is not None:
            self.asked[attempt] = Asked(event.at, sent_by(after, attempt))

    def looked_at(self, due: float) -> tuple[float, int]:
        """When a timer that is due then is looked at, and which event of the record came of it.

        At once, and after all that is on record for that moment, unless nobody was there.
        """
        covering = [away for away in self._away if away.since <= due <= away.until]
        return (covering[-1].until, covering[-1].version) if covering else (due, LAST)

    def settled(self, attempt: Attempt, round: int) -> tuple[Asked, Told] | None:
        """The answer that the participant remembers, to whichever attempt it gave it.

        What an operator has tried again is another command, of which it knows nothing.
        """
        for other, answers in self.answers.items():
            for answer in answers:
                if other[:2] == attempt[:2] and _definite(answer.input, round):
                    return self.asked[other], answer
        return None


def unasked(events: Sequence[SagaEvent]) -> frozenset[str]:
    """The steps that ask nobody: they wait, or are only expected."""
    begun = (event for event in events if isinstance(event, StepStarted))
    return frozenset(event.step for event in begun if event.expected or not event.to)


def attempt_of(event: SagaEvent, waits: Container[str]) -> Attempt | None:
    """The attempt that an event has sent; None: it sends nothing.

    Args:
        waits: steps that ask nobody; those that wait just then will do.
    """
    if not isinstance(event, SENDING) or event.step in waits:
        return None
    undo = isinstance(event, CompensationIssued)
    return Attempt(event.step, Direction.UNDO if undo else Direction.DO, event.attempt)


def work_of(state: SagaState, step: str, direction: Direction) -> Work | None:
    """One direction of a step; None: it was never asked for."""
    own = state.steps.get(step)
    if own is None:
        return None
    return own.do if direction is Direction.DO else own.undo


def sent_by(state: SagaState, attempt: Attempt) -> Sent:
    """The command of an attempt that is in flight."""
    work = work_of(state, attempt.step, attempt.direction)
    assert work is not None, "it was just sent"
    assert work.sent is not None, "it may have to be sent again"
    return work.sent


def _first_of_each_round(events: Sequence[SagaEvent]) -> dict[CommandKey, int]:
    """Number of the first attempt of each command, by the key that its answers name."""
    first: dict[CommandKey, int] = {}
    for event in events:
        if isinstance(event, SENDING):
            first.setdefault(parse_command_id(event.command_id), event.attempt)
    return first


def _definite(given: Input, round: int) -> bool:
    if not isinstance(given, Reply):
        return False
    return given.outcome is not Outcome.FAILED and given.key.round == round


def _given_up(before: SagaState, after: SagaState, kind: Kind) -> Iterator[Attempt]:
    """Attempts in flight that the passing of time, or an operator, put an end to."""
    if kind not in TIMES and kind is not Kind.VERB:
        return
    for name, own in before.steps.items():
        now = after.steps.get(name)
        if now is None or now is own:
            continue
        pairs: Sequence[tuple[Direction, Work | None, Work | None]] = (
            (Direction.DO, own.do, now.do),
            (Direction.UNDO, own.undo, now.undo),
        )
        for direction, was, work in pairs:
            if was is not None and was is not work and was.status is WorkStatus.STARTED:
                yield Attempt(name, direction, was.attempt)

"""A history read once, for all laws together: what was sent, what was answered, and when.

This is not `evolve`: it takes any sequence of events, in whatever order, and never raises. Indices
count events from 0; a law tells them to people, counted from 1, through `Violation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from es_saga.core.aggregate import evolve, start
from es_saga.core.compiled import StepKind
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    DeadlineExceeded,
    LateReplyNoted,
    OperatorCancelled,
    OperatorCompensated,
    OperatorEvent,
    OperatorResent,
    OperatorResolved,
    OperatorResumed,
    OperatorRetried,
    OperatorSkipped,
    Parent,
    ParentDecided,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaHeld,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    StepFailed,
    StepRefused,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.messages import Direction, Envelope, Outcome
from es_saga.core.policy import OnFailedUndo
from es_saga.core.state import GIVEN_UP, SagaState, WorkStatus
from es_saga.core.unfolding import as_it_went
from es_saga.testing.laws.deed import OPEN, Answer, Deed, Mark, Sending
from es_saga.testing.story import Effect, Story


class Stuck(NamedTuple):
    """A saga could not go on without a human, from one event to another; None: still."""

    begin: int
    step: str | None
    end: int | None


class Reading:
    """A story, ready to be judged."""

    def __init__(self, story: Story) -> None:
        self.definition = definition = as_it_went(story.definition, story.history)
        self.saga_id = story.saga_id
        self.history: Sequence[SagaEvent] = story.history
        self._story = story
        steps = definition.steps
        self.do = {name: Deed(step, undo=False) for name, step in steps.items()}
        self.undo = {name: Deed(step, undo=True) for name, step in steps.items()}
        self.pivot = self.do[definition.pivot] if definition.pivot else None
        self.sendings: list[tuple[int, Sending, Deed]] = []
        self.answers: list[tuple[int, Answer, Deed]] = []
        self.started: list[tuple[int, SagaStarted]] = []
        self.turned: list[tuple[int, CompensationStarted]] = []
        self.resumed: list[tuple[int, SagaResumed]] = []
        self.alarms: list[tuple[int, SagaStuck]] = []
        self.stuck: list[Stuck] = []
        self.late: list[tuple[int, LateReplyNoted]] = []
        self.deadlines: list[tuple[int, DeadlineExceeded]] = []
        self.operators: list[tuple[int, OperatorEvent]] = []
        self.ends: list[tuple[int, SagaCompleted | SagaCompensated]] = []
        self.held: list[int] = []
        self.decided: list[tuple[int, ParentDecided]] = []
        self.strangers: list[tuple[int, str]] = []
        """Steps that the definition does not have."""
        for index, event in enumerate(story.history):
            rule = _RULES.get(type(event))
            if rule is not None:
                rule(self, index, event)

    # ── what laws ask for ────────────────────────────────────────────────────────────────────────

    @property
    def length(self) -> int:
        """The number of events, and the index after the last one."""
        return len(self.history)

    @property
    def deeds(self) -> Iterator[Deed]:
        """All work, forward and back."""
        yield from self.do.values()
        yield from self.undo.values()

    @property
    def parent(self) -> Parent | None:
        """The step of another saga that it was begun by."""
        return self.started[0][1].parent if self.started else None

    @property
    def closed(self) -> int | None:
        """The first closing event."""
        return self.ends[0][0] if self.ends else None

    @property
    def end(self) -> SagaCompleted | SagaCompensated | None:
        """How it was closed."""
        return self.ends[0][1] if self.ends else None

    @property
    def first_undos(self) -> Iterator[tuple[int, Deed]]:
        """The first sending of each undo."""
        for deed in self.undo.values():
            if deed.sendings:
                yield deed.sendings[0][0], deed

    def held_before(self, index: int) -> bool:
        """Whether all its steps were done by then, and its parent had not decided."""
        return any(begin < index for begin in self.held) and not any(
            decided < index for decided, _ in self.decided
        )

    def went_past(self, name: str, index: int) -> bool:
        """Whether the way that a step is on had been given up when that event came."""
        return any(at < index and name in event.past for at, event in self.resumed)

    def pivots_at(self, index: int) -> Iterator[Mark]:
        """How the pivot stood when that event came, if it had begun on the way taken then."""
        for name, deed in self.do.items():
            mark = deed.before(index)
            pivot = deed.step.kind is StepKind.PIVOT
            if pivot and mark is not None and not self.went_past(name, index):
                yield mark

    def back_at(self, index: int) -> CompensationStarted | None:
        """What had turned it back when that event came; None: it went forward."""
        turns = [(at, event) for at, event in self.turned if at < index]
        on = max((at for at, _ in self.resumed if at < index), default=-1)
        return turns[-1][1] if turns and turns[-1][0] > on else None

    def takes_back(self, name: str, index: int) -> bool:
        """Whether the saga was on a way back, when that event came, that takes this step back."""
        back = self.back_at(index)
        return back is not None and (
            back.back_to is None or back.back_to in self.definition.steps[name].ancestors
        )

    def stuck_before(self, index: int) -> bool:
        """Whether it took a human when that event came."""
        return any(begin < index and (end is None or index <= end) for begin, _, end in self.stuck)

    def owed(self, name: str, index: int) -> bool:
        """Whether a step would have to be undone when that event came."""
        deed = self.do[name]
        return deed.step.undo is not None and deed.maybe(index)

    def dependents(self, name: str) -> Iterator[str]:
        """The steps that come after this one, directly or not, and are undone before it."""
        if self.definition.undo_order == "parallel":
            return
        for other, step in self.definition.steps.items():
            if name in step.ancestors:
                yield other

    def overtook(self, step: str, dependent: str) -> bool:
        """Whether an undo was issued because that of a dependent step had been given up.

        Policies A and C go on (R037, R039), so an operator may still have the other one done later.
        """
        issued = self.undo[step].begun
        if issued is None or self.definition.on_failed_undo is OnFailedUndo.HALT:
            return False
        return self.undo[dependent].status(issued) in (WorkStatus.FAILED, WorkStatus.REFUSED)

    @cached_property
    def excused(self) -> frozenset[str]:
        """Steps whose undo the saga says it owes, and those a human settled or waived.

        And holds whose confirm was: what nobody confirms expires at its participant.
        """
        by_hand = {
            e.step for _, e in self.operators if isinstance(e, OperatorResolved | OperatorSkipped)
        }
        by_hand |= {
            deed.step.confirms
            for name, deed in self.do.items()
            if name in by_hand and deed.step.confirms is not None
        }
        exceptions = self.end.exceptions if isinstance(self.end, SagaCompensated) else ()
        return frozenset(by_hand | {exception.step for exception in exceptions})

    @cached_property
    def changing(self) -> Sequence[str]:
        """Steps whose effects can be held against the saga: no checks, and none excused."""
        return [
            name
            for name, deed in self.do.items()
            if deed.step.kind not in (StepKind.CHECK, StepKind.WAIT) and name not in self.excused
        ]

    @cached_property
    def waits(self) -> frozenset[str]:
        """Steps that ask nobody."""
        return frozenset(name for name, deed in self.do.items() if deed.step.wait is not None)

    @cached_property
    def effects(self) -> Mapping[tuple[str, Direction], Sequence[tuple[int, Effect]]] | None:
        """This saga's effects by step and direction, numbered in the order of their commits."""
        if self._story.effects is None:
            return None
        found: dict[tuple[str, Direction], list[tuple[int, Effect]]] = {}
        for number, effect in enumerate(self._story.effects):
            if effect.saga_id == self.saga_id:
                found.setdefault((effect.step, effect.direction), []).append((number, effect))
        return found

    def effects_of(self, step: str, direction: Direction) -> Sequence[tuple[int, Effect]]:
        """The effects of one direction of one step; none where they were not observed."""
        return (self.effects or {}).get((step, direction), ())

    def net(self, step: str) -> int:
        """How often a step took effect, less how often it was undone."""
        return len(self.effects_of(step, Direction.DO)) - len(self.effects_of(step, Direction.UNDO))

    @cached_property
    def sent(self) -> Sequence[Envelope] | None:
        """This saga's commands, as they were published."""
        sent = self._story.sent
        if sent is None:
            return None
        return [one for one in sent if one.sagaid == self.saga_id and one.commandid is not None]

    @cached_property
    def states(self) -> tuple[list[SagaState], CorruptHistory | None]:
        """The state after each event, as far as the history can be folded, and what stopped it."""
        states: list[SagaState] = []
        first = self.history[0] if self.history else None
        if not isinstance(first, SagaStarted):
            return states, CorruptHistory(f"{type(first).__name__} begins no saga.")
        states.append(start(self.saga_id, first))
        try:
            for event in self.history[1:]:
                states.append(evolve(states[-1], event))
        except CorruptHistory as error:
            return states, error
        return states, None


def _free(reading: Reading, index: int, step: str | None = None) -> None:
    """It is stuck no more; with a step: if that is where it was stuck."""
    if reading.stuck and (last := reading.stuck[-1]).end is None and step in (None, last.step):
        reading.stuck[-1] = last._replace(end=index)


def _send(deeds: Mapping[str, Deed], reading: Reading, index: int, event: Sending) -> None:
    deed = deeds.get(event.step)
    if deed is None:
        reading.strangers.append((index, event.step))
        return
    deed.sendings.append((index, event))
    reading.sendings.append((index, event, deed))
    deed.marks.append(Mark(index, WorkStatus.STARTED, event.due, maybe=True))


def _on_sending(reading: Reading, index: int, event: StepStarted | StepRetried) -> None:
    _send(reading.do, reading, index, event)


def _on_undo(reading: Reading, index: int, event: CompensationIssued) -> None:
    _send(reading.undo, reading, index, event)


def _answer(deeds: Mapping[str, Deed], reading: Reading, index: int, event: Answer) -> Deed | None:
    deed = deeds.get(event.step)
    if deed is None:
        reading.strangers.append((index, event.step))
    else:
        deed.answers.append((index, event))
        reading.answers.append((index, event, deed))
    return deed


def _on_success(reading: Reading, index: int, event: StepSucceeded) -> None:
    _settle(reading, index, _answer(reading.do, reading, index, event), WorkStatus.SUCCEEDED)


def _on_refusal(reading: Reading, index: int, event: StepRefused) -> None:
    _settle(reading, index, _answer(reading.do, reading, index, event), WorkStatus.REFUSED)


def _on_undone(reading: Reading, index: int, event: CompensationSucceeded) -> None:
    _settle(reading, index, _answer(reading.undo, reading, index, event), WorkStatus.SUCCEEDED)


def _settle(reading: Reading, index: int, deed: Deed | None, status: WorkStatus) -> None:
    if deed is not None:
        deed.marks.append(Mark(index, status, maybe=status is WorkStatus.SUCCEEDED))
        _free(reading, index, deed.step.name)


def _on_failure(reading: Reading, index: int, event: StepFailed | StepTimedOut) -> None:
    deed = _answer(reading.do, reading, index, event)
    if deed is None:
        return
    deed.unanswered = deed.unanswered or isinstance(event, StepTimedOut)
    if event.retry_at is not None:
        deed.marks.append(Mark(index, WorkStatus.BACKOFF, event.retry_at, deed.unanswered))
    else:
        _give_up(deed, index)


def _give_up(deed: Deed, index: int) -> None:
    """Definite only if every attempt was answered (D08, D18)."""
    status = WorkStatus.UNKNOWN if deed.unanswered else WorkStatus.FAILED
    deed.marks.append(Mark(index, status, maybe=deed.unanswered))


def _on_undo_failure(reading: Reading, index: int, event: CompensationFailed) -> None:
    deed = _answer(reading.undo, reading, index, event)
    if deed is None:
        return
    status = WorkStatus.REFUSED if event.refused else WorkStatus.FAILED
    deed.marks.append(
        Mark(index, status if event.retry_at is None else WorkStatus.BACKOFF, event.retry_at)
    )


def _on_skip(reading: Reading, index: int, event: StepSkipped | OperatorSkipped) -> None:
    back = reading.back_at(index) and isinstance(event, OperatorSkipped)
    deed = (reading.undo if back else reading.do).get(event.step)
    if deed is None:
        reading.strangers.append((index, event.step))
    else:
        deed.marks.append(Mark(index, WorkStatus.SKIPPED))
    if isinstance(event, OperatorSkipped):
        _on_help(reading, index, event)


def _on_turn(reading: Reading, index: int, event: CompensationStarted) -> None:
    reading.turned.append((index, event))
    _free(reading, index)
    for deed in reading.do.values():
        if deed.step.wait is not None:
            if deed.last in OPEN:  # nobody waits any more
                deed.marks.append(Mark(index, WorkStatus.SKIPPED))
        elif deed.last is WorkStatus.BACKOFF:  # it will not get its next attempt
            _give_up(deed, index)


def _on_alarm(reading: Reading, index: int, event: SagaStuck) -> None:
    reading.alarms.append((index, event))
    if not reading.stuck or reading.stuck[-1].end is not None:
        reading.stuck.append(Stuck(index, event.step, None))


def _on_operator(reading: Reading, index: int, event: OperatorEvent) -> None:
    reading.operators.append((index, event))


def _on_help(
    reading: Reading, index: int, event: OperatorRetried | OperatorSkipped | OperatorResolved
) -> None:
    """What only a stuck saga needs: after it, it is not stuck any more."""
    _on_operator(reading, index, event)
    _free(reading, index)


def _on_resume(reading: Reading, index: int, event: OperatorResumed) -> None:
    """Another attempt is due; or a function is called again, which is where it was stuck."""
    _on_operator(reading, index, event)
    deed = _deed(reading, index, event)
    if deed is not None and deed.last is WorkStatus.BACKOFF:
        deed.marks.append(Mark(index, WorkStatus.BACKOFF, event.at, deed.marks[-1].maybe))
    else:
        _free(reading, index, event.step)


def _on_resending(reading: Reading, index: int, event: OperatorResent) -> None:
    """Nobody waits for the attempt any more; it may have been done."""
    _on_operator(reading, index, event)
    deed = _deed(reading, index, event)
    if deed is not None:
        deed.unanswered = deed.unanswered or not deed.undo
        deed.marks.append(Mark(index, WorkStatus.BACKOFF, event.at, deed.unanswered))


def _deed(reading: Reading, index: int, event: OperatorResumed | OperatorResent) -> Deed | None:
    deeds = reading.do if event.direction is Direction.DO else reading.undo
    if event.step not in deeds:
        reading.strangers.append((index, event.step))
    return deeds.get(event.step)


def _on_retry(reading: Reading, index: int, event: OperatorRetried) -> None:
    for deed in (reading.undo if reading.back_at(index) else reading.do).values():
        if deed.step.past and reading.went_past(deed.step.name, index):
            continue
        if event.step in (None, deed.step.name) and deed.last in GIVEN_UP:
            deed.marks.append(Mark(index, WorkStatus.BACKOFF, event.at, deed.unanswered))
    _on_help(reading, index, event)


def _on_resolution(reading: Reading, index: int, event: OperatorResolved) -> None:
    deeds = reading.do if event.direction is Direction.DO else reading.undo
    if event.step not in deeds:
        reading.strangers.append((index, event.step))
    done = event.outcome is Outcome.SUCCEEDED
    status = WorkStatus.SUCCEEDED if done else WorkStatus.REFUSED
    _settle(reading, index, deeds.get(event.step), status)
    _on_help(reading, index, event)


_RULES: dict[type[SagaEvent], Callable[[Reading, int, Any], None]] = {
    SagaResumed: lambda reading, index, event: reading.resumed.append((index, event)),
    SagaStarted: lambda reading, index, event: reading.started.append((index, event)),
    StepStarted: _on_sending,
    StepRetried: _on_sending,
    StepSucceeded: _on_success,
    StepRefused: _on_refusal,
    StepFailed: _on_failure,
    StepTimedOut: _on_failure,
    StepSkipped: _on_skip,
    CompensationStarted: _on_turn,
    CompensationIssued: _on_undo,
    CompensationSucceeded: _on_undone,
    CompensationFailed: _on_undo_failure,
    SagaHeld: lambda reading, index, _: reading.held.append(index),
    ParentDecided: lambda reading, index, event: reading.decided.append((index, event)),
    SagaCompleted: lambda reading, index, event: reading.ends.append((index, event)),
    SagaCompensated: lambda reading, index, event: reading.ends.append((index, event)),
    SagaStuck: _on_alarm,
    LateReplyNoted: lambda reading, index, event: reading.late.append((index, event)),
    DeadlineExceeded: lambda reading, index, event: reading.deadlines.append((index, event)),
    OperatorRetried: _on_retry,
    OperatorSkipped: _on_skip,
    OperatorResolved: _on_resolution,
    OperatorCancelled: _on_operator,
    OperatorCompensated: _on_operator,
    OperatorResumed: _on_resume,
    OperatorResent: _on_resending,
}

"""What is noted of a history in one pass: what was sent, how it was answered, what else happened.

This is not `evolve`: it takes any sequence of events, in whatever order, and never raises. Indices
count events from 0; a law tells them to people, counted from 1, through `Violation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from es_saga.core.compiled import Definition
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
from es_saga.core.messages import Direction, Outcome
from es_saga.core.state import GIVEN_UP, WorkStatus
from es_saga.testing.laws.deed import OPEN, Answer, Deed, Mark, Sending


class Stuck(NamedTuple):
    """A saga could not go on without a human, from one event to another; None: still."""

    begin: int
    step: str | None
    end: int | None


class Notes:
    """All deeds of a saga, and, kind by kind, the events that decide about it as a whole."""

    def __init__(self, definition: Definition, history: Sequence[SagaEvent]) -> None:
        self.definition = definition
        self.history = history
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
        for index, event in enumerate(history):
            rule = _RULES.get(type(event))
            if rule is not None:
                rule(self, index, event)

    def deeds_of(self, direction: Direction) -> Mapping[str, Deed]:
        """The deeds of one direction, by step."""
        return self.do if direction is Direction.DO else self.undo

    def went_past(self, name: str, index: int) -> bool:
        """Whether the way that a step is on had been given up when that event came."""
        return any(at < index and name in event.past for at, event in self.resumed)

    def back_at(self, index: int) -> CompensationStarted | None:
        """What had turned it back when that event came; None: it went forward."""
        turns = [(at, event) for at, event in self.turned if at < index]
        on = max((at for at, _ in self.resumed if at < index), default=-1)
        return turns[-1][1] if turns and turns[-1][0] > on else None


def _free(notes: Notes, index: int, step: str | None = None) -> None:
    """It is stuck no more; with a step: if that is where it was stuck."""
    if notes.stuck and (last := notes.stuck[-1]).end is None and step in (None, last.step):
        notes.stuck[-1] = last._replace(end=index)


def _deed(deeds: Mapping[str, Deed], notes: Notes, index: int, step: str) -> Deed | None:
    """What an event is about; a step that the definition does not have is noted as a stranger."""
    deed = deeds.get(step)
    if deed is None:
        notes.strangers.append((index, step))
    return deed


def _send(deeds: Mapping[str, Deed], notes: Notes, index: int, event: Sending) -> None:
    deed = _deed(deeds, notes, index, event.step)
    if deed is None:
        return
    deed.sendings.append((index, event))
    notes.sendings.append((index, event, deed))
    deed.marks.append(Mark(index, WorkStatus.STARTED, event.due, maybe=True))


def _on_sending(notes: Notes, index: int, event: StepStarted | StepRetried) -> None:
    _send(notes.do, notes, index, event)


def _on_undo(notes: Notes, index: int, event: CompensationIssued) -> None:
    _send(notes.undo, notes, index, event)


def _answer(deeds: Mapping[str, Deed], notes: Notes, index: int, event: Answer) -> Deed | None:
    deed = _deed(deeds, notes, index, event.step)
    if deed is not None:
        deed.answers.append((index, event))
        notes.answers.append((index, event, deed))
    return deed


def _on_success(notes: Notes, index: int, event: StepSucceeded) -> None:
    _settle(notes, index, _answer(notes.do, notes, index, event), WorkStatus.SUCCEEDED)


def _on_refusal(notes: Notes, index: int, event: StepRefused) -> None:
    _settle(notes, index, _answer(notes.do, notes, index, event), WorkStatus.REFUSED)


def _on_undone(notes: Notes, index: int, event: CompensationSucceeded) -> None:
    _settle(notes, index, _answer(notes.undo, notes, index, event), WorkStatus.SUCCEEDED)


def _settle(notes: Notes, index: int, deed: Deed | None, status: WorkStatus) -> None:
    if deed is not None:
        deed.marks.append(Mark(index, status, maybe=status is WorkStatus.SUCCEEDED))
        _free(notes, index, deed.step.name)


def _on_failure(notes: Notes, index: int, event: StepFailed | StepTimedOut) -> None:
    deed = _answer(notes.do, notes, index, event)
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


def _on_undo_failure(notes: Notes, index: int, event: CompensationFailed) -> None:
    deed = _answer(notes.undo, notes, index, event)
    if deed is None:
        return
    status = WorkStatus.REFUSED if event.refused else WorkStatus.FAILED
    deed.marks.append(
        Mark(index, status if event.retry_at is None else WorkStatus.BACKOFF, event.retry_at)
    )


def _on_skip(notes: Notes, index: int, event: StepSkipped | OperatorSkipped) -> None:
    back = notes.back_at(index) and isinstance(event, OperatorSkipped)
    deed = _deed(notes.undo if back else notes.do, notes, index, event.step)
    if deed is not None:
        deed.marks.append(Mark(index, WorkStatus.SKIPPED))
    if isinstance(event, OperatorSkipped):
        _on_help(notes, index, event)


def _on_turn(notes: Notes, index: int, event: CompensationStarted) -> None:
    notes.turned.append((index, event))
    _free(notes, index)
    for deed in notes.do.values():
        if deed.step.wait is not None:
            if deed.last in OPEN:  # nobody waits any more
                deed.marks.append(Mark(index, WorkStatus.SKIPPED))
        elif deed.last is WorkStatus.BACKOFF:  # it will not get its next attempt
            _give_up(deed, index)
        elif deed.step.name in event.left:
            deed.unanswered = True
            _give_up(deed, index)


def _on_alarm(notes: Notes, index: int, event: SagaStuck) -> None:
    notes.alarms.append((index, event))
    if not notes.stuck or notes.stuck[-1].end is not None:
        notes.stuck.append(Stuck(index, event.step, None))


def _on_operator(notes: Notes, index: int, event: OperatorEvent) -> None:
    notes.operators.append((index, event))


def _on_help(
    notes: Notes, index: int, event: OperatorRetried | OperatorSkipped | OperatorResolved
) -> None:
    """What only a stuck saga needs: after it, it is not stuck any more."""
    _on_operator(notes, index, event)
    _free(notes, index)


def _on_resume(notes: Notes, index: int, event: OperatorResumed) -> None:
    """Another attempt is due; or a function is called again, which is where it was stuck."""
    _on_operator(notes, index, event)
    deed = _deed(notes.deeds_of(event.direction), notes, index, event.step)
    if deed is not None and deed.last is WorkStatus.BACKOFF:
        deed.marks.append(Mark(index, WorkStatus.BACKOFF, event.at, deed.marks[-1].maybe))
    else:
        _free(notes, index, event.step)


def _on_resending(notes: Notes, index: int, event: OperatorResent) -> None:
    """Nobody waits for the attempt any more; it may have been done."""
    _on_operator(notes, index, event)
    deed = _deed(notes.deeds_of(event.direction), notes, index, event.step)
    if deed is not None:
        deed.unanswered = deed.unanswered or not deed.undo
        deed.marks.append(Mark(index, WorkStatus.BACKOFF, event.at, deed.unanswered))


def _on_retry(notes: Notes, index: int, event: OperatorRetried) -> None:
    for deed in (notes.undo if notes.back_at(index) else notes.do).values():
        if deed.step.past and notes.went_past(deed.step.name, index):
            continue
        if event.step in (None, deed.step.name) and deed.last in GIVEN_UP:
            deed.marks.append(Mark(index, WorkStatus.BACKOFF, event.at, deed.unanswered))
    _on_help(notes, index, event)


def _on_resolution(notes: Notes, index: int, event: OperatorResolved) -> None:
    deed = _deed(notes.deeds_of(event.direction), notes, index, event.step)
    done = event.outcome is Outcome.SUCCEEDED
    status = WorkStatus.SUCCEEDED if done else WorkStatus.REFUSED
    _settle(notes, index, deed, status)
    _on_help(notes, index, event)


_RULES: dict[type[SagaEvent], Callable[[Notes, int, Any], None]] = {
    SagaResumed: lambda notes, index, event: notes.resumed.append((index, event)),
    SagaStarted: lambda notes, index, event: notes.started.append((index, event)),
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
    SagaHeld: lambda notes, index, _: notes.held.append(index),
    ParentDecided: lambda notes, index, event: notes.decided.append((index, event)),
    SagaCompleted: lambda notes, index, event: notes.ends.append((index, event)),
    SagaCompensated: lambda notes, index, event: notes.ends.append((index, event)),
    SagaStuck: _on_alarm,
    LateReplyNoted: lambda notes, index, event: notes.late.append((index, event)),
    DeadlineExceeded: lambda notes, index, event: notes.deadlines.append((index, event)),
    OperatorRetried: _on_retry,
    OperatorSkipped: _on_skip,
    OperatorResolved: _on_resolution,
    OperatorCancelled: _on_operator,
    OperatorCompensated: _on_operator,
    OperatorResumed: _on_resume,
    OperatorResent: _on_resending,
}

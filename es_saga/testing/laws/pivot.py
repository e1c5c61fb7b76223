"""The pivot, and the direction of recovery (laws L11 to L17)."""

from __future__ import annotations

from collections.abc import Iterator

from es_saga.core.compiled import StepKind
from es_saga.core.events import (
    CompensationIssued,
    CompensationStarted,
    OperatorCancelled,
    OperatorCompensated,
    SagaCompensated,
    SagaEvent,
    StepStarted,
)
from es_saga.core.state import GIVEN_UP, WorkStatus
from es_saga.testing.laws.deed import Deed
from es_saga.testing.laws.law import Found, law, operated, pivot_begun
from es_saga.testing.laws.reading import Reading


@law("L11")
def kinds_read_compensatable_pivot_retriable(reading: Reading) -> Iterator[Found]:
    """A path reads compensatable*, at most one pivot, retriable* (FT, R046).

    So each step is before the pivot or after it, and only what is before it has an undo.
    """
    steps = {n: step for n, step in reading.definition.steps.items() if not step.past}
    pivots = [step.name for step in steps.values() if step.kind is StepKind.PIVOT]
    if len(pivots) > 1:
        yield None, f"there are several pivots: {', '.join(pivots)}"
    pivot = pivots[0] if pivots else None
    # Where there is none, as in a `Tcc`, what can only be retried comes after all else.
    gate = {one for one, step in steps.items() if step.kind is not StepKind.RETRIABLE}
    for name, step in steps.items():
        after = gate <= step.ancestors if pivot is None else pivot in step.ancestors
        if step.kind is StepKind.RETRIABLE and not after:
            yield None, f"{name} can only be retried, and comes before the pivot"
        if step.kind is StepKind.COMPENSATABLE and after:
            yield None, f"{name} comes after the pivot {pivot} and is to be undone"
        if (step.kind is StepKind.COMPENSATABLE) != (step.undo is not None):
            yield None, f"{name} is {step.kind}, and has {'an' if step.undo else 'no'} undo"
        if pivot not in (None, name) and not after and name not in steps[pivot].ancestors:
            yield None, f"{name} is neither before the pivot {pivot} nor after it"


@law("L12", pivot_begun)
def nothing_is_undone_after_the_pivot(reading: Reading) -> Iterator[Found]:
    """After the pivot no undo is issued: the saga completes or waits for a human (FT, R046)."""
    for index, event in _turning(reading):
        if _pivot(reading).status(index) is WorkStatus.SUCCEEDED:
            yield index, f"{type(event).__name__} after the pivot {_pivot(reading).name} succeeded"


def _pivot(reading: Reading) -> Deed:
    assert reading.pivot is not None, "the law applies where one was begun"
    return reading.pivot


def _turning(reading: Reading) -> Iterator[tuple[int, SagaEvent]]:
    """The events that lead a saga back."""
    for index, event in enumerate(reading.history):
        if isinstance(event, CompensationStarted | CompensationIssued | SagaCompensated):
            yield index, event


@law("L13", pivot_begun)
def what_follows_the_pivot_is_retried_or_escalated(reading: Reading) -> Iterator[Found]:
    """A failing retriable step is retried or escalated, never answered with undo (FT)."""
    for name, deed in reading.do.items():
        if not _follows_pivot(reading, deed):
            continue
        for index, event in reading.turned:
            if event.step == name:
                yield index, f"{name} comes after the pivot, and its failure turned the saga back"
        ends = [*(mark.event for mark in deed.marks[1:]), reading.length]
        for mark, end in zip(deed.marks, ends, strict=False):  # no marks, and one end
            if mark.status in GIVEN_UP and not _stuck_within(reading, mark.event, end):
                yield mark.event, f"{name} was given up after the pivot, and no human was called"


def _follows_pivot(reading: Reading, deed: Deed) -> bool:
    return reading.pivot is not None and reading.pivot.name in deed.step.ancestors


def _stuck_within(reading: Reading, begin: int, end: int) -> bool:
    """Whether it took a human at some time between two events."""
    return any(s.begin < end and (s.end is None or s.end > begin) for s in reading.stuck)


@law("L14", pivot_begun)
def nothing_retriable_before_the_pivot(reading: Reading) -> Iterator[Found]:
    """No retriable step is dispatched before the pivot succeeded (FT)."""
    for deed in reading.do.values():
        if deed.begun is None or not _follows_pivot(reading, deed):
            continue
        if _pivot(reading).status(deed.begun) is not WorkStatus.SUCCEEDED:
            yield deed.begun, f"{deed.name} was sent before the pivot had succeeded"


@law("L15", pivot_begun)
def an_unknown_pivot_stops_both_directions(reading: Reading) -> Iterator[Found]:
    """While the pivot's outcome is unknown neither direction moves (FT, TCC)."""
    for index, event in enumerate(reading.history):
        if isinstance(event, CompensationStarted | CompensationIssued | StepStarted):
            mark = _pivot(reading).before(index)
            if mark is not None and mark.maybe and mark.status is not WorkStatus.SUCCEEDED:
                pivot = _pivot(reading).name
                yield index, f"{type(event).__name__} while the outcome of {pivot} was not known"


@law("L17", operated)
def a_cancel_undoes_before_the_pivot_and_is_refused_after(reading: Reading) -> Iterator[Found]:
    """A cancel before the pivot leads to full undo; after it, it is refused with a reason (LRA).

    While the pivot is under way it may be refused too; whether it may turn back is L15's matter.
    An operator's undo is refused without a record: what is recorded was done.
    """
    for index, event in reading.operators:
        if not isinstance(event, OperatorCancelled | OperatorCompensated):
            continue
        mark = next(reading.pivots_at(index), None)
        passed = (mark is not None and mark.status is WorkStatus.SUCCEEDED) or any(
            deed.step.confirms is not None and deed.before(index) is not None
            for deed in reading.do.values()
        )
        if isinstance(event, OperatorCompensated) or event.refused is None:
            what = "a cancel" if isinstance(event, OperatorCancelled) else "an operator's undo"
            if passed:
                yield index, f"{what} was accepted after the pivot had succeeded"
            elif index + 1 not in (turn for turn, _ in reading.turned):
                yield index, f"{what} was accepted, and nothing was undone"
        elif not event.refused.strip():
            yield index, "a cancel was refused without a reason"
        elif passed or reading.held_before(index):
            continue
        elif mark is None or mark.status in (WorkStatus.REFUSED, WorkStatus.FAILED):
            yield index, f"a cancel was refused though nothing had passed: {event.refused}"

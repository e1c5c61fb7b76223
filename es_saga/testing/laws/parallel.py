"""Branches beside each other, and undos as wholes (laws L56 to L62)."""

from __future__ import annotations

from collections.abc import Iterator

from es_saga.core.events import StepStarted, StepSucceeded
from es_saga.core.messages import Direction
from es_saga.core.state import WorkStatus
from es_saga.testing.laws.deed import OPEN
from es_saga.testing.laws.law import Found, asked, compensated, effects_seen, law, undone
from es_saga.testing.laws.reading import Reading


@law("L56", undone)
def nothing_is_undone_while_a_branch_is_in_flight(reading: Reading) -> Iterator[Found]:
    """When a branch fails its siblings are awaited, and every effect of theirs is undone (CAL).

    So no undo is issued while a step is in flight: its answer decides what is owed.
    """
    for index, deed in reading.first_undos:
        for other in reading.do.values():
            if other.status(index) is WorkStatus.STARTED:
                yield index, f"{deed.name} was issued while {other.name} was in flight"


@law("L57", undone)
def the_undo_of_a_whole_is_the_reverse_of_its_parts(reading: Reading) -> Iterator[Found]:
    """Undo of a composite is the reversed, or parallel, composition of its parts' undos (CAL).

    One after the other where the steps were, and side by side where they were side by side: what
    waits for no other undo is not kept waiting. On the way back to a save-point that is what came
    after it, and once the saga goes on from there it is nothing.
    """
    for deed in reading.undo.values():
        done = next((m.event for m in deed.marks if m.status is WorkStatus.SUCCEEDED), None)
        if done is None:
            continue
        for other in reading.dependents(deed.step.name):
            if _unsettled(reading, other, done):
                yield done, f"{deed.name} succeeded before the undo of {other}, which depends on it"
    if reading.ends or reading.stuck_before(reading.length) or _in_flight(reading):
        return
    end = reading.length
    unsettled = [
        name
        for name in reading.do
        if reading.takes_back(name, end) and _unsettled(reading, name, end)
    ]
    for name in unsettled:
        free = not any(other in unsettled for other in reading.dependents(name))
        if free and reading.undo[name].begun is None and not _needs_a_human(reading, name):
            yield end - 1, f"the undo of {name} waits for nothing, and was not issued"


def _in_flight(reading: Reading) -> bool:
    return any(deed.last is WorkStatus.STARTED for deed in reading.do.values())


def _unsettled(reading: Reading, name: str, index: int) -> bool:
    """Its undo was owed when that event came, and not yet issued or under way."""
    status = reading.undo[name].status(index)
    return reading.owed(name, index) and (status is None or status in OPEN)


def _needs_a_human(reading: Reading, name: str) -> bool:
    """Its undo cannot be built before somebody has found out whether it was done."""
    deed = reading.do[name]
    undo = deed.step.undo
    blind = undo is not None and undo.accepts_unknown and deed.step.on_unknown == "undo"
    return deed.last is WorkStatus.UNKNOWN and not blind


@law("L58", compensated, effects_seen)
def doing_and_undoing_leave_what_was_there(reading: Reading) -> Iterator[Found]:
    """A step list and then its whole undo leave the business state as it was (CAL, GS87).

    Except what the saga says it still owes.
    """
    for name in reading.changing:
        if net := reading.net(name):
            yield reading.closed, f"everything was undone, and the net effect of {name} is {net}"


@law("L61", undone)
def an_undo_is_not_undone(reading: Reading) -> Iterator[Found]:
    """An undo is itself not undone (GS87): its step is not done once more, nor taken as done."""
    for issued, undo in reading.first_undos:
        deed = reading.do[undo.step.name]
        for index, _ in deed.sendings:
            if index > issued:
                yield index, f"{deed.name} was sent after its undo, event {issued + 1}"
        for index, event in deed.answers:
            if index > issued and isinstance(event, StepSucceeded):
                yield index, f"{deed.name} was taken as done after its undo, event {issued + 1}"
    undos = {event.command_id for _, event, deed in reading.sendings if deed.undo}
    for envelope in reading.sent or ():
        if envelope.undoes in undos:
            yield None, f"{envelope.id} undoes {envelope.undoes}, which is an undo"


@law("L62", asked)
def a_step_is_enlisted_once(reading: Reading) -> Iterator[Found]:
    """Enlisting the same participant twice in one saga has the effect of once (LRA)."""
    for name, deed in reading.do.items():
        starts = [index for index, event in deed.sendings if isinstance(event, StepStarted)]
        for index in starts[1:]:
            yield index, f"{name} was started already, in event {starts[0] + 1}"
        if (times := len(reading.effects_of(name, Direction.DO))) > 1:
            yield None, f"{name} took effect {times} times"

"""Sagas that other sagas run (laws L59 and L60)."""

from __future__ import annotations

from collections.abc import Iterator

from es_saga.core.events import (
    DeadlineExceeded,
    OperatorCancelled,
    OperatorCompensated,
    SagaCompensated,
    SagaCompleted,
)
from es_saga.core.state import GIVEN_UP
from es_saga.testing.laws.law import law
from es_saga.testing.laws.reading import Reading
from es_saga.testing.laws.system import Overview, SystemFound


def families(seen: Overview) -> Iterator[tuple[Reading, str, Reading]]:
    """Every saga that runs another, the step that does, and the other one."""
    readings = {reading.saga_id: reading for reading in seen.readings}
    for child in seen.readings:
        if child.parent is not None and child.parent.saga_id in readings:
            parts = child.parent.command_id.split("/")
            yield readings[parts[0]], parts[1] if len(parts) > 1 else "", child


def nested(seen: Overview) -> object:
    """A saga runs another."""
    return any(families(seen))


def turned_by_hand(seen: Overview) -> object:
    """An operator turned back a saga that another one runs."""
    return any(_by_hand(child) for _, _, child in families(seen))


def _by_hand(reading: Reading) -> bool:
    return any(
        isinstance(event, OperatorCompensated)
        or (isinstance(event, OperatorCancelled) and event.refused is None)
        for _, event in reading.operators
    )


@law("L59", nested)
def a_child_can_be_undone_until_its_parent_ends(seen: Overview) -> Iterator[SystemFound]:
    """A closed nested saga stays undoable until its parent ends, and is undone with it (LRA).

    Once its steps are done it is held: only its parent has it complete or undone. What a human
    waived in the parent is not counted.
    """
    for parent, step, child in families(seen):
        if child.parent is None or not child.parent.undoable:
            continue
        told = {event.command_id for _, event, _ in parent.sendings}
        for index, decided in child.decided:
            if decided.command_id not in told:
                yield child.saga_id, index, f"{parent.saga_id} never sent {decided.command_id}"
        for index, end in child.ends:
            closed = any(at < index and decided.close for at, decided in child.decided)
            if isinstance(end, SagaCompleted) and not closed:
                yield child.saga_id, index, f"it completed, and {parent.saga_id} had not let it"
        for index, _ in child.turned:
            if child.held_before(index):
                yield child.saga_id, index, f"it was turned back while {parent.saga_id} held it"
        if parent.end is None or step in parent.excused:
            continue
        if child.held_before(child.length):
            yield child.saga_id, None, f"it is held, and {parent.saga_id} has ended"
        elif isinstance(parent.end, SagaCompensated) and isinstance(child.end, SagaCompleted):
            yield child.saga_id, None, f"it completed, and {parent.saga_id} was undone"


@law("L60", turned_by_hand)
def a_cancelled_child_does_not_cancel_its_parent(seen: Overview) -> Iterator[SystemFound]:
    """Cancelling a nested saga does not by itself cancel its parent (LRA).

    The parent is answered with a refusal, and goes by its own rules; or it is turned back by its
    operator, its deadline, or a parent of its own.
    """
    for parent, step, child in families(seen):
        deed = parent.do.get(step)
        for index, turned in parent.turned if _by_hand(child) else ():
            if turned.step is None and not _asked_to_turn(parent, index):
                yield parent.saga_id, index, "it was turned back, and nobody had asked for it"
            elif turned.step == step and deed is not None and deed.status(index) not in GIVEN_UP:
                yield parent.saga_id, index, f"it was turned back before {step} was answered"


def _asked_to_turn(reading: Reading, index: int) -> bool:
    """Somebody asked for it; or it was on its way back to a save-point, which it did not reach."""
    if reading.back_at(index) is not None:
        return True
    before = reading.history[index - 1] if index else None
    decided = any(at == index - 1 for at, _ in reading.decided)
    return decided or isinstance(before, OperatorCancelled | OperatorCompensated | DeadlineExceeded)

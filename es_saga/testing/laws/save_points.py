"""Save-points (law L16)."""

from __future__ import annotations

from collections.abc import Iterator

from es_saga.core.events import SagaResumed
from es_saga.core.state import WorkStatus
from es_saga.testing.laws.law import Found, law
from es_saga.testing.laws.reading import Reading


def resumed(reading: Reading) -> object:
    """The saga went on from a save-point, or was on its way back to one."""
    return any(event.back_to for _, event in reading.turned)


@law("L16", resumed)
def recovery_stops_at_the_save_point(reading: Reading) -> Iterator[Found]:
    """Backward recovery stops there; forward recovery does again only what comes after (GS87)."""
    for index, deed in reading.first_undos:
        back = reading.back_at(index)
        if back and back.back_to and back.back_to not in deed.step.ancestors:
            yield index, f"{deed.name} was issued on the way back to {back.back_to} only"
    for index, event in reading.resumed:
        back = reading.back_at(index)
        if back is None or back.back_to != event.save_point:
            yield index, f"it went on from {event.save_point}, and was not on its way there"
        for name, undo in reading.undo.items():
            owed = event.save_point in undo.step.ancestors and reading.owed(name, index)
            if owed and undo.status(index) is not WorkStatus.SUCCEEDED:
                yield index, f"it went on, and {undo.name} had not succeeded"
        until = _given_up(reading, index, event)
        for sent, _, deed in reading.sendings:
            later = index < sent < until and not deed.undo
            if later and event.save_point not in deed.step.ancestors:
                yield sent, f"{deed.name} was sent again, and comes before {event.save_point}"


def _given_up(reading: Reading, index: int, resumed: SagaResumed) -> int:
    """When the save-point itself became part of a way that was given up, if it did."""
    others = (
        at for at, event in reading.resumed if at > index and resumed.save_point in event.past
    )
    return next(others, reading.length)

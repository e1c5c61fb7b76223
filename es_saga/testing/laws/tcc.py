"""Try, confirm, cancel (laws L71 to L73)."""

from __future__ import annotations

from collections.abc import Iterator

from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    StepTimedOut,
)
from es_saga.core.messages import Direction
from es_saga.testing.laws.deed import DONE, Deed, by_timer
from es_saga.testing.laws.law import Found, effects_seen, law
from es_saga.testing.laws.reading import Reading


def holds(reading: Reading) -> object:
    """It has holds, which are confirmed or cancelled."""
    return any(confirms(reading))


def confirms(reading: Reading) -> Iterator[tuple[str, Deed]]:
    """Each hold, and what confirms it."""
    for deed in reading.do.values():
        if deed.step.confirms is not None:
            yield deed.step.confirms, deed


@law("L71", holds)
def all_is_confirmed_or_all_is_cancelled(reading: Reading) -> Iterator[Found]:
    """Confirm runs only if all tries succeeded; otherwise all that may be held is cancelled (TCC).

    So after the first confirm nothing is cancelled any more; and before it, unless a parent has
    decided, no hold may be older than it lasts, for then one might be refused. A child saga that
    its parent goes on without, by a condition, a quorum or another way, is no try.
    """
    committed = reading.length
    for _, confirm in confirms(reading):
        if confirm.begun is None:
            continue
        committed = min(committed, confirm.begun)
        for hold, _ in confirms(reading):
            given_up = reading.do[hold].step.past  # there is no way back behind a confirm
            if not given_up and reading.do[hold].status(confirm.begun) not in DONE:
                yield confirm.begun, f"{confirm.name} was sent, and {hold} had not succeeded"
            elif not reading.decided and _outlived(reading, reading.do[hold], confirm.begun):
                yield confirm.begun, f"{confirm.name} was sent, and {hold} may have expired"
    for index, event in enumerate(reading.history):
        if index > committed and isinstance(event, CompensationStarted | CompensationIssued):
            yield index, f"{type(event).__name__} after the first confirm was sent"
    closed = reading.closed
    if closed is not None and committed == reading.length:
        for hold, _ in confirms(reading):
            if reading.owed(hold, closed) and not reading.undo[hold].marks:
                yield closed, f"{hold} may be held, and was neither confirmed nor cancelled"


def _outlived(reading: Reading, hold: Deed, index: int) -> bool:
    """Whether it was asked for so long before that it may be gone."""
    if hold.step.expires is None:
        return False  # a child saga
    assert hold.begun is not None, "it has succeeded"
    return reading.history[index].at - reading.history[hold.begun].at >= hold.step.expires


@law("L72", holds, effects_seen)
def one_hold_is_not_confirmed_and_cancelled(reading: Reading) -> Iterator[Found]:
    """For one key confirm and cancel never both take effect (TCC).

    What expires is cancelled by its own participant, so the same holds of that.
    """
    for hold, confirm in confirms(reading):
        confirmed = reading.effects_of(confirm.step.name, Direction.DO)
        if confirmed and reading.effects_of(hold, Direction.UNDO):
            yield None, f"{hold} was both confirmed and cancelled"


@law("L73", holds)
def confirms_and_cancels_are_asked_for_until_done(reading: Reading) -> Iterator[Found]:
    """Confirm and cancel are retried until they succeed (TCC).

    A participant may say that another attempt is not worth it; that none answers is no reason.
    """
    confirming = {confirm.step.name for _, confirm in confirms(reading)}
    cancelling = {hold for hold, _ in confirms(reading)}
    for index, event, deed in reading.answers:
        if not (by_timer(event) and isinstance(event, StepTimedOut | CompensationFailed)):
            continue
        if event.step in (cancelling if deed.undo else confirming) and event.retry_at is None:
            yield index, f"{deed.name} was given up because nobody answered"

"""Undos that fail, and operators: broken (L30 to L37)."""

from __future__ import annotations

from datetime import timedelta

from es_saga.core.messages import Direction
from es_saga.core.policy import OnFailedUndo, Retry
from tests.core.sagas import TWICE, beside, chain, with_pivot
from tests.testing.broken import broken
from tests.testing.told import Told

_ONE = chain("a", undo_retry=TWICE)
_EVEN = chain("a", retry=Retry(attempts=4, first=timedelta(seconds=2), coefficient=1, jitter=0.5))
_FINAL = chain("a", retry=Retry(never=("Busy",)))


def _owing(on_failed_undo: OnFailedUndo = OnFailedUndo.ESCALATE) -> Told:
    """Two steps are to be undone."""
    saga = chain("a", "b", "c", on_failed_undo=on_failed_undo)
    return Told(saga).do("a").ok("a").do("b").ok("b").do("c").no("c").back()


def _branches() -> Told:
    """Two steps are to be undone, side by side, and the undo of one has failed."""
    told = Told(beside()).do("flight").do("room").do("car").ok("flight").ok("room").no("car")
    return told.back().undo("flight").undo_fails("flight")


def _undoing() -> Told:
    return Told(_ONE).do("a").ok("a").back().undo("a")


BROKEN = [
    broken(
        "L30",
        _undoing().compensated(),
        "it was closed as compensated, and the undo of a was started",
    ),
    broken(
        "L30",
        _undoing().undone("a").compensated("a"),
        "the undo of a stands among the exceptions, and nothing is owed",
    ),
    broken(
        "L30",
        _undoing().undone("a").compensated("z"),
        "the undo of z stands among the exceptions, and nothing is owed",
    ),
    broken(
        "L31",
        _undoing().undo_fails("a", wait=2).undo("a").undo_fails("a", wait=4).undo("a"),
        "attempt 3 of the undo of a, where 2 are allowed",
    ),
    broken(
        "L31",
        Told(beside()).do("room").do("car").resent("room").again("car"),
        "attempt 2 of car, where 1 are allowed",
    ),
    broken(
        "L31",
        _undoing().undo_fails("a", wait=2).undo("a").resent("a").undo("a"),
        "attempt 3 of the undo of a, where 2 are allowed",
    ),
    broken(
        "L31",
        _undoing().undo_fails("a", wait=1),
        "the undo of a waits 1 s, and its policy says 2 s",
    ),
    broken(
        "L31",
        _undoing().undo_fails("a", wait=9, error="timed out"),
        "the undo of a waits 9 s, and its policy says 2 s",
    ),
    broken(
        "L31",
        Told(_EVEN).do("a").silent("a", wait=3).wait(3).again("a").silent("a", wait=2),
        "a waits 2 s, and before that it was 3 s",
    ),
    broken(
        "L31",
        Told(_FINAL).do("a").fails("a", wait=1),
        "a is sent again after Busy, which is final",
    ),
    broken(
        "L32",
        _undoing().undo_fails("a"),
        "the undo of a was given up, and no human was called",
    ),
    broken(
        "L32",
        _undoing().undo_fails("a").compensated("a"),
        "the undo of a had failed, and it was closed without a human",
    ),
    broken(
        "L33",
        _undoing().undo_fails("a").stuck("a").stuck("a"),
        "it was stuck already, and nobody had done anything about it",
    ),
    broken(
        "L33",
        _branches().undo("room").stuck("flight").resent("room", Direction.UNDO).stuck("flight"),
        "it was stuck already, and nobody had done anything about it",
    ),
    broken(
        "L33",
        _branches().undo("room").stuck("flight").resumed("room", Direction.UNDO).stuck("flight"),
        "it was stuck already, and nobody had done anything about it",
    ),
    broken(
        "L33",
        _undoing().undo_fails("a").stuck("a", why=""),
        "it does not say why or where it is stuck",
    ),
    broken(
        "L33",
        _undoing().undo_fails("a").stuck(None),
        "it does not say why or where it is stuck",
    ),
    broken(
        "L33",
        _undoing().undo_fails("a").stuck("a").compensated("a"),
        "SagaCompensated while it was stuck",
    ),
    broken(
        "L34",
        _undoing().undo_fails("a").stuck("a").retried(actor=" "),
        "OperatorRetried does not say who and why",
    ),
    broken(
        "L34",
        _undoing().undo_fails("a").stuck("a").retried(reason=""),
        "OperatorRetried does not say who and why",
    ),
    broken(
        "L34",
        _undoing().undo_fails("a").stuck("a").undo("a"),
        "the undo of a had been given up, and nobody asked for another attempt",
    ),
    broken("L34", _owing().stuck("b").undo("b"), "the undo of b was sent while it was stuck"),
    broken(
        "L35",
        Told(_ONE).do("a").ok("a").again("a"),
        "a was sent again, and it was succeeded",
    ),
    broken(
        "L36",
        Told(with_pivot()).do("hold").retried(),
        "it was retried while it was going on by itself",
    ),
    broken(
        "L37",
        _owing(OnFailedUndo.HALT).undo("b").undo_fails("b").undo("a"),
        "the undo of a was issued after the undo of b had failed",
    ),
    broken(
        "L37",
        _branches().stuck("flight"),
        "it stopped, and the undo of room was never issued",
    ),
    broken(
        "L37",
        _branches().undo("room").compensated("flight", "room"),
        "it stopped, and the undo of room was started",
    ),
]

"""Try, confirm, cancel: broken (L71 to L75)."""

from __future__ import annotations

from es_saga.testing.story import Reservation, System
from tests.core.test_tcc import holds
from tests.testing.broken import BrokenSystem, broken
from tests.testing.told import SAGA, Told, did, undid

_TWO = holds("a", "b")


def _held() -> Told:
    return Told(_TWO).do("a").ok("a").do("b").ok("b")


def _refused() -> Told:
    return Told(_TWO).do("a").ok("a").do("b").no("b").back()


BROKEN = [
    broken(
        "L71",
        Told(_TWO).do("a").ok("a").do("b").do("confirm_a"),
        "confirm_a was sent, and b had not succeeded",
    ),
    broken(
        "L71",
        _held().do("confirm_a").back(),
        "CompensationStarted after the first confirm was sent",
    ),
    broken(
        "L71",
        Told(_TWO).do("a").ok("a").do("b").no("b").back().compensated(),
        "a may be held, and was neither confirmed nor cancelled",
    ),
    broken(
        "L71",
        Told(_TWO).do("a").ok("a").wait(3_600).do("b").ok("b").do("confirm_a"),
        "confirm_a was sent, and a may have expired",
    ),
    broken(
        "L72",
        _held().do("confirm_a").story(did("a"), did("confirm_a"), undid("a")),
        "a was both confirmed and cancelled",
        0,
    ),
    broken(
        "L73",
        _held().do("confirm_a").silent("confirm_a"),
        "confirm_a was given up because nobody answered",
    ),
    broken(
        "L73",
        _refused().undo("a").undo_fails("a", error="timed out", cause=None),
        "the undo of a was given up because nobody answered",
    ),
]


def _kept(status: str, *, settled_at: float | None = None, seen_at: float = 1_000.0) -> System:
    """A hold that expired at 100."""
    kept = Reservation(f"{SAGA}/a/do", "desk", status, 100.0, settled_at, seen_at)
    story = _held().do("confirm_a").ok("confirm_a").story()
    return System([story], reservations=[kept])


BROKEN_SYSTEMS = [
    BrokenSystem("L74", _kept("held"), "desk holds s-1/a/do, 900 s after it expired"),
    BrokenSystem(
        "L74",
        _kept("confirmed", settled_at=101.0),
        "desk confirmed s-1/a/do, 1 s after it expired",
    ),
    BrokenSystem(
        "L74", _kept("expired", settled_at=200.0), "s-1/a/do had expired, and was confirmed", 7
    ),
    BrokenSystem(
        "L75",
        System([_held().story()], totals={"seats": [100, 99, 100]}),
        "seats was 100 in the beginning, and came to be 99",
    ),
]

"""Branches beside each other, and undos as wholes: broken (L56 to L62)."""

from __future__ import annotations

from tests.core.sagas import beside, chain
from tests.testing.broken import broken
from tests.testing.told import Told, did, message

_ONE = chain("a")
_TWO = chain("a", "b")


def _abroad() -> Told:
    """Flight and room were booked, and the car refused."""
    told = Told(beside()).do("flight").do("room").do("car")
    return told.ok("flight").ok("room").no("car").back()


def _undoing() -> Told:
    return Told(_ONE).do("a").ok("a").back().undo("a")


BROKEN = [
    broken(
        "L56",
        Told(beside()).do("flight").do("room").ok("flight").back().undo("flight"),
        "the undo of flight was issued while room was in flight",
    ),
    broken(
        "L57",
        _abroad().undo("flight"),
        "the undo of room waits for nothing, and was not issued",
    ),
    broken(
        "L57",
        Told(_TWO).do("a").ok("a").do("b").ok("b").back().undo("b").undo("a").undone("a"),
        "the undo of a succeeded before the undo of b, which depends on it",
    ),
    broken(
        "L58",
        Told(_ONE).do("a").ok("a").back().undo("a").undone("a").compensated().story(did("a")),
        "everything was undone, and the net effect of a is 1",
    ),
    broken("L61", _undoing().do("a"), "a was sent after its undo, event 5"),
    broken("L61", _undoing().ok("a"), "a was taken as done after its undo, event 5"),
    broken(
        "L61",
        _undoing().story(sent=[message("a", undo=True, undoes="s-1/a/undo")]),
        "s-1/a/undo/1 undoes s-1/a/undo, which is an undo",
        0,
    ),
    broken("L62", Told(_ONE).do("a").do("a"), "a was started already, in event 2"),
    broken("L62", Told(_ONE).do("a").story(did("a"), did("a")), "a took effect 2 times", 0),
]

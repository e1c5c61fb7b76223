"""Back to a save-point, and on from it: broken (L16)."""

from __future__ import annotations

from tests.core.journey import journey, trip
from tests.testing.broken import broken
from tests.testing.told import Told


def _back() -> Told:
    """A car was hired after the save-point, and what came next refused."""
    told = Told(trip).do("seats").ok("seats").do("held").ok("held").do("car").ok("car")
    return told.do("ritz").no("ritz").back(back_to="held")


def _on() -> Told:
    return _back().undo("car").undone("car").on("held", past=("car", "ritz"))


def _side_by_side() -> Told:
    """Car and hotel were booked, and are undone at once; the seats are kept."""
    told = Told(journey(undo_order="parallel")).do("seats").ok("seats").do("held").ok("held")
    told.do("car").ok("car").do("ritz").ok("ritz").do("pay").no("pay")
    return told.back(back_to="held")


BROKEN = [
    broken(
        "L16", _back().undo("seats"), "the undo of seats was issued on the way back to held only"
    ),
    broken(
        "L16",
        _back().on("held", past=("car", "ritz")),
        "it went on, and the undo of car had not succeeded",
    ),
    broken(
        "L16",
        _on().again("seats"),
        "seats was sent again, and comes before held",
    ),
    broken(
        "L16",
        _on().on("held", way=3),
        "it went on from held, and was not on its way there",
    ),
    broken(
        "L57",
        _side_by_side().undo("car"),
        "the undo of ritz waits for nothing, and was not issued",
    ),
]

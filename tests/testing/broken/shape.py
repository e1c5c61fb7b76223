"""All or nothing, in order, once: broken (L01 to L10)."""

from __future__ import annotations

from es_saga import quorum
from es_saga.core.policy import OnFailedUndo
from tests.core.sagas import add, chain
from tests.testing.broken import broken
from tests.testing.told import Told, did, undid

_ONE = chain("a")
_TWO = chain("a", "b")


def _either() -> Told:
    """`d` comes after `b` or `c`, each of which comes after `a`."""
    saga = chain("a", "b")
    add(saga, "c", after=("a",))
    add(saga, "d", after=quorum(1, "b", "c"))
    told = Told(saga).do("a").ok("a").do("b").do("c").ok("b").do("d").ok("d").ok("c")
    return told.completed()


def _both() -> Told:
    return Told(_TWO).do("a").ok("a").do("b").ok("b")


def _turned() -> Told:
    """Two steps were done, and the saga turned back."""
    return Told(chain("a", "b", "c")).do("a").ok("a").do("b").ok("b").do("c").no("c").back()


BROKEN = [
    broken(
        "L01",
        Told(_ONE).do("a").ok("a").completed().story(seen=True),
        "it was completed, and the net effect of a is 0, not 1",
        0,
    ),
    broken(
        "L01",
        Told(_ONE).do("a").no("a").back().compensated().story(did("a")),
        "it was undone, and the net effect of a is 1, not 0",
        0,
    ),
    broken(
        "L01",
        _both().completed().story(did("b"), did("a")),
        "b took effect before a, on which it depends",
        0,
    ),
    broken(
        "L01",
        _either().story(did("d"), did("a"), did("b"), did("c")),
        "d took effect before a, on which it depends",
        0,
    ),
    broken(
        "L01",
        _turned().compensated().story(did("a"), did("b"), undid("a"), undid("b")),
        "a was undone before b, which depends on it",
        0,
    ),
    broken(
        "L02",
        Told(_ONE).do("a").ok("a").completed().completed(),
        "it was closed a second time; the first was event 4",
    ),
    broken(
        "L02",
        Told(_ONE).do("a").ok("a").completed().stuck("a"),
        "SagaStuck after its end, event 4",
    ),
    broken("L03", Told(_ONE).do("a").ok("a").ok("a"), "a had succeeded already, in event 3"),
    broken(
        "L03",
        _turned().undo("b").undone("b").undone("b"),
        "the undo of b had succeeded already, in event 10",
    ),
    broken(
        "L04",
        Told(_ONE).do("a").ok("a", attempt=2),
        "attempt 2 of a had not been sent",
    ),
    broken("L04", Told(_ONE).ok("a").do("a"), "attempt 1 of a had not been sent", 2),
    broken("L05", Told(_TWO).do("a").do("b"), "b was started before a had succeeded"),
    broken(
        "L06",
        _turned().undo("a"),
        "the undo of a was issued before the undo of b, which depends on it, had succeeded",
    ),
    broken(
        "L06",
        Told(chain("a", "b", "c", on_failed_undo=OnFailedUndo.HALT))
        .do("a")
        .ok("a")
        .do("b")
        .ok("b")
        .do("c")
        .no("c")
        .back()
        .undo("b")
        .undo_fails("b")
        .undo("a"),
        "the undo of a was issued before the undo of b, which depends on it, had succeeded",
    ),
    broken(
        "L07",
        Told(_TWO).do("a").no("a").back().undo("b"),
        "the undo of b was issued, and b had never been sent",
    ),
    broken(
        "L08",
        _turned().undo("b").undone("b").compensated(),
        "a was done or may have been, and its undo succeeded 0 times",
    ),
    broken(
        "L08",
        Told(_ONE).do("a").no("a").back().undo("a").undone("a").compensated(),
        "a was not done, and its undo succeeded 1 times",
    ),
    broken(
        "L09",
        Told(_TWO).do("a").ok("a").back().do("b"),
        "b was sent after the saga had turned back in event 4",
    ),
    broken(
        "L09",
        Told(_TWO).do("a").ok("a").undo("a").do("b"),
        "b was sent after the saga had turned back in event 4",
    ),
    broken(
        "L10",
        Told(_ONE).do("a").ok("a").undo("a").completed(),
        "the undo of a was issued, and the saga completed",
        4,
    ),
]

"""Unknown outcomes, late and repeated messages, the fence: broken (L18 to L29)."""

from __future__ import annotations

from es_saga.core.messages import Direction
from tests.core.sagas import chain
from tests.testing.broken import broken
from tests.testing.told import Told, did, undid

_ONE = chain("a")
_TWO = chain("a", "b")


def _silent() -> Told:
    """Whether it was done is unknown, and the saga turned back."""
    return Told(_ONE).do("a").silent("a").back()


def _undone() -> Told:
    return _silent().undo("a").undone("a")


BROKEN = [
    broken("L18", _silent().compensated(), "a was never answered, and it was not undone"),
    broken(
        "L19",
        _silent().undo("a").late("a").undone("a").story(did("a")),
        "a late success of a, and its net effect is 1, not 0",
        6,
    ),
    broken(
        "L20",
        _undone().story(did("a")),
        "the undo of a has succeeded, and its net effect is 1, not 0",
        0,
    ),
    broken("L21", _undone().story(undid("a")), "the undo of a took effect, and a had not", 0),
    broken(
        "L21",
        _silent().undo("a").undo_fails("a", refused=True).story(seen=True),
        "the undo of a was refused, and a never took effect",
    ),
    broken(
        "L22",
        _undone().story(did("a", at=1_000.0)),
        "a took effect after it had been undone",
        0,
    ),
    broken(
        "L22", _undone().story(undid("a"), did("a")), "a took effect after it had been undone", 0
    ),
    broken(
        "L23",
        Told(_ONE).do("a").ok("a").story(did("a"), did("a")),
        "the command s-1/a/do took effect 2 times",
        0,
    ),
    broken(
        "L24",
        _undone().story(did("a"), undid("a"), undid("a")),
        "the command s-1/a/undo took effect 2 times",
        0,
    ),
    broken(
        "L25",
        Told(_ONE).do("a").ok("a").story(seen=True),
        "a was answered as done, and there is no effect of it",
    ),
    broken("L25", Told(_ONE).do("a").no("a").story(did("a")), "a was refused, and it took effect"),
    broken(
        "L25",
        Told(_ONE).do("a").fails("a").story(did("a")),
        "every attempt of a was answered with a failure, and it took effect",
        0,
    ),
    broken(
        "L26",
        _silent().undo("a").back(),
        "it was turned back a second time; the first was event 4",
    ),
    broken(
        "L26",
        _silent().undo("a").undo("a", attempt=1),
        "the undo of a was issued anew; it was before, in event 5",
    ),
    broken(
        "L27",
        Told(_TWO).do("a").ok("a", cause="s-1/b/do/1/r"),
        "the reply s-1/b/do/1/r was credited to a/do",
    ),
    broken(
        "L27",
        Told(_ONE).do("a").ok("a", cause="s-2/a/do/1/r"),
        "the reply s-2/a/do/1/r was credited to a/do",
    ),
    broken(
        "L27",
        _silent().undo("a").undone("a", cause="s-1/a/do/1/r"),
        "the reply s-1/a/do/1/r was credited to a/undo",
    ),
    broken(
        "L27",
        Told(_ONE).do("a").ok("a", cause="s-1/a/do-2/2/r"),
        "the reply s-1/a/do-2/2/r was credited to attempt 1",
    ),
    broken(
        "L28",
        _undone().compensated().ok("a"),
        "a went on after the saga's end, event 7",
    ),
    broken(
        "L28",
        _undone().compensated().do("a", attempt=1),
        "a went on after the saga's end, event 7",
    ),
    broken(
        "L28",
        _undone().compensated().late("a").late("a", Direction.UNDO),
        "another late answer of a was noted",
    ),
    broken(
        "L29",
        Told(_ONE).do("a").no("a").back().undo("a"),
        "the undo of a was issued, and a was refused",
    ),
]

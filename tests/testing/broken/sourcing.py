"""Event sourcing, the process manager, the outbox: broken (L40 to L53)."""

from __future__ import annotations

from datetime import timedelta

from tests.core.sagas import chain
from tests.testing.broken import broken
from tests.testing.told import Told, message

_ONE = chain("a")
_TWO = chain("a", "b")
_LATE = chain("a", deadline=timedelta(minutes=1))


def _done() -> Told:
    return Told(_ONE).do("a").ok("a")


BROKEN = [
    broken(
        "L40",
        Told(_ONE).do("a").ok("a", reply={"by": (1, 2)}),
        "after a snapshot, and read from the log, it leads to another state",
        3,
    ),
    broken(
        "L40",
        Told(_ONE).do("a").ok("a", reply={"by": object}),
        "it cannot be written and read again: StepSucceeded cannot be written as JSON: "
        "Unable to serialize unknown type: <class 'type'>",
        3,
    ),
    broken(
        "L41",
        Told(_TWO).do("a").ok("a").do("b", command_id="s-1/a/do"),
        "s-1/a/do is the id of a and of b",
    ),
    broken(
        "L41",
        Told(_ONE).do("a").fails("a", wait=1).again("a", command_id="s-1/a/do-2"),
        "a was s-1/a/do, and became s-1/a/do-2",
    ),
    broken(
        "L42",
        Told(_ONE).do("a").ok("a", cause="m-1").ok("a", cause="m-1"),
        "m-1 had been handled already, in event 3",
    ),
    broken(
        "L42",
        Told(_ONE).do("a").resent("a", cause="m-1").again("a").resent("a", cause="m-1"),
        "m-1 had been handled already, in event 3",
    ),
    broken(
        "L43",
        Told(_ONE).do("a").fails("a", wait=9, cause="m-1").resumed("a"),
        "OperatorResumed does not say which message it came by",
    ),
    broken(
        "L43",
        Told(_TWO).do("a").ok("a", cause="m-1").do("b").no("b"),
        "StepRefused does not say which message it came by",
    ),
    broken(
        "L44",
        Told(_ONE).story(sent=[message("a")]),
        "s-1/a/do/1 was published, and no event asked for it",
        0,
    ),
    broken(
        "L44",
        Told(_ONE).do("a").story(sent=[message("a", data={"pence": 1})]),
        "s-1/a/do/1 was published with another content than was committed",
        0,
    ),
    broken(
        "L44",
        Told(_ONE).do("a").story(sent=[message("a", direction="CANCEL")]),
        "s-1/a/do/1 was published as CANCEL of a",
        0,
    ),
    broken(
        "L45",
        Told(_ONE).do("a").silent("a").story(sent=[]),
        "attempt 1 of a came to its end, and it had never been published",
    ),
    broken(
        "L45",
        Told(_ONE).do("a").silent("a", wait=1).again("a").silent("a").story(sent=[message("a")]),
        "attempt 2 of a came to its end, and it had never been published",
    ),
    broken(
        "L45",
        Told(_ONE).do("a").ok("a").story(sent=[]),
        "attempt 1 of a came to its end, and it had never been published",
    ),
    broken(
        "L45",
        Told(_TWO).do("a").ok("a").do("b").story(sent=[message("b"), message("a")]),
        "s-1/a/do/1 was published after what was committed later",
        2,
    ),
    broken(
        "L46",
        Told(_ONE)
        .do("a")
        .fails("a", wait=1)
        .again("a")
        .story(sent=[message("a"), message("a", 2, id="s-1/a/do/1")]),
        "s-1/a/do/1 is the message id of attempt 1 of s-1/a/do and of attempt 2 of s-1/a/do",
        0,
    ),
    broken(
        "L48",
        Told(_TWO).do("a").ok("a").completed(),
        "it was closed as completed, and b was never sent",
    ),
    broken("L48", _done().back().completed(), "it was turned back, and closed as completed"),
    broken("L48", _done().compensated(), "it was closed as compensated, and never turned back"),
    broken("L49", _done().silent("a"), "a timed out, and it was succeeded"),
    broken("L49", Told(_ONE).do("a").silent("a", at=11.0), "a timed out 20 s before it was due"),
    broken("L49", Told(_ONE).do("a").completed().silent("a"), "a timed out after the saga's end"),
    broken(
        "L49",
        Told(_ONE).do("a").again("a"),
        "a was sent again, and its last attempt was still open",
    ),
    broken("L49", Told(_ONE).do("a").fails("a", wait=3).again("a"), "a was sent again 2 s early"),
    broken(
        "L49",
        Told(_ONE).do("a").fails("a", wait=9).resumed("a", at=8.0).again("a", at=7.0),
        "a was sent again 1 s early",
    ),
    broken("L49", Told(_ONE).do("a").overdue(), "its deadline passed at 2.0, and it is None"),
    broken(
        "L49",
        Told(_LATE, deadline=60.0).do("a").overdue(),
        "its deadline passed at 2.0, and it is 60.0",
    ),
    broken(
        "L49",
        Told(_LATE, deadline=1.0).do("a").overdue().overdue(),
        "its deadline passed once already",
    ),
    broken(
        "L49",
        Told(_LATE, deadline=1.0).do("a").ok("a").completed().overdue(),
        "it was closed already",
    ),
    broken(
        "L51",
        Told(_ONE, started=False).do("a"),
        "it does not say under which definition it began",
    ),
    broken("L51", Told(_ONE).start(), "it began a second time"),
    broken("L51", Told(_ONE, definition=2), "it began as trip version 2, not trip version 1"),
    broken("L51", Told(_ONE, saga_type="walk"), "it began as walk version 1, not trip version 1"),
    broken(
        "L51",
        Told(_ONE, fingerprint="00"),
        f"its definition had the fingerprint 00, not {_ONE.definition.fingerprint}",
    ),
    broken("L51", Told(_ONE).do("z"), "z is no step of trip version 1"),
    broken("L51", Told(_ONE).resent("z"), "z is no step of trip version 1"),
    broken(
        "L52",
        Told(_ONE, started=False).do("a"),
        "it is not the history of a saga: StepStarted begins no saga.",
    ),
    broken(
        "L52",
        Told(_ONE).ok("a").do("a"),
        "it is not the history of a saga: saga 's-1', event 2: StepSucceeded does not fit what "
        "came before (KeyError('a')).",
        2,
    ),
    broken(
        "L53",
        Told(_TWO).do("a").ok("a"),
        "it is neither closed nor stuck, and nothing is under way",
    ),
]

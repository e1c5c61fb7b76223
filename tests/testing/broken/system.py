"""Several sagas, and what is kept and told of them: broken (L33, L39, L47, L50, L53, L54)."""

from __future__ import annotations

from es_saga.engine.alerts import Alert, AlertKind
from es_saga.engine.ports import Recorded
from es_saga.testing.story import Story, System
from tests.core.sagas import chain
from tests.testing.broken import BrokenSystem
from tests.testing.told import SAGA, Told, message

_ONE = chain("a")


def _open() -> Story:
    return Told(_ONE).do("a").story()


def _stuck() -> Story:
    return Told(_ONE).do("a").ok("a").back().stuck("a").story()


def _freed() -> Story:
    return Told(_ONE).do("a").ok("a").back().stuck("a").retried().undo("a").story()


def _alert(*, opened: bool = True) -> Alert:
    return Alert(SAGA, "trip", AlertKind.STUCK, opened, "full", "a", 0.0, 1)


def _row(version: int, position: int) -> Recorded:
    return Recorded(3, position, SAGA, version, _open().history[version - 1], b"{}")


def _audit(*versions: int) -> list[tuple[str, int, str]]:
    names = [type(event).__name__ for event in _open().history]
    return [(SAGA, version, names[version - 1]) for version in versions]


BROKEN_SYSTEMS = [
    BrokenSystem("L33", System([_stuck()], alerts=[]), "it is stuck, and its last alert is none"),
    BrokenSystem(
        "L33",
        System([_freed()], alerts=[_alert()]),
        "it is not stuck, and its last alert is open",
    ),
    BrokenSystem(
        "L33",
        System([_stuck()], alerts=[_alert(), _alert()]),
        "an alert was opened or closed twice",
    ),
    BrokenSystem(
        "L33",
        System([_stuck()], alerts=[_alert(), _alert(opened=False), _alert()]),
        "2 alerts for 1 times that it was stuck",
    ),
    BrokenSystem(
        "L39",
        System([_open()], rebuilding=[message("a")]),
        "s-1/a/do/1 was published by a rebuild",
    ),
    BrokenSystem(
        "L47",
        System([], log=[_row(1, 1), _row(1, 2)]),
        "version 1 where 2 was expected",
        1,
    ),
    BrokenSystem(
        "L47",
        System([], log=[_row(1, 1), _row(2, 3)]),
        "part 3 has position 3 where 2 was expected",
        2,
    ),
    BrokenSystem(
        "L47", System([_open()], log=[_row(1, 1)]), "its history is not what was committed"
    ),
    BrokenSystem(
        "L50",
        System([_open()], poisoned=frozenset({"s-2"}), settled=True),
        "it did not come to its end; poisoned was s-2",
    ),
    BrokenSystem("L53", System([_open()], settled=True), "it is neither closed nor stuck"),
    BrokenSystem(
        "L53",
        System([_stuck()], status={SAGA: {"status": "running"}}, settled=True),
        "it is stuck, and its status is shown as running",
    ),
    BrokenSystem(
        "L53",
        System([_stuck()], status={}, settled=True),
        "it is stuck, and its status is shown as missing",
    ),
    BrokenSystem(
        "L54",
        System([], status={SAGA: {"version": 2}}, rebuilt={SAGA: {"version": 1}}),
        "its row is {'version': 2}, and rebuilt it is {'version': 1}",
    ),
    BrokenSystem(
        "L54", System([_open()], audit=_audit(1)), "the audit has 0 rows of this event", 2
    ),
    BrokenSystem(
        "L54",
        System([_open()], audit=[*_audit(1, 2), (SAGA, 3, "SagaStuck")]),
        "the audit has 3 rows of it",
    ),
]

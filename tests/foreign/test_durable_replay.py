"""durable-workflow's conformance of replay, as far as it is about histories.

There a history is replayed by the code that wrote it. Here a history is folded, and needs no code;
`diverges` has today's code decide once more, and compares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic_core import to_json

from es_saga import Saga
from es_saga.adapters.definitions import register
from es_saga.adapters.migrate import upgrade
from es_saga.core.errors import CorruptHistory, DefinitionError, InvalidInput, Unavailable
from es_saga.database import make_engine
from es_saga.engine.registry import Registry
from es_saga.replay import Replay, diverges
from es_saga.testing import Scene, Story
from es_saga.testing.history import plain, read_history, write_history
from tests.core.sagas import Do, Trip, Undo, add, chain
from tests.foreign.desk import SENDER
from tests.foreign.log import Log
from tests.foreign.path import SAGA_ID, tell
from tests.foreign.scenarios import COMPENSATED, COMPLETED, Scenario, Table


def trip(version: int, *steps: str) -> Saga[Trip]:
    """One version of a trip."""
    saga = Saga("trip", Trip, version=version)
    for step in steps:
        add(saga, step)
    return saga


OLD, NEW = trip(1, "flight", "hotel"), trip(2, "flight", "hotel", "insurance")
TRIP = chain("flight", "hotel", "card")
UNDONE = "flight hotel card! -hotel -flight"
_SIGNALS = "there are no signals yet"
_WAIT = "there is no `wait` yet"
_REPLAYED = "deciding again leads to the same events"

_PYTHON = (
    Scenario(
        "python_completed_history_activity_replay",
        "A saga whose commands depend on replies is replayed.",
        COMPLETED,
    ),
    Scenario(
        "python_completed_history_signal_update_replay",
        "Signals changed the saga.",
        _REPLAYED,
        missing=_SIGNALS,
    ),
    Scenario(
        "python_completed_history_wait_condition_replay",
        "The saga waited for something.",
        _REPLAYED,
        missing=_WAIT,
    ),
    Scenario(
        "python_completed_history_version_marker_replay",
        "The code has a new version since; the saga goes the way of the old one.",
        COMPLETED,
        ours="the version stands in the first event, and is that of the whole saga",
    ),
    Scenario(
        "python_completed_history_saga_compensation_replay",
        "A saga that was undone is replayed.",
        COMPENSATED,
    ),
    Scenario(
        "python_worker_restart_completed_query",
        "After a restart the status of a completed saga is asked for.",
        "to the byte what it was before",
    ),
    Scenario(
        "python_worker_restart_activity_state",
        "After a restart the reply to a step is asked for.",
        "the reply, out of the log",
    ),
    Scenario(
        "python_worker_restart_signal_update_state",
        "After a restart what signals changed is asked for.",
        "as before",
        missing=_SIGNALS,
    ),
    Scenario(
        "python_worker_restart_wait_condition_state",
        "After a restart what the saga waited for is asked for.",
        "as before",
        missing=_WAIT,
    ),
    Scenario(
        "python_worker_restart_version_marker_state",
        "After a restart, with a new version of the code, a saga goes on.",
        "by the old version; where that is missing, not at all",
    ),
    Scenario(
        "python_worker_restart_saga_compensation_state",
        "A restart amid undos.",
        "the undo in flight is sent again; none is left out, none that is done comes again",
    ),
    Scenario(
        "python_code_divergence_refusal",
        "The code was changed, and claims to be the same version.",
        "refused, and every difference is named",
        ours="refused at the start, for all sagas at once, and by shape: steps, kinds, order and"
        " commands. What a step's function puts into its command may change: what was sent"
        " stands in the log",
    ),
    Scenario(
        "python_in_flight_signal_restart_timing",
        "A signal comes, and the process restarts before it has acted on it.",
        "the same decision",
        missing=_SIGNALS,
    ),
)

TABLE = Table(
    "durable-workflow/durable-workflow.github.io,"
    " static/platform-conformance/replay-runtime-scenarios.json, 0032c5a5bc5d",
    Scenario(
        "published_artifact_install_only",
        "Everything under test was installed from where it is published.",
        "the versions are on record",
        missing="it is about a way of testing, not about histories",
    ),
    *_PYTHON,
    *(
        replace(row, id=row.id.replace("python", "php", 1), ours="", missing="there is no PHP here")
        for row in _PYTHON
    ),
    Scenario(
        "server_history_mutation_refusal",
        "Somebody changed a history: an event, or a reply in it.",
        "refused, and the first bad event is named",
        ours="a changed reply is found in a file, whose lines are chained; in the database only"
        " what contradicts itself is",
    ),
    Scenario(
        "malformed_history_refusal",
        "A field of a history is missing or cannot be read.",
        "refused, and the first bad event is named",
    ),
)


@pytest.mark.law("L38", "L41")
@TABLE.plays("python_completed_history_activity_replay")
def test_the_same_replies_lead_to_the_same_commands() -> Story:
    return replayed("flight hotel~ hotel? hotel card")


@pytest.mark.law("L38", "L41")
@TABLE.plays("python_completed_history_saga_compensation_replay")
def test_the_same_undos_are_decided_again() -> Story:
    return replayed("flight hotel~ hotel? hotel card! -hotel~ -hotel? -hotel -flight")


def replayed(path: str) -> Story:
    """A history, decided again."""
    story = tell(TRIP, path).story
    assert diverges(TRIP.definition, Replay.of(SAGA_ID, story.history)) is None
    return story


@pytest.mark.law("L51")
@TABLE.plays("python_completed_history_version_marker_replay")
def test_a_completed_saga_is_replayed_by_its_own_version() -> Scene:
    scene = tell(OLD, "flight hotel")
    registry, replay = Registry([OLD.definition, NEW.definition]), Replay.of(SAGA_ID, scene.history)
    assert diverges(registry.of(scene.state), replay) is None
    with pytest.raises(InvalidInput, match="began with trip v1; this is trip v2"):
        diverges(registry.latest("trip"), replay)
    return scene


@pytest.mark.law("L51")
@TABLE.plays("python_worker_restart_version_marker_state")
def test_a_saga_goes_on_by_the_version_it_began_with(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(tell(OLD, "flight").expect(Do).story)
    state = log.state()
    assert Registry([NEW.definition, OLD.definition]).of(state) is OLD.definition
    with pytest.raises(Unavailable, match="'trip' version 1, which is not registered"):
        Registry([NEW.definition]).of(state)


@pytest.mark.requirement("R052", "R054")
@TABLE.plays("python_worker_restart_completed_query", "python_worker_restart_activity_state")
def test_what_is_read_after_a_restart_is_what_was_there_before(tmp_path: Path) -> None:
    scene = tell(OLD, "flight hotel")
    log = Log(tmp_path)
    log.write(scene.story)
    state = log.state()
    assert to_json(plain(state)) == to_json(plain(scene.state))
    assert state.steps["hotel"].do.reply == {"by": "desk"}
    row = log.look()
    assert (row.status, row.version) == ("completed", len(scene.history))
    assert row.steps["hotel"]["reply"] == {"by": "desk"}


@pytest.mark.requirement("R041", "R053")
@TABLE.plays("python_worker_restart_saga_compensation_state")
def test_a_restart_amid_undos_sends_the_one_in_flight_and_no_other(tmp_path: Path) -> None:
    undoing = tell(TRIP, "flight hotel card! -hotel~").expect(Undo)
    log = Log(tmp_path)
    log.write(undoing.story)
    state = log.state()
    assert state == undoing.state
    sent = SENDER.commands(TRIP.definition, state, undoing.story.history)
    assert [each.envelope.id for each in sent] == [f"{SAGA_ID}/hotel/undo/2"]


@pytest.mark.law("L51")
@TABLE.plays("python_code_divergence_refusal")
def test_another_shape_under_the_same_version_is_refused(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'log.db'}")
    try:
        upgrade(engine)
        register(engine, [OLD.definition, NEW.definition])
        with pytest.raises(DefinitionError) as found:
            register(engine, [trip(1, "flight", "car", "hotel").definition])
    finally:
        engine.dispose()
    assert found.value.faults == (
        "step car is new",
        "step hotel: after was ['flight'], is ['car']",
        "sagas run on the old shape: give the new one version=2, and keep the old one in the app",
    )


# ── histories that are none: event 3 is the reply to the first step ──────────────────────────────

Change = Callable[[list[str]], list[str]]
"""What is done to the lines of a file: the head, 13 events, the end."""


def edited(old: str, new: str) -> Change:
    """Other words in event 3."""

    def change(lines: list[str]) -> list[str]:
        assert old in lines[3]
        return [*lines[:3], lines[3].replace(old, new), *lines[4:]]

    return change


CHANGED: dict[str, tuple[Change, str]] = {
    "edited": (edited("desk", "thief"), "event 3 is not as it was written"),
    "left out": (lambda lines: lines[:3] + lines[4:], "event 3 is missing, 4 comes next"),
    "moved": (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "event 3 is missing"),
    "cut off": (lambda lines: lines[:-1], "event 14.* missing"),
}
UNREADABLE: dict[str, tuple[Change, str]] = {
    "no step": (edited('"step": "flight", ', ""), "event 3"),
    "no topic": (edited('"topic": ', '"tropic": '), "event 3"),
    "no JSON": (edited("}", ""), "event 3 is not JSON"),
}


@pytest.mark.law("L52")
@TABLE.plays("server_history_mutation_refusal")
@pytest.mark.parametrize("how", CHANGED)
def test_a_file_that_was_changed_is_refused(how: str, tmp_path: Path) -> None:
    refuses_file(*CHANGED[how], tmp_path)


@pytest.mark.law("L52")
@TABLE.plays("malformed_history_refusal")
@pytest.mark.parametrize("how", UNREADABLE)
def test_a_file_that_cannot_be_read_is_refused(how: str, tmp_path: Path) -> None:
    refuses_file(*UNREADABLE[how], tmp_path)


def refuses_file(change: Change, said: str, folder: Path) -> None:
    """A history in a file is read, and after the change is not."""
    path, history = folder / "history.jsonl", tell(TRIP, UNDONE).history
    write_history(path, SAGA_ID, history)
    assert read_history(path).events == list(history)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(change(lines)))
    with pytest.raises(CorruptHistory, match=said):
        read_history(path)


@pytest.mark.law("L52")
@pytest.mark.parametrize(
    ("sabotage", "said"),
    [
        ("DELETE FROM es_events", "event 3 is missing, 4 comes next"),
        ("UPDATE es_events SET topic = 'CompensationSucceeded'", "event 3: CompensationSucceeded"),
        ("UPDATE es_events SET state = X'7B'", "event 3: StepSucceeded cannot be read"),
        ("UPDATE es_events SET state = '{}'", "event 3: StepSucceeded cannot be read"),
    ],
)
def test_a_log_that_contradicts_itself_is_refused(sabotage: str, said: str, tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(tell(TRIP, UNDONE).story)
    log.sabotage(f"{sabotage} WHERE originator_version = 3")
    with pytest.raises(CorruptHistory, match=said):
        log.state()

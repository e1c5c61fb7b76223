"""The compensation ledger tells what the laws tell, from nothing but a shape and a status row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from es_saga.core.messages import standing_for
from es_saga.core.state import SagaState, SagaStatus, WorkStatus
from es_saga.core.unfolding import unfolded
from es_saga.engine.ports import Recorded
from es_saga.projections.ledger import SETTLED, Done, Undo, ledger, remaining
from es_saga.projections.status import StatusView
from es_saga.testing.laws.reading import Reading
from tests.core.run import Run
from tests.core.worlds import runs

_COLUMNS = ("status", "current", "steps")
_VIEW = StatusView()


def steps_of(state: SagaState) -> Mapping[str, Any]:
    """The steps as the status view writes them."""
    _, [row] = _VIEW.rows(list[Recorded](), {state.saga_id: state})
    found: Mapping[str, Any] = json.loads(row[_COLUMNS.index("steps")])
    return found


_AFTER: dict[WorkStatus | None, tuple[Done, Undo]] = {
    None: (Done.NOT_BEGUN, Undo.OWED),
    WorkStatus.STARTED: (Done.UNDER_WAY, Undo.ISSUED),
    WorkStatus.BACKOFF: (Done.UNDER_WAY, Undo.ISSUED),
    WorkStatus.SUCCEEDED: (Done.DONE, Undo.CONFIRMED),
    WorkStatus.REFUSED: (Done.NOT_DONE, Undo.FAILED),
    WorkStatus.FAILED: (Done.NOT_DONE, Undo.FAILED),
    WorkStatus.UNKNOWN: (Done.MAYBE_DONE, Undo.FAILED),
    WorkStatus.SKIPPED: (Done.NOT_DONE, Undo.WAIVED),
}
"""What a direction of a step means for the ledger, by how the laws read it."""


@pytest.mark.requirement("R033")
@pytest.mark.law("L07", "L08", "L18", "L30")
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(runs())
def test_after_every_event_the_ledger_agrees_with_the_laws_reading(run: Run) -> None:
    reading = Reading(run.story)
    states, stopped = reading.states
    assert stopped is None
    for index, state in enumerate(states, 1):
        turned = reading.back_at(index) is not None
        assert state.backward == turned
        entries = ledger(run.definition.shape, steps_of(state), backward=state.backward)
        undoable = [step.name for step in run.definition.steps.values() if step.undo is not None]
        names = [name for step in undoable for name in standing_for(step, state.steps)]
        assert [entry.step for entry in entries] == names
        for entry in entries:
            if entry.step not in state.steps:  # not begun, on the way that it is on
                assert (entry.done, entry.undo) == (Done.NOT_BEGUN, Undo.NOT_OWED)
                continue
            done, _ = _AFTER[reading.do[entry.step].status(index)]
            _, undo = _AFTER[reading.undo[entry.step].status(index)]
            owed = turned and reading.owed(entry.step, index) and done is not Done.UNDER_WAY
            if state.back_to is not None:  # what came before the save-point stays done
                now = unfolded(run.definition, state)
                owed = owed and state.back_to in now.steps[entry.step].ancestors
            assert (entry.done, entry.undo) == (done, undo if owed else Undo.NOT_OWED)
        _agrees_at_the_end(state, {entry.step: entry.undo for entry in entries})


def _agrees_at_the_end(state: SagaState, undos: Mapping[str, Undo]) -> None:
    """What a closed saga owes is what it says that it owes (L30)."""
    if state.status is SagaStatus.COMPLETED:
        assert set(undos.values()) <= {Undo.NOT_OWED}
    elif state.closed is not None:
        excepted = {step for step, undo in undos.items() if undo in (Undo.FAILED, Undo.WAIVED)}
        assert excepted == {exception.step for exception in state.exceptions}
        assert {undos[step] for step in undos.keys() - excepted} <= {Undo.NOT_OWED, Undo.CONFIRMED}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_what_remains_is_what_is_still_to_come(run: Run) -> None:
    """Forward, every step that is not done; backward, every undo that is neither done nor waived,
    the other way round."""
    states, _ = Reading(run.story).states
    shape = run.definition.shape
    for state in states:
        left = remaining(shape, steps_of(state), backward=state.backward)
        if state.backward:
            entries = ledger(shape, steps_of(state), backward=True)
            undos = [entry.step for entry in entries if entry.undo not in SETTLED]
            assert list(left) == undos[::-1]
            if state.status is SagaStatus.COMPENSATED:
                assert left == ()
        else:
            done = {
                name
                for name, own in state.steps.items()
                if own.do.status in (WorkStatus.SUCCEEDED, WorkStatus.SKIPPED)
            }
            every = [
                one for step in run.definition.steps for one in standing_for(step, state.steps)
            ]
            assert list(left) == [name for name in every if name not in done]
            if state.status is SagaStatus.COMPLETED:
                assert left == ()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_a_completed_saga_has_no_reason(run: Run) -> None:
    """So that a list of reasons need not look at what completed."""
    if run.saga.status is SagaStatus.COMPLETED:
        assert run.saga.failure is None


def test_an_undo_in_flight_says_which_attempt_and_when_it_is_due() -> None:
    undo = {"status": "started", "attempt": 3, "started": 5.0, "due": 9.0, "error": "timed out"}
    steps = {"reserve": {"status": "succeeded", "attempt": 1, "started": 1.0, "undo": undo}}
    shape = {
        "steps": [
            {"name": "reserve", "undo": "ReleaseStock"},
            {"name": "charge", "undo": None},
        ]
    }
    [entry] = ledger(shape, steps, backward=True)
    assert (entry.command, entry.undo, entry.attempt) == ("ReleaseStock", Undo.ISSUED, 3)
    assert (entry.due, entry.why, entry.by) == (9.0, "timed out", None)


def test_whoever_waived_an_undo_is_named() -> None:
    undo = {"status": "skipped", "attempt": 1, "started": 5.0, "error": "Closed"}
    steps = {"reserve": {"status": "unknown", "attempt": 1, "started": 1.0, "undo": undo}}
    shape = {"steps": [{"name": "reserve", "undo": "ReleaseStock"}]}
    [entry] = ledger(shape, steps, backward=True, settled_by={"reserve": "ada"})
    assert (entry.done, entry.undo, entry.by) == (Done.MAYBE_DONE, Undo.WAIVED, "ada")

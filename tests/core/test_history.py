"""Folding a history: what it gives, and which histories are none."""

from __future__ import annotations

from typing import Any

import pytest

from es_saga.core.aggregate import evolve, fold, start
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import (
    EVENTS,
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    DeadlineExceeded,
    LateReplyNoted,
    OperatorCancelled,
    OperatorCompensated,
    OperatorResent,
    OperatorResolved,
    OperatorResumed,
    OperatorSkipped,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaStarted,
    SagaStuck,
    SignalReceived,
    StepFailed,
    StepRefused,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.messages import Direction, Outcome
from es_saga.core.state import SagaState, WorkStatus

STARTED = SagaStarted(at=1.0, saga_type="trip", definition=1, fingerprint="f" * 16, data={"n": 1})
COMMAND: dict[str, Any] = {"command_type": "Do", "to": "desk", "command": {}}
BEGUN = StepStarted(at=2.0, step="a", command_id="s-1/a/do", due=9.0, **COMMAND)
DONE = StepSucceeded(at=3.0, step="a", attempt=1, reply={"by": "x"})
BACK = CompensationStarted(at=4.0, why="no", step="b")
ISSUED = CompensationIssued(at=5.0, step="a", command_id="s-1/a/undo", due=9.0, **COMMAND)
UNDONE = CompensationSucceeded(at=6.0, step="a", attempt=1)
RESUMED = OperatorResumed(at=5.0, actor="ann", reason="why", step="a")
RESENT = OperatorResent(at=5.0, actor="ann", reason="why", step="a")
BACKWARD = {"direction": Direction.UNDO}


def folded(*events: SagaEvent) -> SagaState:
    state = fold("s-1", events)
    assert state is not None
    return state


def test_no_history_is_no_saga() -> None:
    assert fold("s-1", []) is None


def test_a_history_begins_with_the_start() -> None:
    with pytest.raises(CorruptHistory, match="'s-1', event 1: StepStarted begins no saga"):
        fold("s-1", [BEGUN])


def test_a_history_begins_once() -> None:
    with pytest.raises(CorruptHistory, match="event 2: SagaStarted cannot follow the start"):
        fold("s-1", [STARTED, STARTED])


@pytest.mark.requirement("D12", "D13")
def test_the_state_says_how_many_events_and_when() -> None:
    state = folded(STARTED, BEGUN, DONE)
    assert (state.version, state.updated, state.origin.started) == (3, 3.0, 1.0)


def test_nothing_but_notes_follows_the_end() -> None:
    note = LateReplyNoted(
        at=9.0, step="a", direction=Direction.DO, attempt=1, outcome=Outcome.SUCCEEDED
    )
    ended = folded(STARTED, BEGUN, DONE, SagaCompleted(at=4.0))
    assert evolve(ended, note).status == ended.status
    with pytest.raises(CorruptHistory, match="event 5: CompensationStarted cannot follow the end"):
        evolve(ended, BACK)


REFUSED = StepRefused(at=3.0, step="a", attempt=1, refusal_type="No", refusal={})
RETRIED = StepRetried(at=3.0, step="a", command_id="s-1/a/do", attempt=2, due=9.0)
FAILED = StepFailed(at=3.0, step="a", attempt=1, error="Busy", retry_at=4.0)


@pytest.mark.requirement("D13")
@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([DONE], "KeyError"),
        ([BEGUN, BEGUN], "started twice"),
        ([BACK, BEGUN], "nothing new begins"),
        ([BEGUN, RETRIED], "no further attempt was due"),
        ([BEGUN, FAILED, RETRIED.model_copy(update={"attempt": 3})], "attempts count up"),
        ([BEGUN, DONE, DONE], "it has its outcome"),
        ([BEGUN, DONE.model_copy(update={"attempt": 2})], "no such attempt was sent"),
        ([BEGUN, DONE, REFUSED], "it has its outcome"),
        ([BEGUN, FAILED, FAILED], "nothing was in flight"),
        ([BEGUN, FAILED.model_copy(update={"attempt": 2})], "another attempt is in flight"),
        ([BEGUN, DONE, StepTimedOut(at=4.0, step="a", attempt=1)], "nothing was in flight"),
        ([BEGUN, StepSkipped(at=4.0, step="a", why="not needed")], "already begun"),
        ([BACK, BACK], "compensation starts once"),
        ([BEGUN, DONE, BACK.model_copy(update={"left": ("a",)})], "nothing was in flight"),
        ([BEGUN, DONE, ISSUED], "nothing is undone on the way forward"),
        ([BEGUN, DONE, BACK, ISSUED, ISSUED], "no further attempt was due"),
        ([BEGUN, DONE, BACK, UNDONE], "no undo was issued"),
        ([BEGUN, DONE, BACK, ISSUED, UNDONE, UNDONE], "it has its outcome"),
        (
            [BEGUN, BACK, CompensationFailed(at=5.0, step="a", attempt=1, error="Busy")],
            "no undo was issued",
        ),
        ([BACK, SagaCompleted(at=5.0)], "what is undone cannot complete"),
        ([SagaCompensated(at=5.0)], "nothing is undone on the way forward"),
        ([BEGUN, RESUMED], "no further attempt was to come"),
        ([RESUMED], "nothing was in its way"),
        ([SagaStuck(at=3.0, why="bug", step="b", detail="trace"), RESUMED], "stuck elsewhere"),
        ([BEGUN, DONE, BACK, ISSUED, RESUMED.model_copy(update=BACKWARD)], "was to come"),
        ([RESENT], "KeyError"),
        ([BEGUN, RESENT.model_copy(update=BACKWARD)], "it was never sent"),
        ([BEGUN, DONE, RESENT], "nothing was in flight"),
        ([BEGUN, RESENT.model_copy(update={"attempt": 2})], "another attempt is in flight"),
        ([DeadlineExceeded(at=5.0, effect="x"), DeadlineExceeded(at=5.0, effect="x")], "once"),
        (
            [BACK, OperatorSkipped(at=5.0, actor="ann", reason="why", step="a")],
            "never begun",
        ),
        (
            [
                BEGUN,
                OperatorResolved(
                    at=5.0,
                    actor="ann",
                    reason="why",
                    step="a",
                    direction=Direction.UNDO,
                    outcome=Outcome.SUCCEEDED,
                ),
            ],
            "no undo was issued",
        ),
    ],
)
def test_a_history_that_contradicts_itself_is_refused(events: list[SagaEvent], why: str) -> None:
    before = folded(STARTED, *events[:-1])
    number = len(events) + 1
    with pytest.raises(CorruptHistory, match=f"event {number}: .*{why}"):
        evolve(before, events[-1])


def test_a_step_that_did_not_have_to_run_is_skipped() -> None:
    state = folded(STARTED, StepSkipped(at=2.0, step="a", why="not needed"))
    assert state.steps["a"].do.status is WorkStatus.SKIPPED
    assert state.steps["a"].do.error == "not needed"


def test_a_signal_is_counted() -> None:
    assert folded(STARTED, SignalReceived(at=2.0, name="paid", data={})).version == 2


def test_a_verb_without_a_message_is_not_remembered() -> None:
    cancelled = OperatorCancelled(at=2.0, actor="ann", reason="why", refused="no")
    assert folded(STARTED, cancelled).verbs == ()


def test_an_event_from_nowhere_is_refused() -> None:
    class Nonsense(SagaEvent):
        pass

    with pytest.raises(CorruptHistory, match="Nonsense cannot follow the start"):
        evolve(start("s-1", STARTED), Nonsense(at=2.0))


def test_every_event_has_its_topic_and_survives_the_log() -> None:
    assert all(topic == event.__name__ for topic, event in EVENTS.items())
    turned = OperatorCompensated(at=4.0, actor="ann", reason="why")
    for event in (STARTED, BEGUN, DONE, BACK, ISSUED, UNDONE, turned, RESUMED, RESENT):
        assert EVENTS[type(event).__name__].model_validate_json(event.model_dump_json()) == event


def test_a_field_from_the_future_is_ignored() -> None:
    stored = DONE.model_dump() | {"colour": "blue"}
    assert StepSucceeded.model_validate(stored) == DONE

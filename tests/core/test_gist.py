"""What each event says in a few words."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from es_saga.core import gist as module
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
    OperatorRetried,
    OperatorSkipped,
    ParentDecided,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaHeld,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    SignalReceived,
    StepFailed,
    StepFannedOut,
    StepRefused,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
    UndoException,
)
from es_saga.core.gist import gist
from es_saga.core.messages import Direction, Outcome

DO, UNDO = Direction.DO, Direction.UNDO
SENT: dict[str, Any] = {
    "step": "ship",
    "command_type": "Ship",
    "to": "carrier",
    "command": {"to": "Łódź"},
    "command_id": "s-1/ship/do",
    "due": 35.0,
}
EXPECTED: dict[str, Any] = {**SENT, "expected": True}


def waiting(command_type: str) -> StepStarted:
    """A step has begun that asks nobody."""
    return StepStarted.model_validate({**SENT, "at": 1.0, "to": "", "command_type": command_type})


ANN: dict[str, Any] = {"actor": "ann", "reason": "it is up again"}

SAID: list[tuple[SagaEvent, str]] = [
    (StepStarted(at=1.0, **EXPECTED), "expects Ship"),
    (CompensationIssued(at=1.0, **EXPECTED), "expects Ship"),
    (waiting("Approval"), "waits for Approval"),
    (waiting("Sleep"), "sleeps"),
    (waiting("SavePoint"), "save-point"),
    (CompensationStarted(at=1.0, why="NoRoom", back_to="landed"), "NoRoom, back to landed"),
    (
        SagaStarted(at=5.0, saga_type="order", definition=1, fingerprint="f", data={"sku": "tea"}),
        'order {"sku": "tea"}',
    ),
    (
        SagaResumed(at=5.0, save_point="held", way=2, reply={"number": 2}),
        "way 2 from held",
    ),
    (StepFannedOut(at=5.0, step="pick", count=3), "3 items"),
    (StepStarted(at=5.0, **SENT), 'Ship {"to": "Łódź"}'),
    (CompensationIssued(at=5.0, attempt=2, **SENT), 'Ship {"to": "Łódź"}, attempt 2'),
    (StepRetried(at=5.0, step="ship", command_id="c", attempt=3, due=9.0), "attempt 3"),
    (StepSucceeded(at=5.0, step="ship", attempt=1), ""),
    (StepSucceeded(at=5.0, step="ship", attempt=1, reply={"no": 1}), '{"no": 1}'),
    (
        StepRefused(at=5.0, step="ship", attempt=1, refusal_type="Full", refusal={"by": 2}),
        'Full {"by": 2}',
    ),
    (StepFailed(at=5.0, step="ship", attempt=1, error="Busy"), "Busy"),
    (
        StepFailed(at=5.0, step="ship", attempt=2, error="Busy", detail="call\n  at 5"),
        "Busy, attempt 2: call at 5",
    ),
    (
        CompensationFailed(at=5.0, step="ship", attempt=2, error="Busy", retry_at=6.54),
        "Busy, attempt 2, again in 1.5 s",
    ),
    (StepTimedOut(at=5.0, step="ship", attempt=1, retry_at=7.0), "again in 2.0 s"),
    (StepSkipped(at=5.0, step="ship", why="not needed"), "not needed"),
    (CompensationStarted(at=5.0, why="Full", step="ship"), "Full"),
    (
        CompensationStarted(at=5.0, why="Full", left=("ship", "pack")),
        "Full, without waiting for ship, pack",
    ),
    (CompensationSucceeded(at=5.0, step="ship", attempt=1), ""),
    (SagaCompleted(at=5.0), ""),
    (SagaCompensated(at=5.0), ""),
    (
        SagaCompensated(
            at=5.0,
            exceptions=(
                UndoException(step="a", error="Busy"),
                UndoException(step="b", error="waived"),
            ),
        ),
        "a not undone: Busy, b not undone: waived",
    ),
    (SagaStuck(at=5.0, why="Full", step="ship", detail="a traceback"), "Full"),
    (
        LateReplyNoted(at=5.0, step="a", direction=UNDO, attempt=1, outcome=Outcome.SUCCEEDED),
        "undo succeeded",
    ),
    (DeadlineExceeded(at=5.0, effect="compensating"), "compensating"),
    (SignalReceived(at=5.0, name="Paid", data={"pence": 5}), "Paid"),
    (SagaHeld(at=5.0), ""),
    (ParentDecided(at=5.0, close=True, command_id="s-1/close_ship/do"), "close"),
    (ParentDecided(at=5.0, close=False, command_id="s-1/ship/undo"), "undo"),
    (OperatorRetried(at=5.0, **ANN), "ann: it is up again"),
    (OperatorSkipped(at=5.0, step="ship", **ANN), "ann: it is up again"),
    (
        OperatorResolved(
            at=5.0, step="ship", direction=DO, outcome=Outcome.REFUSED, reply=None, **ANN
        ),
        "ann: do refused, it is up again",
    ),
    (OperatorCancelled(at=5.0, **ANN), "ann: it is up again"),
    (
        OperatorCancelled(at=5.0, refused="too late", **ANN),
        "ann: it is up again; not done, too late",
    ),
    (OperatorCompensated(at=5.0, **ANN), "ann: it is up again"),
    (OperatorResumed(at=5.0, step="ship", direction=UNDO, **ANN), "ann: undo, it is up again"),
    (
        OperatorResent(at=5.0, step="ship", attempt=2, **ANN),
        "ann: do, it is up again, attempt 2",
    ),
]


@pytest.mark.parametrize(("event", "said"), SAID, ids=lambda one: type(one).__name__)
def test_an_event_says_what_its_name_and_step_do_not(event: SagaEvent, said: str) -> None:
    assert gist(event) == said


def test_every_event_is_told_of() -> None:
    assert {type(event) for event, _ in SAID} == set(EVENTS.values())


def test_the_examples_are_true() -> None:
    assert doctest.testmod(module) == (0, 2)

"""How Cloudflare Workflows roll back: money goes from one bank to another, and both are told.

They publish rules, and no names of scenarios: the names are ours. Their handlers run one after the
other, last started first; here what depended on a step is undone before it, all else side by side.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from es_saga import Retry, Saga
from es_saga.core.events import CompensationFailed
from es_saga.core.policy import OnFailedUndo
from es_saga.core.state import SagaStatus
from es_saga.testing import Scene
from es_saga.testing.faults import Fault, Kind
from es_saga.testing.outcome import Outcome
from tests.core.sagas import ONCE, TWICE, Do, Trip, Undo, add, beside, chain, do
from tests.foreign.log import Log
from tests.foreign.path import DONE, SAGA_ID, simulate, tell
from tests.foreign.scenarios import COMPENSATED, STUCK, Scenario, Table

TRANSFER = chain("debit", "credit", "notify")
PATIENT = Retry(attempts=5, first=timedelta(seconds=30), coefficient=1, jitter=0)


def quoted() -> Saga[Trip]:
    """A step that only reads comes first."""
    saga = Saga("quoted", Trip)
    saga.check(do("quote"))
    add(saga, "debit")
    add(saga, "credit")
    return saga


TABLE = Table(
    "Cloudflare Workflows, blog post of 2026-06-25 on saga rollbacks, changelog of 2026-06-05 and"
    " 2026-06-16, release notes of workflows-shared 0.12.0",
    Scenario(
        "reverse-start-order",
        "The last of three steps fails for good.",
        COMPENSATED,
        TRANSFER,
        "debit credit notify! -credit -debit",
    ),
    Scenario(
        "parallel-steps",
        "Three steps start together and end in another order; what follows them fails.",
        COMPENSATED,
        beside(),
        "car+flight+room pay! -flight+-room+-car",
        ours="nothing depends on their order; who wants one declares it with `after=`",
    ),
    Scenario(
        "failed-step-that-may-have-acted",
        "The credit is never answered: its undo runs too, and gets no reply of it.",
        COMPENSATED,
        TRANSFER,
        "debit credit? credit? credit? -credit -debit",
    ),
    Scenario(
        "failed-step-that-answered",
        "The credit says that it failed, as often as it may.",
        COMPENSATED,
        TRANSFER,
        "debit credit~ credit~ credit~ -debit",
        ours="a failure is an answer: the participant has rolled back, so nothing is undone",
    ),
    Scenario(
        "step-without-handler",
        "A step that changes nothing has no undo, and is passed over.",
        COMPENSATED,
        quoted(),
        "quote debit credit! -debit",
    ),
    Scenario(
        "non-retryable-error",
        "The credit fails with an error that no further attempt can help.",
        COMPENSATED,
    ),
    Scenario(
        "own-retries-of-the-undo",
        "The steps are tried once, the undos five times, half a minute apart.",
        COMPENSATED,
    ),
    Scenario(
        "own-timeout-of-the-undo",
        "An undo is not answered in time.",
        COMPENSATED,
        TRANSFER,
        "debit credit! -debit? -debit",
    ),
    Scenario(
        "undo-fails-for-good",
        "An undo's attempts are spent: the rest is not undone.",
        STUCK,
        chain("debit", "credit", "notify", undo_retry=TWICE, on_failed_undo=OnFailedUndo.HALT),
        "debit credit notify! -credit~ -credit~",
        ours="it waits for a human instead of ending as errored",
    ),
    Scenario(
        "outcome-in-the-status",
        "The status says whether all was undone, and else what was not, and why.",
        SagaStatus.COMPENSATED_WITH_EXCEPTIONS,
    ),
    Scenario(
        "cause-kept-apart",
        "An undo fails, too: the reason for undoing stays what it was.",
        STUCK,
    ),
    Scenario(
        "status-while-undoing",
        "Somebody asks for the status while undos run.",
        "compensating",
        ours="they say running",
    ),
    Scenario(
        "restart-amid-undos",
        "The engine dies amid the undos: it goes on there, and no step runs again.",
        COMPENSATED,
    ),
    Scenario(
        "terminate-with-rollback",
        "Somebody ends it by hand, and wants it undone.",
        COMPENSATED,
        ours="the step in flight is waited for: its answer decides what is owed",
    ),
    Scenario(
        "terminate-without-rollback",
        "Somebody ends it by hand, and leaves everything as it is.",
        "terminated",
        missing="nothing is left half done in silence: an operator waives undo by undo, on record",
    ),
    Scenario(
        "caught-error",
        "The code catches a step's error and goes on: nothing is undone.",
        SagaStatus.COMPLETED,
        missing="no code runs between steps; what one can do without is told by a reply, not a no",
    ),
    Scenario(
        "wait-for-event",
        "What waits for an event has an undo. (They plan it.)",
        COMPENSATED,
        missing="there is no `wait` yet",
    ),
)


@pytest.mark.requirement("R050")
@TABLE.plays("non-retryable-error")
def test_what_can_never_succeed_is_tried_once() -> Scene:
    return tell(TRANSFER, "debit").expect(Do).fail(retry_after=-1).expect(Undo).reply()


@pytest.mark.requirement("R050")
@pytest.mark.law("L31")
@TABLE.plays("own-retries-of-the-undo")
def test_an_undo_is_tried_by_a_policy_of_its_own() -> Scene:
    saga = chain("debit", "credit", retry=ONCE, undo_retry=PATIENT)
    undone = tell(saga, "debit credit~ -debit~ -debit~ -debit~ -debit~ -debit")
    failures = [event for event in undone.history if isinstance(event, CompensationFailed)]
    assert [failed.retry_at and failed.retry_at - failed.at for failed in failures] == [30] * 4
    return undone


@pytest.mark.requirement("R039", "D09")
@TABLE.plays("outcome-in-the-status")
def test_the_status_says_what_was_not_undone(tmp_path: Path) -> Scene:
    report = OnFailedUndo.REPORT
    saga = chain("debit", "credit", "notify", undo_retry=TWICE, on_failed_undo=report)
    ended = tell(saga, "debit credit notify! -credit~ -credit~ -debit")
    log = Log(tmp_path)
    log.write(ended.story)
    row = log.look()
    assert row.status == "compensated-with-exceptions"
    assert row.exceptions == [{"step": "credit", "error": "Unavailable"}]
    return ended


@pytest.mark.requirement("R061")
@TABLE.plays("cause-kept-apart")
def test_why_it_was_undone_is_not_why_an_undo_failed() -> Scene:
    stuck = tell(chain("debit", "credit", undo_retry=ONCE), "debit credit! -debit~")
    failure, trouble = stuck.state.failure, stuck.state.stuck
    assert failure is not None
    assert trouble is not None
    assert (failure.step, failure.why) == ("credit", "No")
    assert trouble.step == "debit"
    return stuck


@TABLE.plays("status-while-undoing")
def test_a_saga_that_is_being_undone_says_so() -> None:
    undoing = tell(TRANSFER, "debit credit!").expect(Undo)
    assert undoing.state.status == TABLE.rows["status-while-undoing"].end


@pytest.mark.requirement("R041", "R052")
@TABLE.plays("restart-amid-undos")
@pytest.mark.parametrize("death", [Kind.DIES_BEFORE_APPEND, Kind.DIES_AFTER_APPEND])
@pytest.mark.parametrize("version", [9, 10, 11, 12])
def test_undos_go_on_where_they_were(death: Kind, version: int) -> Outcome:
    path = "debit credit notify! -credit -debit"
    return simulate(TRANSFER, path, Fault(death, f"{SAGA_ID}#{version}", 5.0))


@pytest.mark.law("L17")
@TABLE.plays("terminate-with-rollback")
def test_who_ends_it_by_hand_has_it_undone() -> Scene:
    cancelled = tell(TRANSFER, "debit").expect(Do).cancel().nothing_sent()
    credited = cancelled.on(Do).reply(DONE)
    return credited.expect(Undo).reply().expect(Undo).reply()

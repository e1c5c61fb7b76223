"""dtm's tests of sagas and of its barrier: money goes `out` of one account and `into` another.

Its branches are our steps, its barrier is our fence. Where a branch is refused, dtm calls the undo
of that branch too and trusts the barrier to let it do nothing; we know that nothing was done.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from es_saga import Saga
from es_saga.core.decide import decide
from es_saga.core.errors import ConflictError
from es_saga.core.events import DeadlineExceeded
from es_saga.core.inputs import Start
from es_saga.core.messages import Outcome as Answered
from es_saga.engine.outgoing import summary
from es_saga.testing import Scene, Story, given
from es_saga.testing.faults import Fault, Kind
from es_saga.testing.outcome import Outcome
from tests.core.sagas import ONCE, Do, Trip, Undo, add, chain
from tests.foreign.desk import conduct, desk, in_flight
from tests.foreign.path import SAGA_ID, simulate, tell
from tests.foreign.scenarios import COMPENSATED, COMPLETED, Scenario, Table

TRANSFER = chain("out", "into")
ONE_BRANCH = chain("out")


def beside() -> Saga[Trip]:
    """Both branches at once."""
    saga = Saga("transfer", Trip)
    add(saga, "out", after=())
    add(saga, "into", after=())
    return saga


_REFUSED = "the refused branch is not undone: a refusal means that nothing was done (L29)"
_HEADERS = "a command carries its data and a trace, and no headers of one's own"
_TCC = "there is no Tcc yet; its fence is ours"
_OTHER_STORES = "the fence commits with the effect, in SQL; there is none for other stores"

TABLE = Table(
    "dtm-labs/dtm, test/saga_test.go, saga_concurrent_test.go, saga_options_test.go,"
    " saga_barrier_test.go, tcc_barrier_test.go, 18146ee53baf",
    # ── saga_test.go ─────────────────────────────────────────────────────────────────────────────
    Scenario("TestSagaNormal", "Both branches succeed.", COMPLETED, TRANSFER, "out into"),
    Scenario(
        "TestSagaRollback",
        "The second branch is refused.",
        COMPENSATED,
        TRANSFER,
        "out into! -out",
        ours=_REFUSED,
    ),
    Scenario(
        "TestSagaOngoingSucceed",
        "A branch is not ready at first; asked again, it is.",
        COMPLETED,
        TRANSFER,
        "out~ out into",
    ),
    Scenario(
        "TestSagaFailed",
        "The undo of the first branch fails at first.",
        COMPENSATED,
        TRANSFER,
        "out into! -out~ -out",
        ours=_REFUSED,
    ),
    Scenario(
        "TestSagaAbnormal",
        "It is submitted again, on its way and after its end.",
        COMPLETED,
        ours="after the end, too, the same start is answered with the same saga; with another"
        " input it is a conflict",
    ),
    Scenario(
        "TestSagaEmptyUrl",
        "A branch has no undo, another one not even an action.",
        COMPLETED,
        missing="a step has a command, and before the pivot an undo: others are refused",
    ),
    # ── saga_concurrent_test.go ──────────────────────────────────────────────────────────────────
    Scenario("TestSagaConNormal", "Both at once.", COMPLETED, beside(), "out+into"),
    Scenario(
        "TestSagaConRollbackNormal",
        "Of two at once one is refused, and the undo of the other is not ready at first.",
        COMPENSATED,
        beside(),
        "out!+into -into~ -into",
        ours=_REFUSED,
    ),
    Scenario(
        "TestSagaConRollbackOrder",
        "The second is declared to come after the first, which is refused: it never starts.",
        COMPENSATED,
        TRANSFER,
        "out!",
        ours=_REFUSED,
    ),
    Scenario(
        "TestSagaConRollbackOrder2",
        "The second is declared to come after the first, and is refused.",
        COMPENSATED,
        TRANSFER,
        "out into! -out",
        ours=_REFUSED,
    ),
    Scenario(
        "TestSagaConCommittedOngoing",
        "Of two at once one is not ready at first; the other does not wait for it.",
        COMPLETED,
        beside(),
        "out~+into out",
    ),
    # ── saga_options_test.go ─────────────────────────────────────────────────────────────────────
    Scenario(
        "TestSagaOptionsRetryOngoing",
        "One branch, not ready at first.",
        COMPLETED,
        ONE_BRANCH,
        "out~ out",
    ),
    Scenario(
        "TestSagaOptionsRetryError",
        "An attempt ends nobody knows how.",
        COMPLETED,
        ONE_BRANCH,
        "out? out",
    ),
    Scenario(
        "TestSagaOptionsTimeout",
        "A branch is not ready until the saga's time is over.",
        COMPENSATED,
        ours="an attempt that failed was rolled back: there is nothing to undo",
    ),
    Scenario(
        "TestSagaGlobalTransWithRequestTimeout",
        "A branch takes longer to answer than anybody waits.",
        COMPLETED,
    ),
    Scenario(
        "TestSagaOptionsNormalWait",
        "The client waits for the end.",
        COMPLETED,
        missing="how a client waits is no matter of the saga: tests/cli has it",
    ),
    Scenario(
        "TestSagaOptionsCommittedOngoingWait",
        "The client waits while a branch is not ready, and is told so.",
        COMPLETED,
        missing="how a client waits is no matter of the saga: tests/cli has it",
    ),
    Scenario(
        "TestSagaOptionsRollbackWait",
        "The second branch is refused, and the client hears the reason.",
        COMPENSATED,
        ours=_REFUSED,
    ),
    Scenario(
        "TestSagaHeaders", "Headers of the client reach the branch.", COMPLETED, missing=_HEADERS
    ),
    Scenario(
        "TestSagaHeadersYes1", "Headers reach later attempts, too.", COMPLETED, missing=_HEADERS
    ),
    Scenario(
        "TestSagaGlobalTransWithRetryLimitYes",
        "A branch fails less often than it may.",
        COMPLETED,
        TRANSFER,
        "out into~ into~ into",
    ),
    Scenario(
        "TestSagaGlobalTransWithRetryLimitNo",
        "A branch fails as often as it may.",
        COMPENSATED,
        chain("out", "into", retry=ONCE),
        "out into~ -out",
        ours="an attempt that failed was rolled back: its branch is not undone",
    ),
    # ── saga_barrier_test.go, tcc_barrier_test.go ────────────────────────────────────────────────
    Scenario("TestSagaBarrierNormal", "Every command comes twice.", COMPLETED),
    Scenario(
        "TestSagaBarrierRollback",
        "Every command comes twice, and the second branch is refused.",
        COMPENSATED,
        ours=_REFUSED,
    ),
    Scenario(
        "TestSagaBarrier2Normal",
        "One branch passes two barriers, for two operations.",
        COMPLETED,
        missing="a command has one record in the fence, and any number of statements under it",
    ),
    Scenario("TestTccBarrierNormal", "Try both, confirm both.", COMPLETED, missing=_TCC),
    Scenario("TestTccBarrierRollback", "Try, cancel both.", COMPENSATED, missing=_TCC),
    Scenario(
        "TestTccBarrierDisorderMysql",
        "The undo comes twice before the command does.",
        COMPENSATED,
        ours="the command that comes too late is refused; dtm says it succeeded, and does nothing",
    ),
    Scenario("TestTccBarrierDisorderMongo", "As above.", COMPENSATED, missing=_OTHER_STORES),
    Scenario("TestTccBarrierDisorderRedis", "As above.", COMPENSATED, missing=_OTHER_STORES),
    Scenario(
        "TestTccBarrierPanic",
        "The handler throws after it wrote.",
        COMPLETED,
        ours="the error is an answer: what was written is rolled back, and it is asked again",
    ),
)


@pytest.mark.requirement("R030")
@TABLE.plays("TestSagaAbnormal")
def test_a_saga_that_is_started_again_is_the_same_saga() -> Outcome:
    for scene in (tell(TRANSFER, "out").expect(Do), tell(TRANSFER, "out into")):
        begun = scene.state.origin.data
        assert decide(TRANSFER.definition, scene.state, Start(SAGA_ID, begun), scene.now) == []
        with pytest.raises(ConflictError):
            decide(TRANSFER.definition, scene.state, Start(SAGA_ID, {"who": "bob"}), scene.now)
    again = (Fault(Kind.STARTED_AGAIN, f"{SAGA_ID}#{version}") for version in (2, 6))
    return simulate(TRANSFER, "out into", *again)


@pytest.mark.requirement("R051")
@TABLE.plays("TestSagaOptionsTimeout")
def test_when_its_time_is_over_a_saga_is_undone() -> Scene:
    half_an_hour = timedelta(minutes=30)
    saga = chain("out", "into", deadline=half_an_hour)
    waiting = given(saga, Trip(), saga_id=SAGA_ID).expect(Do).fail(retry_after=3_600)
    begun = waiting.now
    over = waiting.wait(3_600)
    (exceeded,) = (event for event in over.history if isinstance(event, DeadlineExceeded))
    assert exceeded.at == begun + half_an_hour.total_seconds()
    assert over.state.failure is not None
    assert over.state.failure.why == "deadline exceeded"
    return over


@pytest.mark.requirement("R045", "R049")
@TABLE.plays("TestSagaGlobalTransWithRequestTimeout")
def test_an_answer_that_takes_too_long_is_asked_for_again_and_the_effect_is_one() -> Outcome:
    slow = Fault(Kind.DELAYED, f"{SAGA_ID}/out/do/1/r", 100.0)
    return simulate(ONE_BRANCH, "out", slow)


@pytest.mark.requirement("R061", "R078")
@TABLE.plays("TestSagaOptionsRollbackWait")
def test_the_client_hears_why_it_was_undone() -> Scene:
    undone = tell(TRANSFER, "out into! -out")
    told = summary(undone.state)
    assert (told["status"], told["reason"], told["reason_step"]) == ("compensated", "No", "into")
    return undone


@pytest.mark.requirement("R028", "R029", "R030")
@TABLE.plays("TestSagaBarrierNormal")
def test_what_is_delivered_twice_is_done_once() -> Outcome:
    return simulate(TRANSFER, "out into", *twice("out/do", "into/do"))


@TABLE.plays("TestSagaBarrierRollback")
def test_what_is_delivered_twice_is_undone_once() -> Outcome:
    return simulate(TRANSFER, "out into! -out", *twice("out/do", "into/do", "out/undo"))


def twice(*keys: str) -> list[Fault]:
    """These come a second time, twenty seconds later: long after their saga's end."""
    return [Fault(Kind.DOUBLED, f"{SAGA_ID}/{key}/1", 20.0) for key in keys]


@pytest.mark.law("L21", "L22", "L24")
@TABLE.plays("TestTccBarrierDisorderMysql")
def test_undone_twice_and_then_done_is_nothing_done(tmp_path: Path) -> Scene:
    asked = given(chain("out", retry=ONCE), Trip(), saga_id=SAGA_ID).expect(Do)
    slow = in_flight(asked)
    undoing = asked.timeout().expect(Undo)
    first = in_flight(undoing)
    again = undoing.timeout().expect(Undo)
    with desk(tmp_path) as open_desk:
        undone = open_desk.call(first, in_flight(again))
        (late,) = open_desk.call(slow)
        assert open_desk.acts == []
    assert [answer.outcome for answer in undone] == [Answered.SUCCEEDED] * 2
    assert (late.outcome, late.type) == (Answered.REFUSED, "Undone")
    return again.reply()


@pytest.mark.requirement("R034")
@TABLE.plays("TestTccBarrierPanic")
def test_what_a_handler_wrote_before_it_threw_is_not_there(tmp_path: Path) -> Story:
    with desk(tmp_path, {"out/1": ZeroDivisionError()}) as open_desk:
        story = conduct(ONE_BRANCH, open_desk)
        assert open_desk.acts == ["out"]
    return story

"""Eventuate Tram's sagas, step by step: orders that need credit and stock.

Their local steps run in the process that conducts; here they are commands to a participant, which
may live in the same process. Their notifications are commands that nobody answers; here every
command is answered, so that none is lost. The last step that can say no is the pivot.
"""

from __future__ import annotations

import pytest

from es_saga import Saga
from es_saga.core.events import StepRefused
from es_saga.testing import Scene
from tests.core.sagas import Trip, add, do
from tests.foreign.path import tell
from tests.foreign.scenarios import COMPENSATED, COMPLETED, STUCK, Scenario, Table


def order(*steps: str, pivot: str, then: str | None = None) -> Saga[Trip]:
    """Steps with undos, the pivot, and perhaps one more, which is retried until it is done."""
    saga = Saga("order", Trip)
    for step in steps:
        add(saga, step)
    saga.pivot(do(pivot))
    if then is not None:
        saga.step(do(then))
    return saga


TWO = order("first", pivot="credit")
LOCAL = order("create", "credit", pivot="approve")
NOTIFYING = order("create", "credit", "stock", pivot="approve", then="fulfil")

_NO_WHEN = "there is no `when=` yet"
_REPLIES = "what their reply handlers keep, ours find by type: the undo gets the step's reply"
_LOCAL_NO = "the caller gets no exception: the saga begins, is refused, and says so"
_ANSWERED = "the notification is a step: it is sent until it is answered"
_IN_TURN = "the notice to release the stock is answered before the credit is released"

TABLE = Table(
    "eventuate-tram/eventuate-tram-sagas, tests of orchestration-simple-dsl and of"
    " orders-and-customers, e8d57a1c62b0",
    # ── ConditionalSagaTest: the first step is taken on a condition ──────────────────────────────
    Scenario(
        "ConditionalSagaTest.shouldExecuteAllStepsSuccessfully",
        "The condition holds, and all is done.",
        COMPLETED,
        TWO,
        "first credit",
    ),
    Scenario(
        "ConditionalSagaTest.shouldRollback",
        "The condition holds, and the second step is refused.",
        COMPENSATED,
        TWO,
        "first credit! -first",
    ),
    Scenario(
        "ConditionalSagaTest.shouldExecuteAllStepsExcept1Successfully",
        "The condition does not hold, and the rest is done.",
        COMPLETED,
        missing=_NO_WHEN,
    ),
    Scenario(
        "ConditionalSagaTest.shouldRollbackExcept1",
        "The condition does not hold, and the second step is refused: nothing is undone.",
        COMPENSATED,
        missing=_NO_WHEN,
    ),
    Scenario(
        "ConditionalSagaTest.shouldFailOnFirstStep",
        "The condition holds, and the first step is refused.",
        COMPENSATED,
        TWO,
        "first!",
    ),
    # ── WithHandlersSagaTest: the same, and each reply is handled ────────────────────────────────
    Scenario(
        "WithHandlersSagaTest.shouldExecuteAllStepsSuccessfully",
        "Both replies are handled.",
        COMPLETED,
        TWO,
        "first credit",
        ours=_REPLIES,
    ),
    Scenario(
        "WithHandlersSagaTest.shouldRollback",
        "A success, a refusal and the reply of an undo are handled.",
        COMPENSATED,
        TWO,
        "first credit! -first",
        ours=_REPLIES,
    ),
    Scenario(
        "WithHandlersSagaTest.shouldExecuteAllStepsExcept1Successfully",
        "The condition does not hold, and the one reply is handled.",
        COMPLETED,
        missing=_NO_WHEN,
    ),
    Scenario(
        "WithHandlersSagaTest.shouldRollbackExcept1",
        "The condition does not hold, and the one refusal is handled.",
        COMPENSATED,
        missing=_NO_WHEN,
    ),
    Scenario(
        "WithHandlersSagaTest.shouldFailOnFirstStep",
        "The refusal of the first step is handled.",
        COMPENSATED,
        TWO,
        "first!",
        ours=_REPLIES,
    ),
    # ── LocalSagaTest: the first and the last step are local ─────────────────────────────────────
    Scenario(
        "LocalSagaTest.shouldExecuteAllStepsSuccessfully",
        "Local, asked, local: all is done.",
        COMPLETED,
        LOCAL,
        "create credit approve",
    ),
    Scenario(
        "LocalSagaTest.shouldRollbackFromStep2",
        "What was asked is refused: the local step is undone.",
        COMPENSATED,
        LOCAL,
        "create credit! -create",
    ),
    Scenario(
        "LocalSagaTest.shouldHandleFailureOfFirstLocalStep",
        "The first local step cannot be done.",
        COMPENSATED,
        LOCAL,
        "create!",
        ours=_LOCAL_NO,
    ),
    Scenario(
        "LocalSagaTest.shouldHandleFailureOfLastLocalStep",
        "The last local step cannot be done.",
        COMPENSATED,
        LOCAL,
        "create credit approve! -credit -create",
    ),
    # ── LocalExceptionCreateOrderSagaTest: a local step says no by an exception ──────────────────
    Scenario(
        "LocalExceptionCreateOrderSagaTest.shouldExecuteAllStepsSuccessfully",
        "There is no exception.",
        COMPLETED,
        NOTIFYING,
        "create credit stock approve fulfil",
        ours=_ANSWERED,
    ),
    Scenario(
        "LocalExceptionCreateOrderSagaTest.shouldRollbackDueToLocalStepFailure",
        "An exception that was declared: its kind is kept, and all is undone.",
        COMPENSATED,
        ours="a no is a refusal, a value, and stands in the log; exceptions are for outages",
    ),
    Scenario(
        "LocalExceptionCreateOrderSagaTest.shouldFailWithUnexpectedException",
        "An exception that nobody expected.",
        COMPENSATED,
        NOTIFYING,
        "create credit stock approve~ approve~ approve~ -stock -credit -create",
        ours="it counts as an outage: tried again, and undone when the attempts are spent;"
        " theirs stops half-way",
    ),
    # ── NestedSagaTest ───────────────────────────────────────────────────────────────────────────
    Scenario(
        "NestedSagaTest.shouldInvokeNestedSaga",
        "A participant answers with the end of a saga of its own.",
        COMPLETED,
        missing="there are no nested sagas yet",
    ),
    # ── NotificationBasedCreateOrderSagaTest: some messages are not answered ─────────────────────
    Scenario(
        "NotificationBasedCreateOrderSagaTest.shouldExecuteAllStepsSuccessfully",
        "The last message is a notification.",
        COMPLETED,
        NOTIFYING,
        "create credit stock approve fulfil",
        ours=_ANSWERED,
    ),
    Scenario(
        "NotificationBasedCreateOrderSagaTest.shouldRollbackFromStep2",
        "The credit is refused.",
        COMPENSATED,
        NOTIFYING,
        "create credit! -create",
    ),
    Scenario(
        "NotificationBasedCreateOrderSagaTest.shouldHandleFailureOfFirstLocalStep",
        "The order cannot be created.",
        COMPENSATED,
        NOTIFYING,
        "create!",
        ours=_LOCAL_NO,
    ),
    Scenario(
        "NotificationBasedCreateOrderSagaTest.shouldHandleFailureOfLastLocalStep",
        "The order cannot be approved: one of the undos is a notification.",
        COMPENSATED,
        NOTIFYING,
        "create credit stock approve! -stock -credit -create",
        ours=_IN_TURN,
    ),
    # ── ConditionalNotificationBasedCreateOrderSagaTest ──────────────────────────────────────────
    Scenario(
        "ConditionalNotificationBasedCreateOrderSagaTest.shouldExecuteAllStepsSuccessfully",
        "The condition of the last notification holds.",
        COMPLETED,
        NOTIFYING,
        "create credit stock approve fulfil",
        ours=_ANSWERED,
    ),
    Scenario(
        "ConditionalNotificationBasedCreateOrderSagaTest"
        ".shouldExecuteAllStepsSuccessfullyWithSkippedFulfilOrder",
        "The condition of the last notification does not hold.",
        COMPLETED,
        missing=_NO_WHEN,
    ),
    Scenario(
        "ConditionalNotificationBasedCreateOrderSagaTest.shouldHandleFailureOfLastLocalStep",
        "The condition of the undo that is a notification holds.",
        COMPENSATED,
        NOTIFYING,
        "create credit stock approve! -stock -credit -create",
        ours=_IN_TURN,
    ),
    Scenario(
        "ConditionalNotificationBasedCreateOrderSagaTest"
        ".shouldHandleFailureOfLastLocalStepWithSkippedReleaseInventory",
        "The condition of the undo that is a notification does not hold.",
        COMPENSATED,
        missing=_NO_WHEN,
    ),
    # ── orders-and-customers ─────────────────────────────────────────────────────────────────────
    Scenario(
        "CreateOrderSagaTest.shouldCreateOrder",
        "The credit is reserved, the order approved.",
        COMPLETED,
        LOCAL,
        "create credit approve",
    ),
    Scenario(
        "CreateOrderSagaTest.shouldRejectOrder",
        "The credit is refused, the order rejected.",
        COMPENSATED,
        LOCAL,
        "create credit! -create",
    ),
    Scenario(
        "OrdersAndCustomersInMemoryFailingCompensatingTransactionIntegrationTest"
        ".shouldChangeStateOfSagaToFailedWhenCompensatingTransactionFails",
        "The credit is refused, and so is the undo of the order.",
        STUCK,
        LOCAL,
        "create credit! -create!",
        ours="it waits for a human instead of ending as failed",
    ),
)


@pytest.mark.requirement("R061", "D04")
@TABLE.plays("LocalExceptionCreateOrderSagaTest.shouldRollbackDueToLocalStepFailure")
def test_the_kind_of_a_no_is_kept() -> Scene:
    undone = tell(NOTIFYING, "create credit stock approve! -stock -credit -create")
    (refused,) = (event for event in undone.history if isinstance(event, StepRefused))
    assert (refused.step, refused.refusal_type) == ("approve", "No")
    return undone

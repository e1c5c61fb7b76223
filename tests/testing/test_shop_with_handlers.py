"""The shop of the reference business with its own handlers: no stock and no money is lost."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from domain.orders import app, collect, counter, express, order
from domain.orders.contracts import PlaceOrder
from domain.orders.participants import card_payments, carrier, payments, shipping, stock, stockroom
from domain.orders.participants import orders as order_book
from es_saga import Saga
from es_saga.core.state import SagaStatus
from es_saga.testing import Begin, Books, Sagas, World, check_saga
from es_saga.testing.examples import example
from es_saga.testing.outcome import Outcome

SHOP = [order_book, payments, stock, shipping]

PIECES = sum(stockroom.OPENING_STOCK.values())
PENCE = sum(card_payments.OPENING_BALANCES.values())

RESIDUE = ["orders", "ledger", "parcels"]
"""What remains of a sale that was undone: the entry, the entries, the parcel, all marked."""


GOODS = sa.text(
    "SELECT sum(on_hand + reserved), sum(reserved),"
    " (SELECT coalesce(sum(quantity), 0) FROM reservations) FROM stock"
)
MONEY = sa.text("SELECT sum(pence) + (SELECT coalesce(sum(pence), 0) FROM ledger) FROM accounts")


def nothing_is_lost(books: Books, sagas: Sagas) -> None:
    """At all times: what is not on the shelf is reserved, what is not in an account was taken."""
    pieces, reserved, noted = books["stock"].execute(GOODS).one()
    assert pieces == PIECES, f"of {PIECES} pieces there are {pieces}"
    assert reserved == noted, f"{reserved} pieces are reserved, and {noted} of them for somebody"
    pence = books["payments"].scalar(MONEY)
    assert pence == PENCE, f"of {PENCE} pence there are {pence}"


def who_has_paid_has_his_goods(books: Books, sagas: Sagas) -> None:
    """In the end, where no order waits for a human, and none was ended by one."""
    ends = {state.status for state in sagas.values()}
    if not ends <= {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}:
        return
    sold = [s.origin.data for s in sagas.values() if s.status is SagaStatus.COMPLETED]
    money = card_payments.totals(books["payments"].engine)
    goods = stockroom.totals(books["stock"].engine)
    assert money["taken"] == sum(data["pence"] for data in sold), money
    assert goods["reserved"] == sum(data.get("quantity", 1) for data in sold), goods
    if "shipping" in books:
        parcels = carrier.totals(books["shipping"].engine)
        assert parcels["posted"] in (0, goods["reserved"]), parcels


@pytest.mark.requirement("R028", "R030", "R034")
@pytest.mark.parametrize("saga", [order, collect, express, counter], ids=lambda saga: saga.name)
def test_no_stock_and_no_money_is_lost_under_hundreds_of_schedules(saga: Saga[Any]) -> None:
    checked = check_saga(
        saga,
        participants=SHOP,
        invariant=who_has_paid_has_his_goods,
        always=nothing_is_lost,
        residue=RESIDUE,
        examples=100,
    )
    assert checked.schedules == 100
    assert checked.fates[SagaStatus.COMPLETED] > 25
    assert checked.fates[SagaStatus.COMPENSATED] > 25
    assert len(checked.faults) >= 15
    assert not checked.hint


def test_an_undo_that_keeps_a_penny_of_a_pound_is_found_with_the_input_that_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give = "UPDATE accounts SET pence = pence + :pence - (:pence >= 100) WHERE card = :card"
    monkeypatch.setattr(card_payments, "GIVE", give)
    world = World([order], rate=0.3, participants=SHOP, invariant=nothing_is_lost)
    data = {"order_id": "7", "customer": "ann", "sku": "kettle", "quantity": 3, "pence": 250}
    data |= {"card": "amex", "town": "York"}
    found = world.search(range(100), [Begin("order-1", "order", data)])
    assert found is not None
    plain = example(PlaceOrder).model_dump(mode="json")
    assert found.begins[0].data == {**plain, "pence": 250}, "all else is as good as anything"
    told = str(found)
    found_first = "invariant (): nothing_is_lost: of 2000000000500 pence there are 2000000000499"
    assert told.startswith(found_first)
    assert "sends order-1/charge/undo/1: RefundCard" in told
    assert len(found.plan.faults) <= 3


@pytest.mark.parametrize(
    ("word", "end"),
    [
        ("flaky", SagaStatus.COMPLETED),
        ("slow", SagaStatus.COMPLETED),
        ("garbled", SagaStatus.COMPENSATED),
        ("crash", SagaStatus.COMPENSATED),
    ],
)
def test_faults_on_demand_are_played_too(word: str, end: SagaStatus) -> None:
    """A card may say what becomes of the payments service; see `domain.faults`.

    Who crashes remembers that it did in a database of its own. That one goes with the process here,
    for it is in memory: so it crashes again and again.
    """
    outcome = paid_with(f"visa!{word}")
    assert not outcome.findings, outcome
    assert outcome.states["order-1"].status is end


def test_a_service_that_fails_on_demand_is_told() -> None:
    outcome = paid_with("visa!fails")
    (finding,) = outcome.findings
    told = "participant (order-1): payments, asked to ChargeCard: Mishap: It does not work today."
    assert str(finding).startswith(told)


def paid_with(card: str) -> Outcome:
    data = {"order_id": "1", "customer": "ann", "sku": "teapot", "pence": 5, "town": "Bath"}
    cast = app.participants.values()
    world = World([order], rate=0, participants=cast, always=nothing_is_lost)
    return world.run([Begin("order-1", "order", {**data, "card": card})])

"""One `Tcc`, end to end: with reservations in tables, and with transactions that are prepared."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from domain.checkout import checkout
from domain.checkout.contracts import CardDeclined, Cart, FundsHeld, HoldFunds
from domain.checkout.participants import accounts, bank, box_office, shows
from es_saga import App, Participant, SyncTx
from es_saga.database import make_engine
from es_saga.in_process import InProcess
from es_saga.participant.prepared import in_doubt
from es_saga.projections.ending import Ending

pytestmark = pytest.mark.anyio

strict_bank = Participant("bank", tables=accounts.tables)


@strict_bank.prepares(HoldFunds)
def spend(cmd: HoldFunds, tx: SyncTx) -> FundsHeld | CardDeclined:
    """What is held is spent at once: nobody sees it before it is confirmed."""
    taken = tx.execute(
        "UPDATE accounts SET available = available - :n, consumed = consumed + :n"
        " WHERE thing = :card AND available >= :n",
        {"n": cmd.pence, "card": cmd.card},
    )
    return FundsHeld(pence=cmd.pence) if taken else CardDeclined(card=cmd.card)


@pytest.mark.requirement("R085", "R086")
@pytest.mark.parametrize("paid_by", [bank, strict_bank], ids=["reserved", "prepared"])
async def test_the_saga_is_the_same_whether_funds_are_reserved_or_prepared(
    paid_by: Participant, postgres_url: str
) -> None:
    app = App("checkout", sagas=[checkout], participants=[box_office, paid_by])
    engine = make_engine(postgres_url)
    async with InProcess(app, database=postgres_url) as sagas:
        seats, pence = shows.totals(engine), accounts.totals(engine)
        cart = Cart(cart_id="1", show="Hamlet", seats=2, card="visa", pence=9_000)
        bought = await sagas.wait((await sagas.start(checkout, cart)).saga_id)
        poor = cart.model_copy(update={"cart_id": "2", "card": "prepaid"})
        declined = await sagas.wait((await sagas.start(checkout, poor)).saga_id)
        late = cart.model_copy(update={"cart_id": "3", "show": "sold out"})
        sold_out = await sagas.wait((await sagas.start(checkout, late)).saga_id)
    endings = [bought.ending, declined.ending, sold_out.ending]
    assert endings == [Ending.COMPLETED, Ending.REFUSED, Ending.REFUSED]
    sold = {"available": seats["available"] - 2, "reserved": 0, "consumed": 2}
    spent = {"available": pence["available"] - 9_000, "reserved": 0, "consumed": 9_000}
    assert (shows.totals(engine), accounts.totals(engine)) == (sold, spent)
    assert in_doubt(engine, strict_bank) == []
    with engine.connect() as connection:
        statuses = connection.execute(sa.text("SELECT status, count(*) FROM es_holds GROUP BY 1"))
        assert {row[0]: row[1] for row in statuses} == {"confirmed": 2, "cancelled": 2}
    engine.dispose()

"""Payments: the money behind each card, and a ledger of every penny that moved.

The ledger only grows: a refund is an entry of its own, with the opposite sign. What is in the
accounts and what the ledger says we took make the same sum at all times.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

from domain.orders.contracts import CardCharged, CardDeclined, ChargeCard, RefundCard
from domain.totals import count
from es_saga import Participant, Tx

OPENING_BALANCES = {"visa": 10**12, "amex": 10**12, "prepaid": 500}
"""Pence behind each card in a new database."""

tables = sa.MetaData()

accounts = sa.Table(
    "accounts",
    tables,
    sa.Column("card", sa.Text, primary_key=True),
    sa.Column("pence", sa.BigInteger, sa.CheckConstraint("pence >= 0"), nullable=False),
)

ledger = sa.Table(
    "ledger",
    tables,
    sa.Column("entry", sa.Text, primary_key=True),
    sa.Column("card", sa.Text, nullable=False),
    sa.Column("pence", sa.BigInteger, nullable=False),
)

payments = Participant("payments", tables=tables)

TAKE = "UPDATE accounts SET pence = pence - :pence WHERE card = :card AND pence >= :pence"
GIVE = "UPDATE accounts SET pence = pence + :pence WHERE card = :card"
ENTER = "INSERT INTO ledger (entry, card, pence) VALUES (:entry, :card, :pence)"
FIND = "SELECT card, pence FROM ledger WHERE entry = :entry"


@payments.handles(ChargeCard)
async def charge(cmd: ChargeCard, tx: Tx) -> CardCharged | CardDeclined:
    if not await tx.execute(TAKE, {"card": cmd.card, "pence": cmd.pence}):
        return CardDeclined(card=cmd.card)
    entry = f"charge {cmd.order_id}"
    await tx.execute(ENTER, {"entry": entry, "card": cmd.card, "pence": cmd.pence})
    return CardCharged(charge=entry)


@payments.handles(RefundCard)
async def refund(cmd: RefundCard, tx: Tx) -> None:
    charged = await tx.first(FIND, {"entry": f"charge {cmd.order_id}"})
    assert charged is not None, "only a charge that was made is refunded"
    card, pence = charged
    await tx.execute(GIVE, {"card": card, "pence": pence})
    await tx.execute(ENTER, {"entry": f"refund {cmd.order_id}", "card": card, "pence": -pence})


@event.listens_for(accounts, "after_create")
def _open_accounts(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    rows = [{"card": card, "pence": pence} for card, pence in OPENING_BALANCES.items()]
    connection.execute(sa.insert(accounts), rows)


def totals(engine: sa.Engine) -> dict[str, int]:
    """Pence in the accounts, and pence we took and did not give back. Their sum never changes."""
    return count(
        engine,
        in_accounts=sa.select(sa.func.sum(accounts.c.pence)),
        taken=sa.select(sa.func.sum(ledger.c.pence)),
    )

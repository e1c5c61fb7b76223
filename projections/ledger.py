"""The ledger of money transfers: double entry, so that all entries together come to nothing.

    SELECT account, sum(pence) FROM ledger GROUP BY account        equals ledger_balances

Money that has left one bank and not yet reached the other one is in transit. Entries are never
changed: what is undone is entered the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from domain.transfer import transfer
from es_saga import Add, Change, Put, Recorded, SagaState, projection
from projections.deeds import deed

TRANSIT = "in transit"
"""The account of money that is on its way."""

metadata = sa.MetaData()

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("saga_id", sa.Text, primary_key=True, comment="The saga that moved the money."),
    sa.Column("event", sa.Integer, primary_key=True, comment="Number of the event that says so."),
    sa.Column("account", sa.Text, primary_key=True, comment="bank/customer, or 'in transit'."),
    sa.Column("transfer_id", sa.Text, nullable=False, index=True, comment="The customer's number."),
    sa.Column("what", sa.Text, nullable=False, comment="withdrawn, deposited; or that, reversed."),
    sa.Column("pence", sa.BigInteger, nullable=False, comment="Paid in; negative: paid out."),
    sa.Column("at", sa.Double, nullable=False, comment="Seconds since the epoch."),
    comment="Movements of money, two entries each; a view of the saga log.",
)

balances = sa.Table(
    "ledger_balances",
    metadata,
    sa.Column("account", sa.Text, primary_key=True, comment="bank/customer, or 'in transit'."),
    sa.Column(
        "pence",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="What transfers have paid in, less what they have paid out.",
    ),
    sa.Column(
        "entries",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="In the ledger.",
    ),
    comment="What transfers have changed on each account; a view of the saga log.",
)


@projection(ledger, balances, of=[transfer])
def movements(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    """Two entries for each movement of money, and the balances that follow from them."""
    found = deed(recorded, saga)
    order = saga.origin.data
    match found.step if found else None:
        case "withdraw":
            giving, taking, what = f"giver/{order['sender']}", TRANSIT, "withdrawn"
        case "deposit":
            giving, taking, what = TRANSIT, f"taker/{order['recipient']}", "deposited"
        case _:
            return
    if found and found.undone:
        giving, taking, what = taking, giving, f"{what}, reversed"
    for account, pence in ((giving, -order["pence"]), (taking, order["pence"])):
        yield Put(
            ledger,
            saga_id=saga.saga_id,
            event=recorded.version,
            account=account,
            transfer_id=order["transfer_id"],
            what=what,
            pence=pence,
            at=recorded.event.at,
        )
        yield Add(balances, account=account, pence=pence, entries=1)

"""The sender's bank, the recipient's bank, and the office that writes receipts.

The handlers here are plain functions, where those of the shop are `async def`: either will do.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import event

from domain.totals import count
from domain.transfer.contracts import (
    AccountClosed,
    Deposit,
    Deposited,
    NoPostalAddress,
    NotAllowed,
    NotEnoughMoney,
    PutBack,
    ReceiptSent,
    SendReceipt,
    TakeBack,
    ValidateTransfer,
    VoidReceipt,
    Withdraw,
    Withdrawn,
)
from es_saga import Participant, SyncTx

MOST_IN_ONE_GO = 1_000_000
"""Pence that a customer may send at once."""

NO_LIMIT = -(10**15)
"""A balance in pence that nothing brings about."""


class Ledger:
    """Balances of a bank's customers, and what went in and out because of transfers."""

    def __init__(self, name: str, opening: Mapping[str, int]) -> None:
        self.tables = sa.MetaData()
        self.balances = sa.Table(
            f"{name}_balances",
            self.tables,
            sa.Column("customer", sa.Text, primary_key=True),
            sa.Column("pence", sa.BigInteger, nullable=False),
        )
        self.movements = sa.Table(
            f"{name}_movements",
            self.tables,
            sa.Column("movement", sa.Text, primary_key=True),
            sa.Column("customer", sa.Text, nullable=False),
            sa.Column("pence", sa.BigInteger, nullable=False),
        )
        self._change = (
            f"UPDATE {name}_balances SET pence = pence + :pence"
            " WHERE customer = :customer AND pence + :pence >= :least"
        )
        self._note = (
            f"INSERT INTO {name}_movements (movement, customer, pence)"
            " VALUES (:movement, :customer, :pence)"
        )
        self._find = f"SELECT customer, pence FROM {name}_movements WHERE movement = :movement"

        @event.listens_for(self.balances, "after_create")
        def open_accounts(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
            rows = [{"customer": name, "pence": pence} for name, pence in opening.items()]
            connection.execute(sa.insert(self.balances), rows)

    def move(
        self, tx: SyncTx, movement: str, customer: str, pence: int, *, least: int = NO_LIMIT
    ) -> str | None:
        """Add `pence` to a balance; negative: take them.

        Returns the movement; None, and nothing is done, where the customer has no account, or less
        than `least` would be left.
        """
        change = {"customer": customer, "pence": pence}
        if not tx.execute(self._change, {**change, "least": least}):
            return None
        tx.execute(self._note, {**change, "movement": movement})
        return movement

    def reverse(self, tx: SyncTx, movement: str) -> None:
        """Move the same money the other way, whatever that leaves."""
        moved = tx.first(self._find, {"movement": movement})
        assert moved is not None, "only what was moved is moved back"
        customer, pence = moved
        self.move(tx, f"{movement}, reversed", customer, -pence)

    def totals(self, engine: sa.Engine) -> dict[str, int]:
        """Pence in the accounts, and pence that transfers brought in (negative: took out).

        The difference of the two never changes.
        """
        return count(
            engine,
            balances=sa.select(sa.func.sum(self.balances.c.pence)),
            moved=sa.select(sa.func.sum(self.movements.c.pence)),
        )


here = Ledger("giver", {"ada": 10**12, "poor": 10})
there = Ledger("taker", {"bob": 0, "homeless": 0})

giver = Participant("giver", tables=here.tables)
taker = Participant("taker", tables=there.tables)


@giver.handles(ValidateTransfer)
def validate(cmd: ValidateTransfer, tx: SyncTx) -> NotAllowed | None:
    if cmd.pence > MOST_IN_ONE_GO:
        return NotAllowed(reason="more than a customer may send at once")
    known = sa.select(here.balances.c.customer).where(here.balances.c.customer == cmd.sender)
    if tx.scalar(known) is None:
        return NotAllowed(reason="there is no such account")
    return None


@giver.handles(Withdraw)
def withdraw(cmd: Withdraw, tx: SyncTx) -> Withdrawn | NotEnoughMoney:
    debit = here.move(tx, f"debit {cmd.transfer_id}", cmd.sender, -cmd.pence, least=0)
    return Withdrawn(debit=debit) if debit else NotEnoughMoney(sender=cmd.sender)


@giver.handles(PutBack)
def put_back(cmd: PutBack, tx: SyncTx) -> None:
    here.reverse(tx, f"debit {cmd.transfer_id}")


@taker.handles(Deposit)
def deposit(cmd: Deposit, tx: SyncTx) -> Deposited | AccountClosed:
    credit = there.move(tx, f"credit {cmd.transfer_id}", cmd.recipient, cmd.pence)
    return Deposited(credit=credit) if credit else AccountClosed(recipient=cmd.recipient)


@taker.handles(TakeBack)
def take_back(cmd: TakeBack, tx: SyncTx) -> None:
    there.reverse(tx, f"credit {cmd.transfer_id}")


# ── receipts ─────────────────────────────────────────────────────────────────────────────────────

WITHOUT_ADDRESS = ("homeless",)
"""Customers nothing can be posted to."""

tables = sa.MetaData()

receipts_table = sa.Table(
    "receipts",
    tables,
    sa.Column("receipt", sa.Text, primary_key=True),
    sa.Column("debit", sa.Text, nullable=False),
    sa.Column("credit", sa.Text, nullable=False),
    sa.Column("status", sa.Text, sa.CheckConstraint("status IN ('valid', 'void')")),
)

receipts = Participant("receipts", tables=tables)

ISSUE = """
INSERT INTO receipts (receipt, debit, credit, status) VALUES (:receipt, :debit, :credit, 'valid')
"""
VOID = "UPDATE receipts SET status = 'void' WHERE receipt = :receipt"


@receipts.handles(SendReceipt)
def send_receipt(cmd: SendReceipt, tx: SyncTx) -> ReceiptSent | NoPostalAddress:
    if cmd.recipient in WITHOUT_ADDRESS:
        return NoPostalAddress(recipient=cmd.recipient)
    receipt = f"receipt {cmd.transfer_id}"
    tx.execute(ISSUE, {"receipt": receipt, "debit": cmd.debit, "credit": cmd.credit})
    return ReceiptSent(receipt=receipt)


@receipts.handles(VoidReceipt)
def void_receipt(cmd: VoidReceipt, tx: SyncTx) -> None:
    tx.execute(VOID, {"receipt": f"receipt {cmd.transfer_id}"})


def receipt_totals(engine: sa.Engine) -> dict[str, int]:
    """How many receipts are valid, and how many void."""
    number = sa.select(sa.func.count()).select_from(receipts_table)
    return count(
        engine,
        valid=number.where(receipts_table.c.status == "valid"),
        void=number.where(receipts_table.c.status == "void"),
    )

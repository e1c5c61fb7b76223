"""The claims office, which tells what became of a claim, and those who listen to it."""

from __future__ import annotations

import sqlalchemy as sa

from domain.intake.contracts import (
    ClaimReturned,
    ClaimSettled,
    ReceiveClaim,
    ReturnClaim,
    SettleClaim,
)
from domain.totals import counting
from es_saga import Participant, SyncTx

claim_tables, payment_tables, letter_tables = (sa.MetaData() for _ in range(3))

files = sa.Table(
    "files",
    claim_tables,
    sa.Column("claim_id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("pence", sa.BigInteger, nullable=False),
)
payments = sa.Table(
    "payments",
    payment_tables,
    sa.Column("claim_id", sa.Text, primary_key=True),
    sa.Column("pence", sa.BigInteger, nullable=False),
)
sent = sa.Table(
    "sent",
    letter_tables,
    sa.Column("claim_id", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
)

claims = Participant("claims", tables=claim_tables, publishes=[ClaimSettled, ClaimReturned])
treasury = Participant("treasury", tables=payment_tables)
letters = Participant("letters", tables=letter_tables)


# ── claims ───────────────────────────────────────────────────────────────────────────────────────


@claims.handles(ReceiveClaim)
def receive(cmd: ReceiveClaim, tx: SyncTx) -> None:
    row = {"claim_id": cmd.claim_id, "status": "open", "pence": 0}
    tx.execute(sa.insert(files).values(row))


@claims.handles(ReturnClaim)
def give_back(cmd: ReturnClaim, tx: SyncTx) -> None:
    _close(tx, cmd.claim_id, "returned", 0)
    tx.publish(ClaimReturned(claim_id=cmd.claim_id))


@claims.handles(SettleClaim)
def settle(cmd: SettleClaim, tx: SyncTx) -> None:
    _close(tx, cmd.claim_id, "settled", cmd.pence)
    tx.publish(ClaimSettled(claim_id=cmd.claim_id, pence=cmd.pence))


def _close(tx: SyncTx, claim_id: str, status: str, pence: int) -> None:
    own = files.c.claim_id == claim_id
    tx.execute(sa.update(files).where(own).values(status=status, pence=pence))


# ── those who listen ─────────────────────────────────────────────────────────────────────────────


@treasury.on(ClaimSettled)
def pay(event: ClaimSettled, tx: SyncTx) -> None:
    tx.execute(sa.insert(payments).values(claim_id=event.claim_id, pence=event.pence))


@letters.on(ClaimSettled)
def congratulate(event: ClaimSettled, tx: SyncTx) -> None:
    _send(tx, event.claim_id, f"You will get {event.pence / 100:,.2f} pounds.")


@letters.on(ClaimReturned)
def ask_for_more(event: ClaimReturned, tx: SyncTx) -> None:
    _send(tx, event.claim_id, "We cannot tell what it is worth. Please send us more.")


def _send(tx: SyncTx, claim_id: str, text: str) -> None:
    tx.execute(sa.insert(sent).values(claim_id=claim_id, text=text))


# ── counting ─────────────────────────────────────────────────────────────────────────────────────

_files = sa.select(sa.func.count()).select_from(files)

totals = {
    "claims": counting(
        **{way: _files.where(files.c.status == way) for way in ("open", "settled", "returned")},
        pence=sa.select(sa.func.sum(files.c.pence)),
    ),
    "treasury": counting(pence=sa.select(sa.func.sum(payments.c.pence))),
    "letters": counting(sent=sa.select(sa.func.count()).select_from(sent)),
}
"""What counts the holdings of each."""

"""A bank that holds funds by preparing transactions; as a program, it dies where it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from es_saga.core.messages import Command, Envelope, Message, Refusal
from es_saga.database import make_engine
from es_saga.participant import Participant, SyncTx, Tx, prepared
from es_saga.participant import runner as running
from es_saga.participant.job import Job
from es_saga.participant.runner import Runner
from tests.participant.theatre import cancel, confirm, hold

OPENING = {"ann": 100, "bob": 100, "cy": 100}


class Held(Message):
    pence: int


class Poor(Refusal):
    pass


class HoldFunds(Command[Held]):
    to = "bank"
    who: str
    pence: int
    how: str = ""


class Deposit(Command[None]):
    to = "bank"
    who: str
    pence: int


accounts = sa.Table(
    "accounts",
    sa.MetaData(),
    sa.Column("who", sa.Text, primary_key=True),
    sa.Column("pence", sa.BigInteger, nullable=False),
)


@event.listens_for(accounts, "after_create")
def _open(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
    rows = [{"who": who, "pence": pence} for who, pence in OPENING.items()]
    connection.execute(sa.insert(accounts), rows)


bank = Participant("bank", tables=accounts.metadata)


@bank.prepares(HoldFunds)
def hold_funds(cmd: HoldFunds, tx: SyncTx) -> Held | Poor:
    taken = tx.execute(
        "UPDATE accounts SET pence = pence - :n WHERE who = :who AND pence >= :n",
        {"n": cmd.pence, "who": cmd.who},
    )
    if cmd.how == "raises" and tx.command.attempt == 1:
        raise ValueError("The vault is jammed.")
    if cmd.how == "refuses":
        return Poor()
    return Held(pence=cmd.pence) if taken else Poor()


@bank.handles(Deposit)
async def deposit(cmd: Deposit, tx: Tx) -> None:
    """It is not held, and changes the very rows that are."""
    await tx.execute(
        "UPDATE accounts SET pence = pence + :n WHERE who = :who", {"n": cmd.pence, "who": cmd.who}
    )


TEN = HoldFunds(who="ann", pence=10)
ENVELOPES: dict[str, Callable[[Command[Any]], Envelope]] = {
    "hold": hold,
    "confirm": confirm,
    "cancel": cancel,
}

# ── where it dies ────────────────────────────────────────────────────────────────────────────────

POINTS = {
    "before it is prepared": (prepared, "prepare", False),
    "after it is prepared": (prepared, "prepare", True),
    "before the decision is written": (running, "remember", False),
    "before it is settled": (prepared, "_settle", False),
    "after it is settled": (prepared, "_settle", True),
    "before the answer": (Runner, "_conclude", True),
}
"""A function of ours, and whether it has run by then."""


def dying(point: str, die: Callable[[], None]) -> tuple[Any, str, Callable[..., Any]]:
    """What to put where, so that `die` is called there."""
    owner, name, after = POINTS[point]
    real = getattr(owner, name)

    def dies(*of: Any, **more: Any) -> Any:
        if not after:
            die()
        made = real(*of, **more)
        die()
        return made

    return owner, name, dies


def a_process(engine: sa.Engine) -> Runner:
    """What one process of the bank has."""
    return Runner(bank, engine, handler_seconds=10.0)


async def ask(runner: Runner, envelope: Envelope) -> Envelope:
    job = Job(envelope)
    await runner.run([job])
    assert job.answer is not None, job.outage
    return job.answer


def main(url: str, what: str, point: str) -> None:
    """Handle one command, and be killed at a point."""
    setattr(*dying(point, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    asyncio.run(ask(a_process(make_engine(url)), ENVELOPES[what](TEN)))


if __name__ == "__main__":
    main(*sys.argv[1:])

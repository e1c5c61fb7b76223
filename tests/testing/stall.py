"""A market stall with handlers of its own, right and wrong, for the sagas of `swapped`."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import event

from es_saga import Participant, Refusal, SyncTx, Tx
from es_saga.testing import Books, Sagas
from tests.testing.swapped import Charge, Charged, Refund, Release, Reserve, Reserved

PIECES = 10
"""On the shelf of a new stall."""

COINS = 100
"""In a new purse."""

PRICE = 3
"""Of a piece, in coins."""


class SoldOut(Refusal):
    """Nothing is left."""


TAKE = "UPDATE shelf SET pieces = pieces - 1 WHERE pieces > 0"
NOTE = "INSERT INTO held (order_id) VALUES (:order_id)"
PUT_BACK = "UPDATE shelf SET pieces = pieces + 1"
FORGET = "DELETE FROM held WHERE order_id = :order_id"
PAY = "UPDATE purse SET coins = coins - :price"
ENTER = "INSERT INTO ledger (order_id, coins) VALUES (:order_id, :coins)"

Hold = Callable[[Reserve, SyncTx], Reserved | SoldOut]
Free = Callable[[Release, SyncTx], None]
Take = Callable[[Charge, Tx], Awaitable[Charged]]


# ── as it should be ──────────────────────────────────────────────────────────────────────────────


def hold(cmd: Reserve, tx: SyncTx) -> Reserved | SoldOut:
    if not tx.execute(TAKE):
        return SoldOut()
    tx.execute(NOTE, cmd.model_dump())
    return Reserved(reservation=f"for {cmd.order_id}")


def free(cmd: Release, tx: SyncTx) -> None:
    tx.execute(PUT_BACK)
    tx.execute(FORGET, cmd.model_dump())


async def take(cmd: Charge, tx: Tx) -> Charged:
    await tx.execute(PAY, {"price": PRICE})
    await tx.execute(ENTER, {"order_id": cmd.order_id, "coins": PRICE})
    return Charged(charge=f"of {cmd.order_id}")


async def give_back(cmd: Refund, tx: Tx) -> None:
    await tx.execute(PAY, {"price": -PRICE})
    await tx.execute(ENTER, {"order_id": cmd.order_id, "coins": -PRICE})


def stock(*, hold: Hold = hold, free: Free = free) -> Participant:
    """The stall's shelf, with handlers that may be wrong."""
    tables = sa.MetaData()
    shelf = sa.Table("shelf", tables, sa.Column("pieces", sa.Integer, nullable=False))
    sa.Table("held", tables, sa.Column("order_id", sa.Text, primary_key=True))

    @event.listens_for(shelf, "after_create")
    def fill(_: sa.Table, connection: sa.Connection, **__: object) -> None:
        connection.execute(sa.insert(shelf), {"pieces": PIECES})

    made = Participant("stock", tables=tables)
    made.handles(Reserve)(hold)
    made.handles(Release)(free)
    return made


def payments(*, take: Take = take) -> Participant:
    """The customer's purse, and a ledger that only grows."""
    tables = sa.MetaData()
    purse = sa.Table("purse", tables, sa.Column("coins", sa.Integer, nullable=False))
    sa.Table("ledger", tables, sa.Column("order_id", sa.Text), sa.Column("coins", sa.Integer))

    @event.listens_for(purse, "after_create")
    def fill(_: sa.Table, connection: sa.Connection, **__: object) -> None:
        connection.execute(sa.insert(purse), {"coins": COINS})

    made = Participant("payments", tables=tables)
    made.handles(Charge)(take)
    made.handles(Refund)(give_back)
    return made


STOCK, PAYMENTS = stock(), payments()


def nothing_is_lost(books: Books, sagas: Sagas) -> None:
    """What is on the shelf or held for somebody is what there was in the beginning."""
    pieces = sa.text("SELECT (SELECT pieces FROM shelf) + (SELECT count(*) FROM held)")
    found = books["stock"].scalar(pieces)
    assert found == PIECES, f"of {PIECES} pieces there are {found}"


def money_is_spent_on_goods(books: Books, sagas: Sagas) -> None:
    """In the end everybody who has paid has his goods."""
    pieces = books["stock"].scalar(sa.text("SELECT count(*) FROM held")) or 0
    coins = books["payments"].scalar(sa.text("SELECT sum(coins) FROM ledger")) or 0
    assert coins == PRICE * pieces, f"{coins} coins for {pieces} pieces"


# ── as it should not be ──────────────────────────────────────────────────────────────────────────


def free_two(cmd: Release, tx: SyncTx) -> None:
    """Puts back one too many."""
    tx.execute("UPDATE shelf SET pieces = pieces + 2")
    tx.execute(FORGET, cmd.model_dump())


def free_nothing(cmd: Release, tx: SyncTx) -> None:
    """Believes that there is nothing to do."""


def free_late(cmd: Release, tx: SyncTx) -> None:
    """Cannot do it."""
    raise LookupError("there is no such hold")


def hold_by_chance(cmd: Reserve, tx: SyncTx) -> Reserved | SoldOut:
    """Asks for chance in every way there is."""
    hold(cmd, tx)
    drawn = (uuid4(), random.random(), secrets.token_hex(4), os.urandom(4).hex())
    return Reserved(reservation=" ".join(map(str, drawn)))


def hold_at_the_end_of_the_world(cmd: Reserve, tx: SyncTx) -> Reserved | SoldOut:
    """Ends its process, the first time."""
    answer = hold(cmd, tx)
    if tx.command.id not in ENDED:
        ENDED.add(tx.command.id)
        os._exit(1)
    return answer


ENDED: set[str] = set()
"""Commands at which a process was ended."""


def hold_and_commit(cmd: Reserve, tx: SyncTx) -> Reserved | SoldOut:
    """Ends the transaction as SQLAlchemy has it."""
    answer = hold(cmd, tx)
    tx.connection.commit()
    return answer


def hold_behind_the_back(cmd: Reserve, tx: SyncTx) -> Reserved | SoldOut:
    """Ends the transaction as the driver has it."""
    answer = hold(cmd, tx)
    driver = tx.connection.connection.dbapi_connection
    assert driver is not None
    driver.commit()
    return answer


def hold_then_refuse(cmd: Reserve, tx: SyncTx) -> Reserved | SoldOut:
    """Sees only after it wrote that it must not sell."""
    hold(cmd, tx)
    return SoldOut()


def hold_for_nobody(cmd: Reserve, tx: SyncTx) -> Reserved | SoldOut:
    """Takes no input at all to be a proper one."""
    raise ValueError(cmd.order_id)


def hold_under_another_name(cmd: Reserve, tx: SyncTx) -> Reserved | SoldOut:
    """Answers what was not asked."""
    tx.execute(NOTE, cmd.model_dump())
    tx.execute(TAKE)
    return Charged(charge="?")  # type: ignore[return-value]  # that is what is wrong with it


async def take_twice(cmd: Charge, tx: Tx) -> Charged:
    """Takes the money in a second transaction, and then in its own."""
    with tx.connection.engine.begin() as other:
        other.exec_driver_sql("UPDATE purse SET coins = coins - 3")
    return await take(cmd, tx)


async def take_slowly(cmd: Charge, tx: Tx) -> Charged:
    """Awaits something in the middle of its transaction."""
    await tx.execute(PAY, {"price": PRICE})
    await asyncio.sleep(2.0)
    await tx.execute(ENTER, {"order_id": cmd.order_id, "coins": PRICE})
    return Charged(charge=f"of {cmd.order_id}")


async def take_in_a_thread(cmd: Charge, tx: Tx) -> Charged:
    """Needs what a simulated world does not have."""
    return Charged(charge=await asyncio.to_thread(str, cmd.order_id))


async def take_elsewhere(cmd: Charge, tx: Tx) -> Charged:
    """Asks somebody outside."""
    with socket.create_connection(("127.0.0.1", 9), timeout=1.0) as line:
        line.sendall(cmd.order_id.encode())
    return await take(cmd, tx)

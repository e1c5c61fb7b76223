"""Right uses of the participant kit: both type checkers must have nothing to say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_type

import sqlalchemy as sa
from sqlalchemy.orm import Session

from es_saga.core.messages import Command, Envelope, Message, Query, Refusal
from es_saga.participant import Participant, Received, Server, SyncTx, Tx


class Reserved(Message):
    reservation: str


class ReservedTwice(Reserved):
    other: str


class OutOfStock(Refusal):
    sku: str


class Closed(Refusal):
    until: float


class Reserve(Command[Reserved]):
    to = "stock"
    sku: str


class Release(Command[None]):
    to = "stock"


class Level(Query[Reserved]):
    to = "stock"
    sku: str


stock = Participant("stock", tables=sa.MetaData())


@stock.answers(Level)
async def level(query: Level, tx: Tx) -> Reserved:
    return Reserved(reservation=query.sku)


@stock.answers(Level)
def level_plainly(query: Level, tx: SyncTx) -> ReservedTwice:
    return ReservedTwice(reservation=query.sku, other="o")


@stock.handles(Reserve)
async def reserve(cmd: Reserve, tx: Tx) -> Reserved | OutOfStock:
    assert_type(cmd.sku, str)
    assert_type(await tx.execute("DELETE FROM stock WHERE sku = :sku", {"sku": cmd.sku}), int)
    assert_type(await tx.execute(sa.text("DELETE FROM stock"), [{"sku": "a"}, {"sku": "b"}]), int)
    row = await tx.first("SELECT sku FROM stock")
    for other in await tx.all(sa.select(sa.literal(1))):
        print(other[0], row and row[0])
    return OutOfStock(sku=cmd.sku) if await tx.scalar("SELECT 1") else Reserved(reservation="r")


assert_type(reserve, Callable[[Reserve, Tx], Awaitable[Reserved | Refusal]])


@stock.handles(Reserve)
async def always(cmd: Reserve, tx: Tx) -> Reserved:
    return Reserved(reservation=cmd.sku)


@stock.handles(Reserve)
async def never(cmd: Reserve, tx: Tx) -> OutOfStock | Closed:
    return OutOfStock(sku=cmd.sku)


@stock.handles(Reserve)
async def more_than_asked(cmd: Reserve, tx: Tx) -> ReservedTwice:
    return ReservedTwice(reservation=cmd.sku, other=cmd.sku)


@stock.handles(Reserve)
def plainly(cmd: Reserve, tx: SyncTx) -> Reserved | OutOfStock:
    assert_type(tx.execute("DELETE FROM stock WHERE sku = :sku", {"sku": cmd.sku}), int)
    assert_type(tx.command, Received)
    assert_type(tx.connection, sa.Connection)
    assert_type(tx.session(), Session)
    return Reserved(reservation=cmd.sku)


@stock.handles(Release)
async def release(cmd: Release, tx: Tx) -> None:
    assert_type(tx.undoes(Reserved), Reserved | None)


@stock.handles(Release)
def release_plainly(cmd: Release, tx: SyncTx) -> None: ...


@stock.handles(Release)
async def release_or_not(cmd: Release, tx: Tx) -> Closed | None:
    return Closed(until=1.0)


async def called(server: Server, envelope: Envelope) -> None:
    assert_type(await server.call(envelope), Envelope)


@stock.tries(Reserve)
async def hold(cmd: Reserve, tx: Tx) -> Reserved | OutOfStock:
    return Reserved(reservation="r")


assert_type(hold, Callable[[Reserve, Tx], Awaitable[Reserved | Refusal]])


@stock.confirms(Reserve)
async def confirm(hold: Reserve, held: Reserved, tx: Tx) -> None:
    assert_type(held.reservation, str)


@stock.cancels(Reserve)
def cancel(hold: Reserve, held: Reserved, tx: SyncTx) -> None: ...


assert_type(confirm, Callable[[Reserve, Reserved, Tx], Awaitable[None]])
assert_type(cancel, Callable[[Reserve, Reserved, SyncTx], None])


@stock.confirms(Release)
def confirm_nothing(hold: Release, held: None, tx: SyncTx) -> None: ...

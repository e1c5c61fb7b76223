"""Wrong uses of the participant kit: both type checkers must object to each marked line."""

from __future__ import annotations

from es_saga.core.messages import Command, Message, Query, Refusal
from es_saga.participant import Participant, SyncTx, Tx


class Reserved(Message):
    reservation: str


class Charged(Message):
    receipt: str


class OutOfStock(Refusal):
    sku: str


class Reserve(Command[Reserved]):
    to = "stock"
    sku: str


class Release(Command[None]):
    to = "stock"


class Level(Query[Reserved]):
    to = "stock"


stock = Participant("stock")


@stock.answers(Level)  # error: another query's reply
async def another_answer(query: Level, tx: Tx) -> Charged:
    raise NotImplementedError


@stock.answers(Level)  # error: a query is answered, not refused
def refused(query: Level, tx: SyncTx) -> OutOfStock:
    raise NotImplementedError


@stock.handles(Reserve)  # error: another command's reply
async def another_reply(cmd: Reserve, tx: Tx) -> Charged:
    raise NotImplementedError


@stock.handles(Reserve)  # error: another command's reply, among right ones
async def sometimes_another(cmd: Reserve, tx: Tx) -> Reserved | OutOfStock | Charged:
    raise NotImplementedError


@stock.handles(Reserve)  # error: no reply where one is promised
async def no_reply(cmd: Reserve, tx: Tx) -> None:
    raise NotImplementedError


@stock.handles(Release)  # error: a reply where none is promised
async def a_reply(cmd: Release, tx: Tx) -> Reserved:
    raise NotImplementedError


@stock.handles(Reserve)  # error: the plain flavour of the same
def plainly_another(cmd: Reserve, tx: SyncTx) -> Charged:
    raise NotImplementedError


@stock.handles(Reserve)  # error: takes another command
async def another_command(cmd: Release, tx: Tx) -> Reserved:
    raise NotImplementedError


@stock.handles(Reserve)  # error: a plain function cannot await
def wrong_tx(cmd: Reserve, tx: Tx) -> Reserved:
    raise NotImplementedError


@stock.handles(Reserve)  # error: an async function must
async def wrong_tx_too(cmd: Reserve, tx: SyncTx) -> Reserved:
    raise NotImplementedError


@stock.handles(Reserved)  # error: not a command
async def no_command(cmd: Reserved, tx: Tx) -> Reserved:
    raise NotImplementedError


@stock.handles(Reserve)  # error: no place for the transaction
async def no_tx(cmd: Reserve) -> Reserved:
    raise NotImplementedError


async def uses(tx: Tx, plain: SyncTx) -> None:
    wrong: str = await tx.execute("SELECT 1")  # error: a count is no string
    undone: Reserved = plain.undoes(Reserved)  # error: it may be absent
    print(wrong, undone, tx.undoes(str))  # error: not a message


@stock.tries(Reserve)  # error: another hold's reply
def tries(cmd: Reserve, tx: SyncTx) -> Charged:
    raise NotImplementedError


@stock.confirms(Reserve)  # error: another hold's reply
def confirms(hold: Reserve, held: Charged, tx: SyncTx) -> None: ...


@stock.confirms(Reserve)  # error: a confirm cannot refuse
def refuses(hold: Reserve, held: Reserved, tx: SyncTx) -> OutOfStock:
    raise NotImplementedError


@stock.cancels(Reserve)  # error: another hold
def cancels(hold: Release, held: Reserved, tx: SyncTx) -> None: ...


@stock.cancels(Reserve)  # error: no place for what was held
async def cancels_blindly(hold: Reserve, tx: Tx) -> None: ...


@stock.cancels(Release)  # error: it answered with nothing
async def cancels_nothing(hold: Release, held: Reserved, tx: Tx) -> None: ...

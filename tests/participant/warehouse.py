"""A participant for the tests: a stock of things, holds on them, and every way to misbehave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from es_saga.core.errors import Terminal, Unavailable
from es_saga.core.messages import Command, Direction, Envelope, Message, Refusal, command_id
from es_saga.participant import Participant, SyncTx, Tx


class Base(DeclarativeBase):
    pass


class StockRow(Base):
    __tablename__ = "stock"
    sku: Mapped[str] = mapped_column(primary_key=True)
    left: Mapped[int]


class HoldRow(Base):
    __tablename__ = "hold"
    hold: Mapped[str] = mapped_column(primary_key=True)
    sku: Mapped[str]


class Held(Message):
    hold: str


class OutOfStock(Refusal):
    sku: str


class Hold(Command[Held]):
    to = "stock"
    sku: str
    hold: str
    how: str = "plain"
    from_attempt: int = 1
    """Attempts before this one write, and then raise."""


class HoldPlainly(Command[Held]):
    to = "stock"
    sku: str
    hold: str
    how: str = "plain"


class Release(Command[None]):
    to = "stock"
    how: str = "plain"


TAKE = 'UPDATE stock SET "left" = "left" - 1 WHERE sku = :sku AND "left" > 0'
GIVE = 'UPDATE stock SET "left" = "left" + 1 WHERE sku = :sku'
ADD_HOLD = "INSERT INTO hold (hold, sku) VALUES (:hold, :sku)"
DROP_HOLD = "DELETE FROM hold WHERE hold = :hold RETURNING sku"
STOCK = {"apple": 1_000_000, "pear": 3, "plum": 0}


def warehouse() -> Participant:
    """A fresh participant named `stock`."""
    stock = Participant("stock", tables=Base.metadata)

    @stock.handles(Hold)
    async def hold(cmd: Hold, tx: Tx) -> Held | OutOfStock:
        if cmd.how == "terminal":
            raise Terminal("The warehouse has burnt down.")
        if cmd.how == "unavailable":
            raise Unavailable("The warehouse is closed.", retry_after=7.5)
        if cmd.how == "hang":
            await asyncio.Event().wait()
        if cmd.how == "read and refuse":
            await tx.scalar("SELECT count(*) FROM stock")
            return OutOfStock(sku=cmd.sku)
        if not await tx.execute(TAKE, {"sku": cmd.sku}):
            return OutOfStock(sku=cmd.sku)
        await tx.execute(ADD_HOLD, {"hold": cmd.hold, "sku": cmd.sku})
        if cmd.how == "raise after the write" or tx.command.attempt < cmd.from_attempt:
            raise ValueError("The hook came off. " + "x" * 1_000)
        if cmd.how == "refuse after the write":
            return OutOfStock(sku=cmd.sku)
        if cmd.how == "commit":
            tx.connection.commit()
        if cmd.how == "commit and hush":
            with suppress(RuntimeError):
                tx.connection.commit()
        if cmd.how == "wait":
            await asyncio.sleep(0.02)
        return Held(hold=cmd.hold)

    @stock.handles(HoldPlainly)
    def hold_plainly(cmd: HoldPlainly, tx: SyncTx) -> Held | OutOfStock:
        if cmd.how.startswith("orm"):
            session = tx.session()
            row = session.get(StockRow, cmd.sku)
            if row is None or row.left == 0:
                session.add(HoldRow(hold=f"{cmd.hold}-in-vain", sku=cmd.sku))
                return OutOfStock(sku=cmd.sku)
            row.left -= 1
            session.add(HoldRow(hold=cmd.hold, sku=cmd.sku))
            if cmd.how == "orm, commit and raise":
                session.commit()
                raise ValueError("The hook came off.")
            if cmd.how == "orm, roll back and go on":
                session.rollback()
            return Held(hold=cmd.hold)
        if not tx.execute(TAKE, {"sku": cmd.sku}):
            return OutOfStock(sku=cmd.sku)
        tx.execute(ADD_HOLD, {"hold": cmd.hold, "sku": cmd.sku})
        return Held(hold=cmd.hold)

    @stock.handles(Release)
    async def release(cmd: Release, tx: Tx) -> None:
        held = tx.undoes(Held)
        assert held is not None, "the fence lets no undo of nothing through"
        assert tx.command.direction == "CANCEL"
        sku = await tx.scalar(DROP_HOLD, {"hold": held.hold})
        await tx.execute(GIVE, {"sku": sku})
        if cmd.how == "raise after the write":
            raise ValueError("The hook came off.")

    return stock


def fill(engine: sa.Engine) -> None:
    """Put things on the shelves."""
    with engine.begin() as connection:
        connection.execute(
            sa.insert(StockRow), [{"sku": sku, "left": left} for sku, left in STOCK.items()]
        )


def ask(
    command: Command[Held] | Command[None],
    saga: str = "s-1",
    *,
    step: str = "hold",
    undo: bool = False,
    attempt: int = 1,
    replyto: str | None = None,
) -> Envelope:
    """The envelope a process manager would send."""
    key = command_id(saga, step, Direction.UNDO if undo else Direction.DO)
    return Envelope(
        id=f"{key}/{attempt}",
        source="test",
        type=type(command).__name__,
        sagaid=saga,
        step=step,
        commandid=key,
        undoes=command_id(saga, step, Direction.DO) if undo else None,
        attempt=attempt,
        replyto=replyto,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        direction="CANCEL" if undo else "REQUEST",
        data=command.model_dump(mode="json"),
    )


def left(engine: sa.Engine, sku: str) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(StockRow.left).where(StockRow.sku == sku)).scalar_one()


def holds(engine: sa.Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(sa.select(HoldRow.hold)).scalars())


def remembered(engine: sa.Engine) -> dict[str, str]:
    """The fence: command id to status, of the commands that have an outcome."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT command_id, status FROM es_fence").all()
        return {row[0]: row[1] for row in rows if row[1] != "failed"}


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Poll until the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)

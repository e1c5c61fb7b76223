"""An app with its participants in one process: `python -m tests.engine.monolith URL`.

Nothing is ever asked for a second time within the test's life, so whatever goes on after a crash
goes on because the log was read.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from es_saga import App, Command, InProcess, Message, Participant, Refusal, Saga, Tx
from es_saga.adapters.telemetry import configure_logging
from es_saga.projections.ending import Outcome

SAGAS = 40
PATIENCE = timedelta(hours=1)
SLOW_SECONDS = 0.05


class Order(Message):
    number: int

    @property
    def refused(self) -> bool:
        """Every third is."""
        return self.number % 3 == 0


class Pick(Command[None]):
    to = "store"
    number: int


class PutBack(Command[None]):
    to = "store"
    number: int


class Declined(Refusal):
    number: int


class Charge(Command[None]):
    to = "till"
    number: int
    refuse: bool


order = Saga("order", Order)


@order.step(timeout=PATIENCE)
def pick(o: Order) -> Pick:
    return Pick(number=o.number)


@pick.compensation(timeout=PATIENCE)
def put_back(o: Order) -> PutBack:
    return PutBack(number=o.number)


@order.pivot(timeout=PATIENCE)
def charge(o: Order) -> Charge:
    return Charge(number=o.number, refuse=o.refused)


def _book(name: str) -> sa.MetaData:
    tables = sa.MetaData()
    sa.Table(name, tables, sa.Column("number", sa.Integer), sa.Column("by", sa.Integer))
    return tables


store = Participant("store", tables=_book("picked"))
till = Participant("till", tables=_book("charged"))


@store.handles(Pick)
async def on_pick(cmd: Pick, tx: Tx) -> None:
    await asyncio.sleep(SLOW_SECONDS)
    await tx.execute("INSERT INTO picked VALUES (:n, 1)", {"n": cmd.number})


@store.handles(PutBack)
async def on_put_back(cmd: PutBack, tx: Tx) -> None:
    await tx.execute("INSERT INTO picked VALUES (:n, -1)", {"n": cmd.number})


@till.handles(Charge)
async def on_charge(cmd: Charge, tx: Tx) -> Declined | None:
    await asyncio.sleep(SLOW_SECONDS)
    if cmd.refuse:
        return Declined(number=cmd.number)
    await tx.execute("INSERT INTO charged VALUES (:n, 1)", {"n": cmd.number})
    return None


app = App("monolith", sagas=[order], participants=[store, till])


async def sell(sagas: InProcess) -> Sequence[Outcome]:
    """Start every order, or find it started, and wait for all of them."""
    numbers = range(SAGAS)
    begun = await asyncio.gather(
        *(sagas.start(order, Order(number=n), key=str(n)) for n in numbers)
    )
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    return await asyncio.gather(*(sagas.wait(state.saga_id, 60.0) for state in begun))


async def main(database: str) -> None:
    async with InProcess(app, database=database) as sagas:
        began = time.monotonic()
        endings = [ended.status for ended in await sell(sagas)]
        took = time.monotonic() - began
    sys.stdout.write(f"{endings.count('completed')} {endings.count('compensated')} {took:.1f}\n")


if __name__ == "__main__":
    configure_logging("error")
    asyncio.run(main(sys.argv[1]))

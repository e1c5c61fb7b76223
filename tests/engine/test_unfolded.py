"""Lists and ways on the real engine, with a log and views in a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from es_saga import App, Command, InProcess, Participant, Refusal, SyncTx
from es_saga.database import make_engine
from es_saga.projections.ending import Ending
from es_saga.projections.ledger import Undo
from es_saga.projections.queries import Queries
from tests.core.journey import (
    BookHotel,
    CancelHotel,
    DropSeats,
    Held,
    HireCar,
    HoldSeats,
    Pay,
    ReturnCar,
    Trip,
    trip,
)
from tests.core.picking import Basket, Charge, Line, Pick, Picked, PutBack, SendParcel, order

pytestmark = pytest.mark.anyio

airline, hotels, cars = Participant("airline"), Participant("hotels"), Participant("cars")
warehouse, bank, post = Participant("warehouse"), Participant("bank"), Participant("post")


class Full(Refusal):
    pass


@airline.handles(HoldSeats)
def hold(cmd: HoldSeats, tx: SyncTx) -> Held:
    return Held()


def obey(cmd: Command[None], tx: SyncTx) -> None:
    return None


for service, commands in {
    airline: (DropSeats,),
    hotels: (CancelHotel,),
    cars: (HireCar, ReturnCar),
    warehouse: (PutBack,),
    bank: (Charge, Pay),
    post: (SendParcel,),
}.items():
    for command in commands:
        service.handles(command)(obey)


@hotels.handles(BookHotel)
def book(cmd: BookHotel, tx: SyncTx) -> Full | None:
    return Full() if cmd.name == "ritz" else None


@warehouse.handles(Pick)
def pick(cmd: Pick, tx: SyncTx) -> Picked | Full:
    return Full() if cmd.sku == "unicorn" else Picked(shelf=cmd.sku)


async def test_lists_and_ways_end_as_they_should_and_are_seen_in_the_views(tmp_path: Path) -> None:
    services = [airline, hotels, cars, warehouse, bank, post]
    app = App("unfolded", sagas=[order, trip], participants=services)
    database = f"sqlite:///{tmp_path / 'saga.db'}"
    many = Basket(lines=[Line(sku=f"sku-{number}") for number in range(5)])
    bad = Basket(lines=[*many.lines[:4], Line(sku="unicorn")])
    async with InProcess(app, database=database) as sagas:
        sent = await sagas.wait((await sagas.start(order, many)).saga_id)
        gone = await sagas.wait((await sagas.start(order, bad)).saga_id)
        away = await sagas.wait((await sagas.start(trip, Trip())).saga_id)
    assert [sent.ending, gone.ending, away.ending] == [
        Ending.COMPLETED,
        Ending.REFUSED,
        Ending.COMPLETED,
    ]
    engine = make_engine(database)
    queries = Queries(engine)
    assert list(queries.status(away.saga_id).steps) == [
        "seats",
        "held",
        "car.2",
        "ritz.2",
        "inn.2",
        "pay.2",
    ]
    ledger = queries.standing(gone.saga_id).ledger
    assert ledger is not None
    assert {entry.step: entry.undo for entry in ledger} == {
        "pick-1": Undo.CONFIRMED,
        "pick-2": Undo.CONFIRMED,
        "pick-3": Undo.CONFIRMED,
        "pick-4": Undo.CONFIRMED,
        "pick-5": Undo.NOT_OWED,
    }
    engine.dispose()

"""Occupancy and ledger say what the businesses themselves have in their databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from domain.transfer import app as bank
from domain.transfer import transfer
from domain.transfer.contracts import SendMoney
from domain.transfer.participants import here, there
from domain.travel import app as agency
from domain.travel import stay, trip
from domain.travel.contracts import BookStay, BookTrip
from domain.travel.participants import fleet, hotel_rooms, seats
from es_saga import Message, Saga, SagaState, View
from es_saga.core.messages import part_of
from es_saga.database import make_engine
from es_saga.engine.ports import Recorded
from es_saga.projections.view import Batch
from projections.ledger import TRANSIT, balances, ledger, movements
from projections.occupancy import occupancy, places
from projections.order_board import order_board
from tests.domain.driver import Mishap, Run, Script, Trouble, World

pytestmark = pytest.mark.anyio

A_TRIP = BookTrip(
    trip_id="7", traveller="ada", flight="BA117", hotel="Savoy", car="compact", pence=90_000
)
A_NIGHT = BookStay(trip_id="7", traveller="ada", hotel="Savoy", pence=9_000)
TO_BOB = SendMoney(transfer_id="7", sender="ada", recipient="bob", pence=2_500)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        engine = make_engine(f"sqlite:///{tmp_path / 'views.db'}")
    else:
        engine = make_engine(request.getfixturevalue("postgres_url"))
    for view in (places, movements):
        view.metadata.create_all(engine)
    yield engine
    engine.dispose()


def show(engine: sa.Engine, view: View, run: Run, *, batch: int = 1_000) -> None:
    """Tell a view of a saga's events, `batch` in a transaction."""
    told = [
        Recorded(part_of(run.saga_id), n, run.saga_id, n, event, event.model_dump_json().encode())
        for n, event in enumerate(run.events, start=1)
    ]
    before: Mapping[str, SagaState] = {}
    for first in range(0, len(told), batch):
        some = Batch.following(told[first : first + batch], before)
        with engine.begin() as connection:
            view.apply(connection, some)
        before = some.states


def held(engine: sa.Engine) -> dict[str, tuple[int, int, int]]:
    """By kind of place, all of a kind together: held, sold, released."""
    table = occupancy.c
    query = sa.select(
        table.kind, sa.func.sum(table.held), sa.func.sum(table.sold), sa.func.sum(table.released)
    ).group_by(table.kind)
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    return {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in rows}


@pytest.mark.parametrize("table", [order_board, occupancy, ledger, balances])
def test_every_column_says_what_it_means(table: sa.Table) -> None:
    assert all(column.comment for column in table.columns)
    assert table.comment


TRIPS: list[tuple[Saga[Any], Message, Script]] = [
    (trip, A_TRIP, {}),
    (stay, A_NIGHT, {}),
    (trip, A_TRIP.model_copy(update={"traveller": "tramp"}), {}),
    (trip, A_TRIP.model_copy(update={"flight": "full"}), {}),
    (stay, A_NIGHT.model_copy(update={"traveller": "tramp"}), {}),
    (trip, A_TRIP, {"room/do": Trouble(Mishap.LOST_REPLY)}),
    (trip, A_TRIP, {"room/do": Trouble(Mishap.LOST_COMMAND)}),
    (trip, A_TRIP, {step: Trouble(Mishap.FAILURE, 2) for step in ("car/do", "itinerary/do")}),
]


async def test_occupancy_is_what_the_partners_have_taken(engine: sa.Engine, tmp_path: Path) -> None:
    async with World(agency, tmp_path) as world:
        for number, (saga, order, script) in enumerate(TRIPS):
            numbered = order.model_copy(update={"trip_id": str(number)})
            show(engine, places, await world.run(saga, numbered, script))
            taken = {
                "seat": seats.totals(world.engines["flights"])["taken"],
                "room": hotel_rooms.totals(world.engines["rooms"])["taken"],
                "car": fleet.totals(world.engines["cars"])["taken"],
            }
            now = held(engine)
            assert {kind: sum(now.get(kind, (0, 0, 0))[:2]) for kind in taken} == taken
    assert held(engine) == {"seat": (0, 2, 3), "room": (0, 3, 3), "car": (0, 2, 4)}


async def test_what_a_trip_under_way_has_booked_is_held(engine: sa.Engine, tmp_path: Path) -> None:
    async with World(agency, tmp_path) as world:
        run = await world.run(trip, A_TRIP)
    pays = next(n for n, e in enumerate(run.events) if getattr(e, "step", None) == "pay")
    run.events = run.events[:pays]
    show(engine, places, run)
    assert held(engine) == {"seat": (1, 0, 0), "room": (1, 0, 0), "car": (1, 0, 0)}


CHANGES: list[dict[str, object]] = [
    {},
    {"recipient": "nobody"},
    {"recipient": "homeless"},
    {"sender": "poor"},
    {"pence": 700},
]


@pytest.mark.parametrize("batch", [1, 4, 1_000])
async def test_the_ledger_is_what_the_banks_have_moved(
    engine: sa.Engine, tmp_path: Path, batch: int
) -> None:
    async with World(bank, tmp_path) as world:
        for number, change in enumerate(CHANGES):
            order = TO_BOB.model_copy(update={"transfer_id": str(number), **change})
            show(engine, movements, await world.run(transfer, order), batch=batch)
        moved = {
            "giver": here.totals(world.engines["giver"])["moved"],
            "taker": there.totals(world.engines["taker"])["moved"],
        }
    with engine.connect() as connection:
        found = {
            account: (int(pence), entries)
            for account, pence, entries in map(tuple, connection.execute(sa.select(balances)))
        }
        entries = connection.execute(
            sa.select(ledger.c.account, sa.func.sum(ledger.c.pence), sa.func.count()).group_by(
                ledger.c.account
            )
        )
        assert {account: (int(pence), n) for account, pence, n in entries} == found
        total = connection.scalar(sa.select(sa.func.sum(ledger.c.pence)))
    assert total == 0
    assert found[TRANSIT][0] == 0
    assert moved == {
        bank: sum(pence for account, (pence, _) in found.items() if account.startswith(bank))
        for bank in ("giver", "taker")
    }
    assert found["giver/ada"] == (-3_200, 6)
    assert found["taker/bob"] == (3_200, 2)


async def test_money_on_its_way_is_in_transit(engine: sa.Engine, tmp_path: Path) -> None:
    async with World(bank, tmp_path) as world:
        run = await world.run(transfer, TO_BOB)
    deposit = next(n for n, e in enumerate(run.events) if getattr(e, "step", None) == "deposit")
    run.events = run.events[:deposit]
    show(engine, movements, run)
    with engine.connect() as connection:
        query = sa.select(balances.c.account, balances.c.pence)
        found: dict[str, int] = {row.account: row.pence for row in connection.execute(query)}
    assert found == {"giver/ada": -2_500, TRANSIT: 2_500}

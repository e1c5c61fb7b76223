"""Sagas and their participants in one process, without a broker."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from es_saga import (
    App,
    Choreography,
    ConflictError,
    InProcess,
    InvalidInput,
    Message,
    NotFound,
    Participant,
    Saga,
    SyncTx,
    Unavailable,
)
from es_saga.database import make_engine
from es_saga.participant import Event
from es_saga.projections.ending import Ending
from es_saga.testing.contracts.pipes import eventually
from tests.engine import monolith
from tests.engine.monolith import Order, app, order, store

pytestmark = pytest.mark.anyio

PROCESS = [sys.executable, "-m", "tests.engine.monolith"]
LONG_SECONDS = 60


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
    else:
        yield request.getfixturevalue("postgres_url")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_SAGA_DATA", str(tmp_path / "data"))


Effects = Counter[tuple[int, int]]


def picked(database: str) -> Effects:
    """How often each order was taken from the shelf, and put back."""
    return _rows(database, "SELECT number, by FROM picked")


def charged(database: str) -> Effects:
    """How often each was charged."""
    return _rows(database, "SELECT number, by FROM charged")


def effects(database: str) -> dict[str, Effects]:
    """Everything that participants sharing a database have done."""
    return {"picked": picked(database), "charged": charged(database)}


def relayed(database: str) -> int:
    """Up to which positions the relay has noted that it published, all parts together."""
    engine = make_engine(database)
    with engine.connect() as connection:
        found = connection.execute(
            sa.text("SELECT sum(position) FROM es_tracking WHERE name = 'relay'")
        ).scalar()
    engine.dispose()
    return int(found or 0)


def _rows(database: str, query: str) -> Effects:
    engine = make_engine(database)
    with engine.connect() as connection:
        found = Counter((number, by) for number, by in connection.execute(sa.text(query)))
    engine.dispose()
    return found


def expected() -> dict[str, Effects]:
    """Every order picked once, and charged once or put back once."""
    orders = [Order(number=n) for n in range(monolith.SAGAS)]
    picked = Counter((o.number, 1) for o in orders)
    picked.update((o.number, -1) for o in orders if o.refused)
    return {"picked": picked, "charged": Counter((o.number, 1) for o in orders if not o.refused)}


@pytest.mark.requirement("R069")
async def test_a_saga_runs_to_its_end_without_a_broker(database: str, tmp_path: Path) -> None:
    async with InProcess(app, database=database) as sagas:
        sold = await sagas.wait((await sagas.start(order, Order(number=1))).saga_id)
        undone = await sagas.wait((await sagas.start("order", {"number": 3})).saga_id)
    assert sold.ending is Ending.COMPLETED
    assert (undone.ending, undone.reason_step) == (Ending.REFUSED, "charge")
    assert effects(database) == {
        "picked": Counter({(1, 1): 1, (3, 1): 1, (3, -1): 1}),
        "charged": Counter({(1, 1): 1}),
    }
    assert not (tmp_path / "data").exists(), "everything is in the database"


@pytest.mark.requirement("R041", "R053", "R069")
def test_after_a_kill_everything_goes_on_from_the_log_and_nothing_acts_twice(
    database: str,
) -> None:
    with subprocess.Popen([*PROCESS, database], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n"
        # The relay believes its commands delivered, and they are lost nevertheless.
        end = time.monotonic() + LONG_SECONDS
        while relayed(database) == 0:
            assert time.monotonic() < end
            time.sleep(0.01)
        first.kill()
    assert effects(database) != expected(), "it was over before it could be killed"

    again = subprocess.run(
        [*PROCESS, database], capture_output=True, text=True, timeout=LONG_SECONDS, check=True
    )
    refused = sum(Order(number=n).refused for n in range(monolith.SAGAS))
    assert again.stdout.split()[1:3] == [str(monolith.SAGAS - refused), str(refused)], again.stderr
    assert effects(database) == expected()


async def test_two_processes_on_one_log_are_refused(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.in_process.OWNED_SECONDS", 0.1)
    async with InProcess(app, database=database) as sagas:
        with pytest.raises(ConflictError):
            await InProcess(app, database=database).__aenter__()
        ended = await sagas.wait((await sagas.start(order, Order(number=1))).saga_id)
    assert ended.ending is Ending.COMPLETED


class Sold(Event):
    by = "desk"
    about = "order_id"
    order_id: str


class Sent(Event):
    by = "hall"
    about = "order_id"
    order_id: str


sending = Choreography("sending", Sold)
sending.expects(Sent, after=Sold, within=timedelta(hours=1))


@pytest.mark.requirement("R069", "R071")
async def test_an_event_that_was_on_its_way_is_told_again_by_the_next_process(
    database: str,
) -> None:
    desk, hall = Participant("desk", publishes=[Sold]), Participant("hall", publishes=[Sent])
    tries = 0

    @hall.on(Sold)
    def send(event: Sold, tx: SyncTx) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Unavailable("Not now.")
        tx.publish(Sent(order_id=event.order_id))

    app = App("sending", sagas=[sending], participants=[desk, hall])
    async with InProcess(app, database=database):
        engine = make_engine(database)
        with engine.begin() as connection:
            assert desk.outbox is not None, "it publishes"
            desk.outbox.add(connection, Sold(order_id="1"))
        engine.dispose()
        await eventually(lambda: tries == 1)
    async with InProcess(app, database=database) as again:
        await eventually(lambda: tries == 2)
        await eventually(lambda: again.queries.status("sending-1").closed is not None)
        ended = await again.wait("sending-1")
    assert ended.ending is Ending.COMPLETED


async def test_each_participant_may_have_a_database_of_its_own(tmp_path: Path) -> None:
    theirs = f"sqlite:///{tmp_path}/{{name}}.db"
    log = f"sqlite:///{tmp_path / 'log.db'}"
    async with InProcess(app, database=log, participants=theirs) as sagas:
        await sagas.wait((await sagas.start(order, Order(number=1))).saga_id)
    assert charged(f"sqlite:///{tmp_path / 'till.db'}") == Counter({(1, 1): 1})


class Approval(Message):
    by: str


async def test_a_saga_that_waits_is_told_in_the_same_process(tmp_path: Path) -> None:
    asking = Saga("asking", Order)
    asking.wait(Approval, timeout=timedelta(hours=1))
    office = App("office", sagas=[asking])
    async with InProcess(office, database=f"sqlite:///{tmp_path / 'log.db'}") as sagas:
        asked = await sagas.start(asking, Order(number=1), key="1")
        with pytest.raises(NotFound, match="does not wait for 'Order'"):
            await sagas.signal(asked.saga_id, Order(number=1))
        with pytest.raises(NotFound):
            await sagas.signal("asking-2", Approval(by="ada"))
        await sagas.signal(asked.saga_id, Approval(by="ada"))
        assert (await sagas.wait(asked.saga_id)).ending is Ending.COMPLETED


async def test_what_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="in memory"):
        InProcess(app, database="sqlite://")
    twins = App("twins", sagas=[order], participants=[store, Participant("b", tables=store.tables)])
    with pytest.raises(InvalidInput, match="picked"):
        InProcess(twins, database=f"sqlite:///{tmp_path / 'log.db'}")
    async with InProcess(app, database=f"sqlite:///{tmp_path / 'log.db'}") as sagas:
        with pytest.raises(NotFound):
            await sagas.wait("order-1")

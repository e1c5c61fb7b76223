"""Following PostgreSQL's transaction log: what it tells, and what is said when it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from es_saga import InvalidInput, Message
from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.database import make_engine
from es_saga.participant import (
    Outbox,
    PollingRelay,
    Subscriber,
    TailingRelay,
    create_slot,
    drop_slot,
    inbox,
    outbox,
)
from es_saga.participant.outbox import COLUMNS, MAX_EVENT_BYTES, Row, es_outbox
from es_saga.participant.replication import Committed, Feed, SlotBusy
from es_saga.participant.tailing import NoSlot, NotLogical, slot_of
from es_saga.testing.contracts.pipes import eventually
from tests.participant.depot import heard_by, left, place, shipping, tables
from tests.participant.pipe import Pipe

pytestmark = pytest.mark.anyio


class Note(Message):
    text: str


@pytest.fixture
def orders(postgres_url: str) -> Iterator[sa.Engine]:
    """The database of both services."""
    engine = make_engine(postgres_url, pool_size=10)
    for metadata in (tables, outbox.metadata, inbox.metadata):
        metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
async def slot(orders: sa.Engine) -> AsyncIterator[str]:
    """A slot's name that no other test has; the slot is dropped afterwards."""
    name = slot_of(str(orders.url.database))
    yield name
    await eventually(lambda: dropped(orders, name))


def followed(engine: sa.Engine, slot: str) -> bool:
    """Whether somebody reads from the slot."""
    with engine.begin() as connection:
        query = sa.text("SELECT active FROM pg_replication_slots WHERE slot_name = :slot")
        return bool(connection.scalar(query, {"slot": slot}))


def dropped(engine: sa.Engine, slot: str) -> bool:
    """Whether the slot is gone; who reads from it is cut off."""
    with engine.begin() as connection:
        here = "FROM pg_replication_slots WHERE slot_name = :slot"
        cut = sa.text(f"SELECT pg_terminate_backend(active_pid) {here} AND active")
        connection.execute(cut, {"slot": slot})
    with suppress(DBAPIError):  # none is there, or the relay was back before us
        drop_slot(engine, slot)
    with engine.begin() as connection:
        return connection.execute(sa.text(f"SELECT 1 {here}"), {"slot": slot}).first() is None


@pytest.mark.requirement("R071", "R073")
async def test_what_one_service_tells_another_one_hears_once_and_in_order(
    orders: sa.Engine, slot: str, nats_url: str, nats_tenant: str
) -> None:
    create_slot(orders, slot)
    place(orders, {"a": 5, "b": 3})
    pipe = await NatsTransport.connect(nats_url, tenant=nats_tenant)
    listener = Subscriber(shipping(), orders, pipe, tenant=nats_tenant)
    async with listener, TailingRelay("orders", orders, pipe, tenant=nats_tenant, slot=slot):
        await eventually(lambda: sum(map(len, heard_by(orders).values())) == 8)
        place(orders, {"b": 2, "c": 2}, first=4)
        await eventually(lambda: sum(map(len, heard_by(orders).values())) == 12)
        await eventually(lambda: left(orders) == 0)
    await pipe.close()
    assert heard_by(orders) == {"a": [1, 2, 3, 4, 5], "b": [1, 2, 3, 4, 5], "c": [4, 5]}


async def read(feed: Feed) -> list[Row]:
    """The rows up to the end of the next transaction that has any."""
    rows: list[Row] = []
    async with asyncio.timeout(20):
        while True:
            for change in await feed.read(1.0):
                if isinstance(change, Row):
                    rows.append(change)
                elif isinstance(change, Committed) and rows:
                    feed.confirm(change.lsn)
                    return rows


@pytest.mark.requirement("R073")
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), min_size=1),
    size=st.sampled_from([0, 3_000, MAX_EVENT_BYTES - 100]),
    cause=st.booleans(),
)
async def test_the_log_tells_what_the_table_holds(
    orders: sa.Engine, slot: str, texts: list[str], size: int, cause: bool
) -> None:
    create_slot(orders, slot)
    with orders.connect() as connection:
        service = Outbox("orders")
        service.add(connection, Note(text="never"), aggregate_id="1")
        connection.rollback()
        for text in [*texts, "x" * size]:
            service.add(connection, Note(text=text), aggregate_id="1")
        connection.execute(sa.insert(tables.tables["placed"]), {"order_id": "1", "number": 1})
        if cause:
            connection.execute(sa.update(es_outbox).values(at=None, attributes='{"sagaid": "s"}'))
        connection.commit()

    feed = Feed.open(orders.url, slot)
    told = await read(feed)
    feed.close()
    with orders.begin() as connection:
        query = sa.select(*COLUMNS).order_by(es_outbox.c.position)
        held = [Row(*row) for row in connection.execute(query)]
        connection.execute(sa.delete(es_outbox))
    if cause:  # an update is not told of
        told = [row._replace(at=None, attributes='{"sagaid": "s"}') for row in told]
    assert told == held


async def test_two_do_not_read_from_one_slot(orders: sa.Engine, slot: str) -> None:
    create_slot(orders, slot)
    create_slot(orders, slot)
    first = Feed.open(orders.url, slot)
    with pytest.raises(SlotBusy):
        Feed.open(orders.url, slot)
    first.close()


async def test_what_was_published_and_not_deleted_is_deleted_by_the_next_one(
    orders: sa.Engine, slot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash between the two; a polling relay may have been at it meanwhile."""
    create_slot(orders, slot)
    place(orders, {"a": 3})
    async with PollingRelay("orders", orders, Pipe()):
        await eventually(lambda: left(orders) == 0)
    pipe = Pipe()
    async with TailingRelay("orders", orders, pipe, slot=slot):
        await eventually(lambda: followed(orders, slot))
        place(orders, {"b": 1})
        await eventually(lambda: left(orders) == 0)
    told = [subject for subject, _ in pipe.published]
    assert told == ["saga.v1.main.evt.orders.b.OrderChanged"], "the log tells of a's rows, too"


@pytest.mark.requirement("R073")
async def test_without_a_slot_nothing_is_lost_and_it_is_said_how_to_make_one(
    orders: sa.Engine,
    slot: str,
    logged: list[MutableMapping[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("es_saga.participant.relay.OUTAGE_SECONDS", (0.05, 0.05))
    with pytest.raises(NoSlot, match=r"does not exist.*create_slot\(engine, name\)"):
        await TailingRelay("orders", orders, Pipe(), slot=slot).start()
    async with TailingRelay("orders", orders, Pipe(), slot=slot, create_tables=True):
        await eventually(lambda: followed(orders, slot))
        place(orders, {"a": 1})
        await eventually(lambda: left(orders) == 0)
        await eventually(lambda: dropped(orders, slot))
        place(orders, {"b": 2})
        await eventually(lambda: left(orders) == 0)
        await eventually(lambda: "outbox_unreachable" in {entry["event"] for entry in logged})
        create_slot(orders, slot)
        await eventually(lambda: "outbox_back" in {entry["event"] for entry in logged})
        await eventually(lambda: followed(orders, slot))
        place(orders, {"c": 2})
        await eventually(lambda: left(orders) == 0)


async def test_a_slot_that_lags_is_an_alert_with_the_bytes_that_are_kept(
    orders: sa.Engine, slot: str, logged: list[MutableMapping[str, Any]]
) -> None:
    create_slot(orders, slot)
    place(orders, {"a": 20})
    relay = TailingRelay("orders", orders, Pipe(), slot=slot, max_retained_bytes=100)
    async with relay:
        await eventually(lambda: left(orders) == 0)
    (alert,) = [entry for entry in logged if entry["event"] == "slot_lags"]
    assert alert["log_level"] == "error"
    assert (alert["slot"], alert["limit_bytes"]) == (slot, 100)
    assert alert["retained_bytes"] > 100


async def test_it_is_said_which_setting_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Use PollingRelay"):
        TailingRelay("orders", f"sqlite:///{tmp_path / 'x.db'}", Pipe())
    server = EmbeddedPostgres(tmp_path / "pg", settings={"fsync": "off", "wal_level": "replica"})
    with server as url:
        relay = TailingRelay("orders", url, Pipe(), create_tables=True)
        with pytest.raises(NotLogical, match="Set `wal_level = logical` and restart"):
            await relay.start()


def test_the_slot_of_a_service_has_a_name_that_postgresql_takes() -> None:
    assert slot_of("Card-Payments") == "es_outbox_card_payments"
    assert len(slot_of("x" * 200)) == 63

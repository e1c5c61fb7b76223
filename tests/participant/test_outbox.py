"""The outbox: what is written with the business row, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from es_saga import DefinitionError, InvalidInput, Message, Participant
from es_saga.core.messages import Envelope
from es_saga.participant import Event, Inbox, Outbox, inbox, outbox
from es_saga.participant.outbox import MAX_EVENT_BYTES, es_outbox
from tests.participant.depot import OrderChanged, placed, tables


class Note(Message):
    text: str


class Nameless(Event):
    by = "orders"
    text: str


@pytest.fixture
def orders(engine: sa.Engine) -> sa.Engine:
    """The database of a service that has an outbox, an inbox and a table of its own."""
    for metadata in (tables, outbox.metadata, inbox.metadata):
        metadata.create_all(engine)
    return engine


def in_session(engine: sa.Engine, *, commit: bool) -> None:
    with Session(engine) as session:
        session.execute(sa.insert(placed), {"order_id": "1", "number": 1})
        Outbox("orders").add(session, OrderChanged(order_id="1", number=1))
        if commit:
            session.commit()


def in_connection(engine: sa.Engine, *, commit: bool) -> None:
    with engine.connect() as connection:
        connection.execute(sa.insert(placed), {"order_id": "1", "number": 1})
        Outbox("orders").add(connection, OrderChanged(order_id="1", number=1))
        if commit:
            connection.commit()


async def _in_async_session(url: sa.URL, *, commit: bool) -> None:
    engine = create_async_engine(url)
    async with AsyncSession(engine) as session:
        await session.execute(sa.insert(placed), {"order_id": "1", "number": 1})
        Outbox("orders").add(session, OrderChanged(order_id="1", number=1))
        assert await Inbox("orders").first_time(session, "m-1")
        assert not await Inbox("orders").first_time(session, "m-1")
        if commit:
            await session.commit()
    await engine.dispose()


async def _in_async_connection(url: sa.URL, *, commit: bool) -> None:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.execute(sa.insert(placed), {"order_id": "1", "number": 1})
        await Outbox("orders").add(connection, OrderChanged(order_id="1", number=1))
        assert await Inbox("orders").first_time(connection, "m-1")
        if commit:
            await connection.commit()
    await engine.dispose()


def in_async_session(engine: sa.Engine, *, commit: bool) -> None:
    asyncio.run(_in_async_session(_asynchronous(engine), commit=commit))


def in_async_connection(engine: sa.Engine, *, commit: bool) -> None:
    asyncio.run(_in_async_connection(_asynchronous(engine), commit=commit))


def _asynchronous(engine: sa.Engine) -> sa.URL:
    if engine.dialect.name == "sqlite":
        return engine.url.set(drivername="sqlite+aiosqlite")
    return engine.url


@pytest.mark.requirement("R062", "R070")
@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize(
    "write", [in_session, in_connection, in_async_session, in_async_connection]
)
def test_an_event_commits_with_the_business_row_or_not_at_all(
    orders: sa.Engine, write: Callable[..., None], commit: bool
) -> None:
    write(orders, commit=commit)

    with orders.begin() as connection:
        business = connection.scalar(sa.select(sa.func.count()).select_from(placed))
        events = connection.execute(sa.select(es_outbox)).all()
    assert business == len(events) == (1 if commit else 0)
    for row in events:
        assert (row.aggregate_type, row.aggregate_id, row.type) == ("order", "1", "OrderChanged")
        assert OrderChanged.model_validate_json(row.payload).number == 1


def test_an_event_remembers_what_caused_it(orders: sa.Engine) -> None:
    cause = Envelope(id="o-1/pay/do/1", source="pm/shop", type="Pay", sagaid="o-1", traceparent="t")
    with orders.begin() as connection:
        Outbox("orders").add(connection, OrderChanged(order_id="1", number=1), cause=cause)
        row = outbox.Row(*connection.execute(sa.select(*outbox.COLUMNS)).one())

    told = row.envelope()
    assert (told.causationid, told.sagaid, told.traceparent) == (cause.id, "o-1", "t")
    assert (told.id, told.source, told.subject) == (row.id, "svc/orders", "1")


@pytest.mark.parametrize(
    ("event", "given", "says"),
    [
        (Note(text="x"), {}, "which aggregate it happened to. Set `about`"),
        (Nameless(text="x"), {}, "which aggregate it happened to. Set `about`"),
        (Note(text="x"), {"aggregate_id": "a.b"}, "letters, digits"),
        (Note(text="x"), {"aggregate_id": ""}, "letters, digits"),
        (Note(text="x"), {"aggregate_id": "1", "aggregate_type": "\0"}, "letters, digits"),
        (Note(text="\ud800"), {"aggregate_id": "1"}, "cannot be written as JSON"),
        (Note(text="x" * MAX_EVENT_BYTES), {"aggregate_id": "1"}, f"{MAX_EVENT_BYTES} are allowed"),
    ],
)
def test_what_cannot_be_published_is_refused_before_it_is_written(
    orders: sa.Engine, event: Message, given: dict[str, str], says: str
) -> None:
    with orders.begin() as connection:
        with pytest.raises(InvalidInput, match=says):
            Outbox("orders").add(connection, event, **given)  # type: ignore[call-overload]  # each case's own
        assert connection.scalar(sa.select(sa.func.count()).select_from(es_outbox)) == 0


def test_a_service_tells_of_itself_only(orders: sa.Engine) -> None:
    with pytest.raises(InvalidInput, match="an event of 'orders', not of 'stock'"):
        Outbox("stock").row(OrderChanged(order_id="1", number=1))
    with pytest.raises(DefinitionError, match=r"(?s)OrderChanged is an event of.*Nameless has no"):
        Participant("stock", publishes=[OrderChanged, Nameless])


@pytest.mark.requirement("R062")
def test_a_message_is_handled_the_first_time_only(orders: sa.Engine) -> None:
    shipping, billing = Inbox("shipping"), Inbox("billing")
    with orders.connect() as connection:
        assert shipping.first_time(connection, "m-1")
        connection.rollback()
    for first in (True, False):
        with Session(orders) as session:
            assert shipping.first_time(session, "m-1") is first
            assert billing.first_time(session, "m-1") is first
            session.commit()


def test_the_inbox_forgets_what_is_old_and_no_more_than_it_is_told(orders: sa.Engine) -> None:
    with orders.begin() as connection:
        for number in range(5):
            Inbox("shipping").first_time(connection, f"m-{number}")
        connection.execute(sa.update(inbox.es_inbox).values(at=100.0))
        Inbox("shipping").first_time(connection, "new")
    assert inbox.purge(orders, 200.0, limit=3) == 3
    assert inbox.purge(orders, 200.0, limit=3) == 2
    with orders.begin() as connection:
        assert not Inbox("shipping").first_time(connection, "new")
        assert Inbox("shipping").first_time(connection, "m-0")

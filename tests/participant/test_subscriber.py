"""Reactions: each event once, in order for each aggregate, in a transaction with the inbox."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa

from es_saga import DefinitionError, Participant, SyncTx, Terminal, Tx, Unavailable
from es_saga.core.messages import Command, Direction, Envelope, Refusal, command_id
from es_saga.participant import Event, NotPrepared, Server, Subscriber, create_tables
from es_saga.participant.outbox import es_outbox
from es_saga.participant.subscriber import MAX_ATTEMPTS
from es_saga.testing.contracts.pipes import eventually
from tests.participant.depot import OrderChanged, heard, heard_by, tables
from tests.participant.pipe import Letter, Pipe

pytestmark = pytest.mark.anyio


class ParcelSent(Event):
    by = "shipping"
    about = "order_id"
    order_id: str


class Sorry(Refusal):
    pass


class Send(Command[None]):
    to = "shipping"
    order_id: str
    refuse: bool = False


def changed(message_id: str, order_id: str, number: int) -> Envelope:
    return Envelope(
        id=message_id,
        source="svc/orders",
        type="OrderChanged",
        subject=order_id,
        aggregatetype="order",
        data={"order_id": order_id, "number": number},
    )


def note(event: OrderChanged, tx: SyncTx) -> None:
    tx.connection.execute(sa.insert(heard), event.model_dump())


@asynccontextmanager
async def listening(engine: sa.Engine, participant: Participant) -> AsyncGenerator[Pipe]:
    """A subscriber, and the pipe that it hears."""
    pipe = Pipe()
    async with Subscriber(participant, engine, pipe, create_tables=True):
        yield pipe


async def settled(*letters: Letter) -> list[object]:
    """What became of them, once something has."""
    await eventually(lambda: all(letter.settled for letter in letters))
    return [letter.settled[0][0] for letter in letters]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("es_saga.participant.subscriber.RETRY_SECONDS", (0.01,))
    monkeypatch.setattr("es_saga.participant.workplace.RECONNECT_SECONDS", 0.01)


@pytest.mark.requirement("R062", "R074")
async def test_an_event_that_comes_again_is_acted_on_once(engine: sa.Engine) -> None:
    shipping = Participant("shipping", tables=tables)
    shipping.on(OrderChanged)(note)
    async with listening(engine, shipping) as pipe:
        first = pipe.deliver(changed("m-1", "a", 1))
        assert await settled(first) == ["ack"]
        again = [pipe.deliver(changed(f"m-{n}", "a", n)) for n in (1, 2)]
        assert await settled(*again) == ["ack", "ack"]
    assert heard_by(engine) == {"a": [1, 2]}


@pytest.mark.requirement("R071")
async def test_what_follows_a_failing_event_waits_and_other_aggregates_do_not(
    engine: sa.Engine,
) -> None:
    shipping = Participant("shipping", tables=tables)
    failures = iter([RuntimeError("once"), Unavailable("twice"), OSError("thrice")])
    released = False

    @shipping.on(OrderChanged)
    async def fail_at_first(event: OrderChanged, tx: Tx) -> None:
        await tx.execute(sa.insert(heard), event.model_dump())  # what it writes must not stay
        if event.order_id == "a" and event.number == 1:
            if not released:
                raise Unavailable("not before b has been heard")
            for failure in failures:
                raise failure

    async with listening(engine, shipping) as pipe:
        one, two = (pipe.deliver(changed(f"m-{n}", "a", n)) for n in (1, 2))
        other = pipe.deliver(changed("m-3", "b", 1))
        assert await settled(other) == ["ack"]
        assert not one.settled
        released = True
        assert await settled(one, two) == ["ack", "ack"]
    assert heard_by(engine) == {"a": [1, 2], "b": [1]}


@pytest.mark.parametrize(
    ("error", "reason"), [(Terminal("no"), "terminal"), (ValueError("x"), "reaction-failed")]
)
async def test_an_event_that_cannot_be_acted_on_is_put_aside_and_its_aggregate_goes_on(
    engine: sa.Engine, error: Exception, reason: str
) -> None:
    shipping = Participant("shipping", tables=tables)
    tries = 0

    @shipping.on(OrderChanged)
    def fail(event: OrderChanged, tx: SyncTx) -> None:
        nonlocal tries
        if event.number == 1:
            tries += 1
            raise error
        note(event, tx)

    async with listening(engine, shipping) as pipe:
        bad, good = (pipe.deliver(changed(f"m-{n}", "a", n)) for n in (1, 2))
        assert await settled(bad, good) == ["reject", "ack"]
        assert bad.settled[0][1] == reason
    assert tries == (1 if reason == "terminal" else MAX_ATTEMPTS)
    assert heard_by(engine) == {"a": [2]}


async def test_what_is_no_such_event_is_put_aside_and_what_nobody_hears_is_passed_over(
    engine: sa.Engine,
) -> None:
    shipping = Participant("shipping", tables=tables)
    shipping.on(OrderChanged)(note)
    wrong = changed("m-1", "a", 1).model_copy(update={"data": {"number": "x"}})
    foreign = changed("m-2", "a", 2).model_copy(update={"type": "OrderPaid"})
    async with listening(engine, shipping) as pipe:
        letters = [pipe.deliver(wrong), pipe.deliver(foreign)]
        assert await settled(*letters) == ["reject", "ack"]
        assert letters[0].settled[0][1] == "bad-payload"
        assert pipe.consumer is not None
        assert pipe.consumer.name == "evt-shipping--orders"
        assert pipe.consumer.filter == "saga.v1.main.evt.orders.>"


@pytest.mark.requirement("R062", "R074")
async def test_a_reaction_and_what_it_publishes_commit_together(engine: sa.Engine) -> None:
    shipping = Participant("shipping", tables=tables, publishes=[ParcelSent])

    @shipping.on(OrderChanged)
    def send(event: OrderChanged, tx: SyncTx) -> None:
        tx.publish(ParcelSent(order_id=event.order_id))
        if event.number == 1:
            raise Terminal("after it has published")

    async with listening(engine, shipping) as pipe:
        await settled(*(pipe.deliver(changed(f"m-{n}", f"o-{n}", n)) for n in (1, 2)))
    with engine.begin() as connection:
        (row,) = connection.execute(sa.select(es_outbox)).all()
    assert (row.aggregate_type, row.aggregate_id, row.type) == ("order", "o-2", "ParcelSent")
    assert '"causationid": "m-2"' in row.attributes


@pytest.mark.requirement("R062")
async def test_a_command_that_is_refused_has_published_nothing(engine: sa.Engine) -> None:
    shipping = Participant("shipping", publishes=[ParcelSent])

    @shipping.handles(Send)
    async def send(cmd: Send, tx: Tx) -> Sorry | None:
        tx.publish(ParcelSent(order_id=cmd.order_id))
        return Sorry() if cmd.refuse else None

    async with Server(shipping, engine, create_tables=True) as server:
        for order_id, refuse in (("a", True), ("b", False)):
            key = command_id(order_id, "send", Direction.DO)
            data = {"order_id": order_id, "refuse": refuse}
            await server.call(
                Envelope(id=f"{key}/1", source="pm/x", type="Send", commandid=key, data=data)
            )
    with engine.begin() as connection:
        rows = connection.execute(sa.select(es_outbox.c.aggregate_id)).scalars().all()
    assert rows == ["b"]


async def test_what_is_published_must_have_been_declared(engine: sa.Engine) -> None:
    shipping = Participant("shipping", tables=tables)

    @shipping.on(OrderChanged)
    def send(event: OrderChanged, tx: SyncTx) -> None:
        try:
            tx.publish(ParcelSent(order_id=event.order_id))
        except DefinitionError as error:
            raise Terminal(str(error)) from error

    async with listening(engine, shipping) as pipe:
        letter = pipe.deliver(changed("m-1", "a", 1))
        assert await settled(letter) == ["reject"]
        assert "publishes=[ParcelSent]" in str(letter.settled[0][2])


async def test_what_waits_when_a_subscriber_stops_is_given_back(engine: sa.Engine) -> None:
    shipping = Participant("shipping", tables=tables)

    @shipping.on(OrderChanged)
    def fail(event: OrderChanged, tx: SyncTx) -> None:
        raise Unavailable("for ever")

    async with listening(engine, shipping) as pipe:
        letters = [pipe.deliver(changed(f"m-{n}", "a", n)) for n in (1, 2)]
    assert [letter.settled for letter in letters] == [[("nak", 0.0)], [("nak", 0.0)]]


async def test_a_reaction_that_cannot_be_is_refused_with_all_faults(engine: sa.Engine) -> None:
    class Anonymous(Event):
        about = "x"
        x: str

    shipping = Participant("shipping")
    with pytest.raises(DefinitionError, match=r"(?s)does not say whose event.*two arguments"):
        shipping.react(Anonymous, lambda: None)
    shipping.on(OrderChanged)(note)
    with pytest.raises(DefinitionError, match="has a reaction already"):
        shipping.on(OrderChanged)(note)
    create_tables(Participant("shipping"), engine)
    with pytest.raises(NotPrepared, match="es_inbox"):
        await Subscriber(shipping, engine, Pipe()).start()

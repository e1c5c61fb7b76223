"""The relay of a pipe in memory: an event stays in the outbox until it has been handled."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from es_saga.adapters import memory
from es_saga.adapters.memory import MemoryTransport
from es_saga.core.messages import Envelope, Subjects
from es_saga.engine.ports import Consumer, Delivery
from es_saga.participant import holding, outbox
from es_saga.participant.holding import HoldingRelay
from es_saga.participant.outbox import es_outbox
from es_saga.testing.contracts.pipes import eventually
from tests.participant.depot import left, place, tables

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("R069", "R071")]

SUBJECTS = Subjects("main")


class Ears:
    """A consumer who settles nothing by itself."""

    def __init__(self, name: str, filter: str, stream: str = "EVT") -> None:
        self.consumer = Consumer(name=name, stream=stream, filter=filter)
        self.heard: list[Delivery] = []

    async def open(self, pipe: MemoryTransport) -> Ears:
        await pipe.consume(self.consumer, self.heard.append)
        return self


@pytest.fixture
def orders(engine: sa.Engine) -> sa.Engine:
    for metadata in (tables, outbox.metadata):
        metadata.create_all(engine)
    return engine


@pytest.fixture
def pipe() -> MemoryTransport:
    return MemoryTransport()


def relay(orders: sa.Engine, pipe: MemoryTransport) -> HoldingRelay:
    return HoldingRelay("orders", orders, pipe)


async def test_an_event_stays_in_the_outbox_until_all_who_hear_it_are_done_with_it(
    orders: sa.Engine, pipe: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "DUPLICATE_WINDOW_SECONDS", 0.0)
    one, other = [await Ears(name, SUBJECTS.events).open(pipe) for name in ("one", "other")]
    place(orders, {"a": 1, "b": 1})
    async with relay(orders, pipe):
        await eventually(lambda: len(one.heard) == len(other.heard) == 2)
        for delivery in (*one.heard, other.heard[0]):
            delivery.ack()
        await eventually(lambda: left(orders) == 1)
        other.heard[1].nak()
        await eventually(lambda: len(other.heard) == 3)
        assert left(orders) == 1, "it is tried again"
        other.heard[2].ack()
        await eventually(lambda: not left(orders))
    assert len(one.heard) == 2, "each was published once"


async def test_what_is_done_with_is_deleted_once(orders: sa.Engine, pipe: MemoryTransport) -> None:
    deleted: list[object] = []

    @event.listens_for(orders, "before_cursor_execute")
    def note(_c: object, _cursor: object, sql: str, values: tuple[object, ...], *_: object) -> None:
        if sql.startswith("DELETE"):
            deleted.extend(values)

    async with relay(orders, pipe):
        for number in (1, 2):
            place(orders, {"a": 1}, first=number)
            await eventually(lambda: not left(orders))
    assert len(deleted) == 2


async def test_what_is_put_aside_is_done_with(orders: sa.Engine, pipe: MemoryTransport) -> None:
    ears = await Ears("one", SUBJECTS.events).open(pipe)
    place(orders, {"a": 1})
    async with relay(orders, pipe):
        await eventually(lambda: len(ears.heard) == 1)
        ears.heard[0].reject("odd")
        await eventually(lambda: not left(orders))


async def test_what_cannot_be_published_is_put_aside_whatever_else_is_on_its_way(
    orders: sa.Engine, pipe: MemoryTransport
) -> None:
    ears = await Ears("one", SUBJECTS.events).open(pipe)
    place(orders, {"a": 1, "b": 1})
    with orders.begin() as connection:
        mine = sa.update(es_outbox).where(es_outbox.c.aggregate_id == "b")
        connection.execute(mine.values(payload="{"))
    async with relay(orders, pipe):
        await eventually(lambda: len(ears.heard) == 1 and left(orders, sound=True) == 1)
        ears.heard[0].ack()
        await eventually(lambda: not left(orders, sound=True))
    assert left(orders) == 1, "with its fault"


async def test_what_nobody_hears_is_done_with(orders: sa.Engine, pipe: MemoryTransport) -> None:
    place(orders, {"a": 1})
    async with relay(orders, pipe):
        await eventually(lambda: not left(orders))


async def test_an_event_that_was_passed_on_to_a_saga_stays_until_that_has_it(
    orders: sa.Engine, pipe: MemoryTransport
) -> None:
    """As one does that comes before its saga; the inbox dies with the process, too."""
    manager = await Ears("manager", SUBJECTS.events).open(pipe)
    inbox = await Ears("inbox", SUBJECTS.inbox("shop", "s-1"), "RPL").open(pipe)
    place(orders, {"a": 1, "b": 1})
    async with relay(orders, pipe):
        await eventually(lambda: len(manager.heard) == 2)
        passed, known = manager.heard
        heard = Envelope(id="h", source="pm/shop", type="heard", causationid=passed.envelope.id)
        await pipe.publish(SUBJECTS.inbox("shop", "s-1"), heard)
        known.ack()
        passed.ack()
        await eventually(lambda: left(orders) == 1)
        inbox.heard[0].ack()
        await eventually(lambda: not left(orders))


async def test_what_is_on_its_way_holds_up_nothing_new(
    orders: sa.Engine, pipe: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "BATCH", 1)
    ears = await Ears("one", SUBJECTS.events).open(pipe)
    place(orders, {"a": 3})
    async with relay(orders, pipe):
        await eventually(lambda: len(ears.heard) == 3)
    assert left(orders) == 3


async def test_no_more_than_the_most_are_on_their_way(
    orders: sa.Engine, pipe: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "MAX_HELD", 2)
    ears = await Ears("one", SUBJECTS.events).open(pipe)
    place(orders, {"a": 3})
    async with relay(orders, pipe):
        await eventually(lambda: len(ears.heard) == 2)
        ears.heard[0].ack()
        await eventually(lambda: len(ears.heard) == 3)
        assert left(orders) == 2, "the third came once the first was done with"

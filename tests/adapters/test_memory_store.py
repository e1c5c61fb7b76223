"""The log in memory: optimistic, numbered without gaps, and what a second owner sees."""

from __future__ import annotations

import asyncio

import pytest

from es_saga.adapters.clock import SimulatedClock
from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.core.aggregate import fold
from es_saga.core.errors import Unavailable
from es_saga.core.events import SagaCompleted, SagaEvent, SagaStarted, StepStarted, StepSucceeded
from es_saga.core.messages import Subjects
from es_saga.engine.ports import Append, Consumer
from tests.adapters.pipes import Seen, keep, message

pytestmark = pytest.mark.anyio

STORY: list[SagaEvent] = [
    SagaStarted(at=1.0, saga_type="order", definition=1, fingerprint="f", data={}),
    StepStarted(
        at=1.0,
        step="ship",
        command_type="Ship",
        to="ship",
        command={},
        command_id="a/ship/do",
        due=31.0,
    ),
    StepSucceeded(at=2.0, step="ship", attempt=1, reply={}),
    SagaCompleted(at=2.0),
]


def append(saga_id: str, first: int, last: int) -> Append:
    """The story's events from `first` up to, not with, `last`."""
    state = fold(saga_id, STORY[:last])
    assert state is not None
    return Append(saga_id, first, STORY[first:last], state)


async def test_positions_and_versions_have_no_gaps() -> None:
    store = MemoryStore()
    assert await store.append(3, [append("a", 0, 2), append("b", 0, 1)]) == [2, 3]
    assert await store.append(3, [append("a", 2, 4), append("b", 1, 2)]) == [5, 6]
    read = await store.read(3, after=1, limit=4)
    assert [(r.position, r.saga_id, r.version) for r in read] == [
        (2, "a", 2),
        (3, "b", 1),
        (4, "a", 3),
        (5, "a", 4),
    ]
    assert read[0].event == STORY[1]
    assert b"a/ship/do" in read[0].payload
    assert await store.head(3) == await store.claim(3) == 6
    assert await store.head(4) == 0


async def test_a_taken_version_is_refused_alone() -> None:
    store = MemoryStore()
    await store.append(3, [append("a", 0, 2)])
    assert await store.append(3, [append("a", 1, 2), append("b", 0, 1), append("c", 1, 2)]) == [
        None,
        3,
        None,
    ]
    histories = await store.load(["a", "b", "c", "d"])
    assert histories == {"a": tuple(STORY[:2]), "b": tuple(STORY[:1])}


async def test_open_sagas_are_those_that_are_not_closed() -> None:
    store = MemoryStore()
    await store.append(3, [append("a", 0, 2), append("b", 0, 4)])
    assert await store.open_sagas(3) == [("a", 31.0)]
    await store.append(3, [append("a", 2, 4)])
    assert await store.open_sagas(3) == []


async def test_a_checkpoint_never_moves_backward() -> None:
    store = MemoryStore()
    assert await store.checkpoint("relay", 3) == 0
    await store.advance("relay", {3: 7, 4: 1})
    await store.advance("relay", {3: 5, 4: 2})
    assert [await store.checkpoint("relay", part) for part in (3, 4)] == [7, 2]


async def test_a_closed_store_takes_nothing() -> None:
    store = MemoryStore()
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.append(3, [append("a", 0, 1)])


# ── time that stands still ───────────────────────────────────────────────────────────────────────


async def test_sleepers_wake_in_order_each_at_its_own_time() -> None:
    clock = SimulatedClock(100.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.now()))

    tasks = [asyncio.create_task(sleeper("a", 5, 1, 10)), asyncio.create_task(sleeper("b", 5.5))]
    await clock.advance(4.9)
    assert woken == []
    assert clock.next_wake == 105.0
    await clock.advance(5.1)
    assert woken == [("a", 105.0), ("b", 105.5), ("a", 106.0)]
    assert clock.now() == 110.0
    await clock.advance(6)
    await asyncio.gather(*tasks)
    assert woken[-1] == ("a", 116.0)


async def test_redelivery_in_memory_follows_the_simulated_clock() -> None:
    clock = SimulatedClock()
    transport = MemoryTransport(clock=clock)
    subjects, seen = Subjects(), Seen(keep)
    consumer = Consumer("svc-stock", "CMD", subjects.commands_of("stock"), backoff=(30.0, 600.0))
    await transport.consume(consumer, seen)
    await transport.publish(subjects.command("stock", 1, "Reserve"), message("a"))
    await clock.advance(29.0)
    assert seen.ids == ["a"]
    await clock.advance(1.0)
    assert seen.ids == ["a", "a"]
    await clock.advance(599.0)
    assert len(seen.ids) == 2
    await clock.advance(1.0)
    assert len(seen.ids) == 3
    await transport.close()


async def test_an_id_is_remembered_for_the_duplicate_window_only() -> None:
    clock = SimulatedClock()
    transport = MemoryTransport(clock=clock)
    subjects, seen = Subjects(), Seen()
    await transport.consume(Consumer("s", "CMD", subjects.commands_of("stock")), seen)
    subject = subjects.command("stock", 1, "Reserve")
    for _ in range(2):
        await transport.publish(subject, message("a"))
    await clock.advance(121.0)
    assert seen.ids == ["a"]
    await transport.publish(subject, message("a"))
    await clock.advance(0.0)
    assert seen.ids == ["a", "a"]
    await transport.close()

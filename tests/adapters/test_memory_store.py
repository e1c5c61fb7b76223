"""Time that stands still, and what the transport in memory makes of it."""

from __future__ import annotations

import asyncio

import pytest

from es_saga.adapters.clock import SimulatedClock
from es_saga.adapters.memory import MemoryTransport
from es_saga.core.messages import Subjects
from es_saga.engine.ports import Consumer
from es_saga.testing.contracts.pipes import Seen, keep, message

pytestmark = pytest.mark.anyio

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

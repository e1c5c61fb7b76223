"""A log to look at: an hour of a shop, a travel agency, a bank and a lender, and much goes wrong.

    python -m tests.dashboard.sample FOLDER        writes FOLDER/log.db

The stories come out of a simulated world, so they are what the engine really does; their times are
moved, so that the last ones happen now.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from domain.credit.saga import purchase
from domain.orders import collect, counter, express, order
from domain.transfer.saga import transfer
from domain.travel.saga import trip
from es_saga import Saga
from es_saga.adapters import definitions as known_definitions
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.store import connect
from es_saga.cli.views import FOLLOWING, caught_up
from es_saga.core.aggregate import evolve, start
from es_saga.core.events import Json, SagaEvent, SagaStarted
from es_saga.core.messages import part_of
from es_saga.core.state import SagaState
from es_saga.database import make_engine
from es_saga.engine.ports import Append
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from es_saga.testing.faults import Fault, FaultPlan, Kind
from es_saga.testing.simulation.loop import EPOCH
from es_saga.testing.world import Begin, World

SAGAS: Sequence[Saga[Any]] = (order, collect, counter, express, trip, transfer, purchase)
HOUR = 3600.0
LATEST_SECONDS = 0.012
"""How far the youngest sagas have come: a few messages."""

_CUSTOMERS = ("ada", "grace", "edsger", "barbara", "alan", "katherine")
_SKUS = ("teapot", "kettle", "cup", "saucer")
_TOWNS = ("Leeds", "Bath", "York", "Hull")


def inputs(chance: random.Random, name: str, number: int) -> Json:
    """What a saga of this type is started with."""
    key = f"{name[0].upper()}-{1000 + number}"
    pence = chance.choice((499, 1_999, 4_250, 12_000, 35_900))
    match name:
        case "trip":
            return {
                "trip_id": key,
                "traveller": chance.choice(_CUSTOMERS),
                "flight": chance.choice(("BA117", "LH401", "KL1002")),
                "hotel": chance.choice(("Grand", "Savoy", "Ritz")),
                "car": chance.choice(("small", "estate")),
                "pence": pence * 10,
            }
        case "transfer":
            return {
                "transfer_id": key,
                "sender": chance.choice(_CUSTOMERS),
                "recipient": chance.choice(_CUSTOMERS),
                "pence": pence,
            }
        case "purchase":
            customer = chance.choice(_CUSTOMERS)
            return {"purchase_id": key, "customer": customer, "shop": "tea & co", "pence": pence}
        case _:
            return {
                "order_id": key,
                "customer": chance.choice(_CUSTOMERS),
                "sku": chance.choice(_SKUS),
                "quantity": chance.randint(1, 4),
                "pence": pence,
                "card": chance.choice(("visa", "amex")),
                "town": chance.choice(_TOWNS),
            }


def begins(chance: random.Random, sagas: int) -> Iterator[Begin]:
    """So many sagas within an hour, more of them in its second half, and a handful at its end."""
    names = [one.name for one in SAGAS]
    weights = (8, 2, 3, 2, 3, 4, 2)
    for number in range(1, sagas + 1):
        (name,) = chance.choices(names, weights)
        after = HOUR * chance.random() ** 0.7
        if number > sagas - 6:
            after = HOUR - chance.random() * LATEST_SECONDS
        key = f"{name[0].upper()}-{1000 + number}"
        yield Begin(f"{name}-{key}", name, inputs(chance, name, number), after)


def faults(chance: random.Random, found: Sequence[Begin]) -> Iterator[Fault]:
    """Refusals, slow and dead services, and some that take a human."""
    steps = {one.name: list(one.definition.steps.values()) for one in SAGAS}
    for begin in found:
        own, roll = steps[begin.saga_type], chance.random()
        step = chance.choice(own)
        where = f"{begin.saga_id}/{step.name}/do"
        if roll < 0.08:
            yield Fault(Kind.REFUSED, f"{where}/1")
        elif roll < 0.13:
            yield Fault(Kind.FAILED, f"{where}/1", 2.0)
        elif roll < 0.16:
            yield from (Fault(Kind.LOST, f"{where}/{n}") for n in (1, 2, 3))
        elif roll < 0.19:
            yield Fault(Kind.DELAYED, f"{where}/1/r", 4.0)
        elif roll < 0.215 and own[-1].undo is not None:
            yield Fault(Kind.REFUSED, f"{begin.saga_id}/{own[-1].name}/do/1")
            undone = [one.name for one in own[:-1] if one.undo is not None]
            if undone:
                yield Fault(Kind.FAILED_FOR_GOOD, f"{begin.saga_id}/{undone[-1]}/undo/1")
        elif roll < 0.225:
            yield Fault(Kind.CANCELLED, f"{begin.saga_id}#4", 0.001)
        if chance.random() < 0.4:
            kind = chance.choice((Kind.RETRIED, Kind.RESOLVED, Kind.SKIPPED))
            yield Fault(kind, f"{begin.saga_id}#stuck", chance.choice((30.0, 200.0)))


def histories(
    *, sagas: int = 400, seed: int = 7, now: float | None = None
) -> dict[str, list[SagaEvent]]:
    """What happened to each saga up to `now`, told by the events."""
    chance = random.Random(seed)
    found = list(begins(chance, sagas))
    world = World(SAGAS, faults=FaultPlan(tuple(faults(chance, found)), seed=seed))
    outcome = world.run(found)
    shift = (time.time() if now is None else now) - HOUR - EPOCH
    told: dict[str, list[SagaEvent]] = {}
    for begin in found:
        events = [moved(event, shift) for event in outcome.log.history(begin.saga_id)]
        until = EPOCH + HOUR + shift
        told[begin.saga_id] = [event for event in events if event.at <= until]
    return {saga_id: events for saga_id, events in told.items() if events}


def moved(event: SagaEvent, seconds: float) -> SagaEvent:
    """The same at another time."""
    times = ("at", "due", "retry_at", "deadline")
    changed = {name: value + seconds for name in times if (value := getattr(event, name, None))}
    return event.model_copy(update=changed)


async def write(
    url: str, told: Mapping[str, Sequence[SagaEvent]], sagas: Sequence[Saga[Any]] = SAGAS
) -> None:
    """Write the stories into a log with its views, in the order in which they happened."""
    engine = make_engine(url)
    store = connect(url, views=[StatusView(), AuditView()], migrate=True)
    try:
        known_definitions.register(engine, [one.definition for one in sagas])
        states: dict[str, SagaState] = {}
        numbered = [
            (event.at, saga_id, number, event)
            for saga_id, events in told.items()
            for number, event in enumerate(events)
        ]
        appending: list[asyncio.Future[list[int | None]]] = []
        for _, saga_id, number, event in sorted(numbered, key=lambda one: one[:3]):
            before = states.get(saga_id)
            if before is None:
                assert isinstance(event, SagaStarted)
                after = start(saga_id, event)
            else:
                after = evolve(before, event)
            states[saga_id] = after
            item = Append(saga_id, number, [event], after, before)
            appending.append(store.append(part_of(saga_id), [item]))
        for positions in await asyncio.gather(*appending):
            assert None not in positions
        await caught_up(engine, FOLLOWING, SystemClock())
    finally:
        await store.close()
        engine.dispose()


def fill(folder: Path, *, sagas: int = 400) -> str:
    """A sample log in a folder; its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder / 'log.db'}"
    # The simulated world has an event loop of its own.
    told = histories(sagas=sagas)
    asyncio.run(write(url, told))
    return url


if __name__ == "__main__":
    sys.stdout.write(fill(Path(sys.argv[1])) + "\n")

__all__ = ["SAGAS", "fill", "histories", "moved", "write"]

"""The processes of a choreography under attack: a service that tells, relays, one that hears.

python -m tests.chaos.courier ROLE PLAN
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from es_saga.adapters.nats import NatsTransport
from es_saga.database import make_engine
from es_saga.participant import (
    Outbox,
    PollingRelay,
    Subscriber,
    TailingRelay,
    create_slot,
    inbox,
    outbox,
)
from es_saga.participant.backlog import Backlog
from es_saga.participant.reactor import Occurrence, Reactor
from tests.participant.depot import OrderChanged, shipping, tables

P = ParamSpec("P")
T = TypeVar("T")

ORDERS = 5
MOST_EVENTS = 3
"""Of one transaction."""

counters = sa.Table(
    "counters",
    tables,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
)


class Plan(BaseModel):
    """Where everything is."""

    database: str
    nats: str
    tailing: bool
    seed: str
    mortality: float
    """How often a process dies by itself, between two things that do not happen at once."""


def mortal(plan: Plan, work: Callable[P, T]) -> Callable[P, T]:
    """The same, but now and then the process dies instead."""
    rng = random.Random(plan.seed)

    def done_or_died(*args: P.args, **kwargs: P.kwargs) -> T:
        if rng.random() < plan.mortality:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*args, **kwargs)

    return done_or_died


def prepare(plan: Plan) -> None:
    """Tables, a row for each order, and the slot."""
    engine = make_engine(plan.database)
    for metadata in (tables, outbox.metadata, inbox.metadata):
        metadata.create_all(engine)
    with engine.begin() as connection:
        rows = [{"order_id": f"o-{n}", "number": 0} for n in range(ORDERS)]
        connection.execute(sa.insert(counters), rows)
    if plan.tailing:
        create_slot(engine, "courier")
    engine.dispose()


async def tell(plan: Plan) -> None:
    """Change an order and tell of it, again and again; now and then think better of it."""
    engine, rng, service = make_engine(plan.database), random.Random(plan.seed), Outbox("orders")
    while True:
        with engine.connect() as connection:
            for _ in range(rng.randint(1, MOST_EVENTS)):
                order_id = f"o-{rng.randrange(ORDERS)}"
                row = counters.c.order_id == order_id
                count = sa.update(counters).where(row).values(number=counters.c.number + 1)
                number = connection.scalar(count.returning(counters.c.number))
                assert number is not None
                service.add(connection, OrderChanged(order_id=order_id, number=number))
            if rng.random() < 0.9:
                connection.commit()
        await asyncio.sleep(rng.random() * 0.02)


async def relay(plan: Plan) -> None:
    """Publish; it may die when the broker has the rows, and they are not deleted."""
    Backlog.settle = mortal(plan, Backlog.settle)  # type: ignore[method-assign]
    pipe = await NatsTransport.connect(plan.nats)
    made = (
        TailingRelay("orders", plan.database, pipe, slot="courier")
        if plan.tailing
        else PollingRelay("orders", plan.database, pipe)
    )
    async with made:
        await asyncio.Event().wait()


def _and_then_died(
    plan: Plan,
) -> Callable[[Reactor, Sequence[Occurrence]], Coroutine[Any, Any, None]]:
    run, over = Reactor.run, mortal(plan, lambda: None)

    async def run_and_die(self: Reactor, jobs: Sequence[Occurrence]) -> None:
        await run(self, jobs)
        over()

    return run_and_die


async def hear(plan: Plan) -> None:
    """Write down what comes; it may die when that is committed and not acknowledged."""
    Reactor.run = _and_then_died(plan)  # type: ignore[method-assign, assignment]
    pipe = await NatsTransport.connect(plan.nats)
    async with Subscriber(shipping(), plan.database, pipe):
        await asyncio.Event().wait()


ROLES = {"tell": tell, "relay": relay, "hear": hear}

if __name__ == "__main__":
    asyncio.run(ROLES[sys.argv[1]](Plan.model_validate_json(sys.argv[2])))

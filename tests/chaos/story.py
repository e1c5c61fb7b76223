"""The course of a siege: orders are started while things break, and in the end all is counted."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from es_saga.adapters.nats import NatsTransport
from es_saga.core.aggregate import SagaState, SagaStatus
from es_saga.core.errors import Unavailable
from es_saga.core.messages import Message
from es_saga.engine.client import Client
from es_saga.projections.status import STATUS
from tests.chaos import verdict
from tests.chaos.app import Safeguard
from tests.chaos.shop import FATES, LEDGERS, Order
from tests.chaos.siege import Siege

SEED = "a siege"
STARTERS = 24
"""Orders that are being started at once."""

ANSWER_SECONDS = 2.0
"""When a start that was not answered is sent again, under the same id."""

PACE_SECONDS = 0.1
"""Pause of a starter between two orders, as long as the attack lasts."""

MAX_TRIES = 60
"""How often a start is sent."""

SETTLE_SECONDS = 60.0
"""How long the orders may take to end once the attack is over."""


@dataclass
class Story:
    """What happened, and what was found afterwards."""

    faults: Counter[str]
    mischief: Counter[str]
    orders: dict[str, Order]
    ends: Counter[str]
    unknown: int
    """Orders undone because nobody knew whether they had been paid."""
    seconds: float
    settled: float
    broken: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        faults = ", ".join(f"{n} x {name}" for name, n in sorted(self.faults.items()))
        ends = ", ".join(f"{n} {name}" for name, n in sorted(self.ends.items()))
        lost, doubled, late = (self.mischief[kind] for kind in "ldw")
        return (
            f"{sum(self.faults.values())} faults ({faults}); messages: {lost} lost, {doubled} "
            f"doubled, {late} late; {len(self.orders)} sagas ({ends}, {self.unknown} of them "
            f"for an unknown payment); {self.seconds:.1f} s, "
            f"{self.settled:.1f} s of them after the last fault"
        )


async def besiege(
    folder: Path,
    *,
    postgres: bool,
    orders: int,
    faults: int,
    pause: tuple[float, float] = (0.1, 0.6),
    settle: float = SETTLE_SECONDS,
    without: Safeguard | None = None,
    seed: str = SEED,
) -> Story:
    """Start orders, break things meanwhile, wait until the orders have ended, and look."""
    die = random.Random(seed)
    wanted = {
        f"o{n}": Order(units=die.randint(1, 99), fate=die.choice(FATES)) for n in range(orders)
    }
    began = time.monotonic()
    with Siege(folder, seed=seed, postgres=postgres, without=without) as siege:
        async with background(siege.watch()), connected(siege.nats_url) as client:
            attack = asyncio.create_task(siege.attack(faults, die, pause))
            await start_all(client, "order", wanted, attack)
            await attack
            calm = time.monotonic()
            await until_closed(siege, len(wanted), settle)
            settled = time.monotonic() - calm
        for child in siege.children:
            child.stop()
        return _look(siege, wanted, time.monotonic() - began, settled)


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Client]:
    """A client of the app under attack."""
    transport = await NatsTransport.connect(url, name="besieger")
    try:
        yield Client(transport, "chaos")
    finally:
        await transport.close()


@asynccontextmanager
async def background(work: Coroutine[object, object, None]) -> AsyncGenerator[None]:
    """Something that goes on meanwhile."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def start_all(
    client: Client, kind: str, orders: Mapping[str, Message], attack: asyncio.Task[None]
) -> None:
    """Start every order, so slowly that the last ones begin when the attack ends."""
    waiting = list(orders.items())
    waiting.reverse()

    async def start_some() -> None:
        while waiting:
            saga_id, order = waiting.pop()
            for _ in range(MAX_TRIES):
                try:
                    answer = await client.start(
                        kind, order, saga_id=saga_id, timeout=ANSWER_SECONDS
                    )
                    answer.result()
                    break
                except Unavailable:
                    continue
            else:
                raise AssertionError(f"{saga_id} could not be started")
            if not attack.done():
                await asyncio.sleep(PACE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for _ in range(STARTERS):
            group.create_task(start_some())


async def until_closed(siege: Siege, orders: int, seconds: float) -> None:
    """Wait until every order has ended, or the time is over."""
    log = siege.engine("log")
    question = sa.select(sa.func.count()).where(STATUS.c.closed.is_not(None))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(SQLAlchemyError), log.connect() as connection:
            if connection.scalar(question) == orders:
                break
        await asyncio.sleep(0.1)
    log.dispose()


def _look(siege: Siege, orders: dict[str, Order], seconds: float, settled: float) -> Story:
    """Judge what is in the databases."""
    log = siege.engine("log")
    states = verdict.states_of(log)
    broken = [
        *siege.surprises,
        *verdict.shown(verdict.broken_log(log)),
        *verdict.shown(verdict.broken_ends(orders, states)),
    ]
    log.dispose()
    for name, ledger in LEDGERS.items():
        engine = siege.engine(name)
        broken += verdict.shown(verdict.broken_books(ledger, engine, orders, states))
        engine.dispose()
    ends = Counter(
        state.status.value if isinstance(state, SagaState) else "corrupt"
        for state in states.values()
    )
    mischief = Counter((siege.scene.folder / "mischief").read_text())
    unknown = sum(
        isinstance(state, SagaState)
        and state.status is SagaStatus.COMPENSATED
        and orders[saga_id].fate == "good"
        for saga_id, state in states.items()
        if saga_id in orders
    )
    return Story(siege.faults, mischief, orders, ends, unknown, seconds, settled, broken)

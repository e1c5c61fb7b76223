"""What is held, under `kill -9` of everybody: confirmed by all, or cancelled by all, or expired."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from domain.allotment import Allotment
from es_saga.adapters.nats import NatsTransport
from es_saga.core.aggregate import SagaState, SagaStatus
from es_saga.core.errors import CorruptHistory, Unavailable
from es_saga.core.messages import Command, Direction, command_id
from es_saga.participant.holds import es_holds
from es_saga.participant.prepared import in_doubt
from tests.chaos import verdict
from tests.chaos.kiosk import (
    CARDS,
    FATES,
    HoldMoney,
    HoldSeats,
    Visit,
    accounts,
    shows,
    strict_bank,
)
from tests.chaos.siege import Siege
from tests.chaos.story import background, connected, start_all, until_closed
from tests.participant.theatre import hold

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

VISITS, FAULTS = 200, 12
PAUSE_SECONDS = (0.1, 0.5)
SETTLE_SECONDS = 60.0

WALK_AWAYS = 5
"""Visitors, at each service, that hold something and never come back."""
WALK_AWAY_SECONDS = 2.0
"""How long what they hold is kept."""
AGAIN_SECONDS = 0.5
"""When they ask again for what they have not got."""
LOOK_SECONDS = 0.02

TABLES = {"house": shows, "bank": accounts}
STEPS = {"house": "seats", "bank": "money"}

States = Mapping[str, SagaState | CorruptHistory]


class Onlooker:
    """Counts everything, again and again, as any reader of the databases could."""

    def __init__(self, siege: Siege) -> None:
        self._engines = {name: siege.engine(name) for name in TABLES}
        self.looks: Counter[str] = Counter()
        self.sums: dict[str, set[int]] = {name: set() for name in TABLES}
        self.reserved: Counter[str] = Counter()
        """Looks at which something was reserved."""

    async def look_often(self) -> None:
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        for name, engine in self._engines.items():
            with suppress(SQLAlchemyError):  # out of reach, or not made yet
                found = TABLES[name].totals(engine)
                if any(found.values()):
                    self.looks[name] += 1
                    self.sums[name].add(sum(found.values()))
                    self.reserved[name] += found["reserved"] > 0

    def close(self) -> None:
        for engine in self._engines.values():
            engine.dispose()


async def _walk_away(siege: Siege) -> None:
    """Hold something at each service, without a saga that would settle it."""
    wanted: dict[str, Callable[[int], Command[Any]]] = {
        "house": lambda n: HoldSeats(show="Hamlet", seats=1),
        "bank": lambda n: HoldMoney(card=f"card-{n}", pence=1),
    }
    pipe = await NatsTransport.connect(siege.nats_url, name="visitor")
    try:
        for service, make in wanted.items():
            left = {f"walk-away-{n}": make(n) for n in range(WALK_AWAYS)}
            engine = siege.engine(service)
            for attempt in itertools.count(1):
                left = {name: it for name, it in left.items() if name not in _kept(engine)}
                if not left:
                    break
                for name, command in left.items():
                    envelope = hold(command, name, expires=WALK_AWAY_SECONDS)
                    again = {"id": f"{envelope.commandid}/{attempt}", "attempt": attempt}
                    subject = pipe.subjects.command(service, 0, envelope.type)
                    with suppress(Unavailable):
                        await pipe.publish(subject, envelope.model_copy(update=again))
                await asyncio.sleep(AGAIN_SECONDS)
            engine.dispose()
    finally:
        await pipe.close()


def _kept(engine: sa.Engine) -> set[str]:
    """Who has held something there."""
    with suppress(SQLAlchemyError):
        return {hold.partition("/")[0] for hold in _holds(engine)}
    return set()


def _holds(engine: sa.Engine) -> dict[str, str]:
    """What became of each hold."""
    with engine.connect() as connection:
        query = sa.select(es_holds.c.hold, es_holds.c.status)
        return {row.hold: row.status for row in connection.execute(query)}


async def _until_settled(siege: Siege) -> None:
    """Wait until nothing is held any more, or for SETTLE_SECONDS."""
    engines = [siege.engine(name) for name in TABLES]
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS):
            while any("held" in _holds(engine).values() for engine in engines):
                await asyncio.sleep(0.1)
    for engine in engines:
        engine.dispose()


def _broken(siege: Siege, visits: Mapping[str, Visit], states: States) -> Iterator[str]:
    """Every promise that was not kept."""
    for saga_id, visit in visits.items():
        state = states.get(saga_id)
        if not isinstance(state, SagaState) or state.closed is None:
            yield f"{saga_id} has not ended: {state}"
        elif state.status is SagaStatus.COMPLETED:
            if visit.fate != "good":
                yield f"{saga_id} completed, although {visit.fate}"
        elif state.status is not SagaStatus.COMPENSATED:
            yield f"{saga_id} ended as {state.status.value}"
    for service, table in TABLES.items():
        engine = siege.engine(service)
        yield from _broken_holds(service, _holds(engine), states)
        yield from _broken_totals(service, table, engine, visits, states)
        if service == "bank" and engine.dialect.name == "postgresql":
            yield from (f"in doubt for ever: {found}" for found in in_doubt(engine, strict_bank))
        engine.dispose()


def _broken_holds(service: str, holds: Mapping[str, str], states: States) -> Iterator[str]:
    left = dict(holds)
    for saga_id, state in states.items():
        found = left.pop(command_id(saga_id, STEPS[service], Direction.DO), None)
        completed = isinstance(state, SagaState) and state.status is SagaStatus.COMPLETED
        if found not in (("confirmed",) if completed else ("cancelled", None)):
            yield f"{service}: {saga_id} completed={completed}, and its hold is {found}"
    if sorted(left.values()) != ["expired"] * WALK_AWAYS:
        yield f"{service}: what nobody came back for is {left}"


def _broken_totals(
    service: str,
    table: Allotment,
    engine: sa.Engine,
    visits: Mapping[str, Visit],
    states: States,
) -> Iterator[str]:
    sold = sum(
        visits[saga_id].seats if service == "house" else visits[saga_id].pence
        for saga_id, state in states.items()
        if isinstance(state, SagaState) and state.status is SagaStatus.COMPLETED
    )
    found = table.totals(engine)
    if (found["reserved"], found["consumed"]) != (0, sold):
        yield f"{service}: {found}, and {sold} are sold"


@pytest.mark.requirement("R085", "R086", "R023", "R028", "R041", "R074")
@pytest.mark.law("L71", "L72", "L73", "L74", "L75")
@pytest.mark.parametrize(
    ("database", "app"),
    [("sqlite", "app"), ("postgres", "strict_app")],
    ids=["reserved, sqlite", "prepared, postgres"],
)
async def test_whoever_is_killed_all_is_confirmed_or_all_is_cancelled(
    tmp_path: Path, database: str, app: str, record_property: Callable[[str, object], None]
) -> None:
    die = random.Random("held")
    visits = {
        f"v{n}": Visit(
            fate=die.choice(FATES),
            seats=die.randint(1, 9),
            card=f"card-{die.randrange(CARDS)}",
            pence=die.randint(1, 999),
        )
        for n in range(VISITS)
    }
    siege = Siege(
        tmp_path, seed="held", postgres=database == "postgres", app=f"tests.chaos.kiosk:{app}"
    )
    with siege:
        onlooker = Onlooker(siege)
        async with (
            background(siege.watch()),
            background(onlooker.look_often()),
            connected(siege.nats_url) as client,
        ):
            walking = asyncio.create_task(_walk_away(siege))
            attack = asyncio.create_task(siege.attack(FAULTS, die, PAUSE_SECONDS))
            await start_all(client, "visit", visits, attack)
            await attack
            await walking
            await until_closed(siege, VISITS, SETTLE_SECONDS)
            await _until_settled(siege)
        for child in siege.children:
            child.stop()
        onlooker.close()
        log = siege.engine("log")
        states = verdict.states_of(log)
        broken = [*siege.surprises, *verdict.shown(verdict.broken_log(log))]
        log.dispose()
        broken += verdict.shown(_broken(siege, visits, states))
    ends = Counter(s.status.value for s in states.values() if isinstance(s, SagaState))
    looks = sum(onlooker.looks.values())
    record_property("told", f"held on {database}: {dict(ends)}, {FAULTS} faults, {looks} looks")
    assert broken == []
    assert {name: len(sums) for name, sums in onlooker.sums.items()} == {"house": 1, "bank": 1}
    assert onlooker.reserved["house"] > 0, "seats are seen reserved"
    assert (onlooker.reserved["bank"] > 0) is (app == "app"), "prepared money is never seen so"
    # How many time out depends on the machine; that all do would show nothing.
    assert ends[SagaStatus.COMPLETED] > 0

"""kill -9 of everything while sagas of every style run into each other, and operators meddle.

Nested sagas, lists, save-points, waits, quorums, conditions, sagas begun by events, and a flow that
nobody conducts, all at once; judged by the laws, the services' own books, and the views.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from es_saga.core.messages import Message
from es_saga.core.state import SagaStatus
from es_saga.projections.alerts import ALERTS
from es_saga.projections.status import STATUS
from tests.chaos.app import Safeguard
from tests.chaos.fair import BOOTH_FATES, FAIR_FATES, MOST, Booth, Fair, Hand, Tour
from tests.chaos.fairground import LEDGERS, SALE_FATES, Offered, Ticket, app
from tests.chaos.meddling import Operator, come_all, stamped
from tests.chaos.reckoning import Reckoning
from tests.chaos.siege import Siege
from tests.chaos.story import background, connected, start_all
from tests.chaos.verdict import broken_log, shown

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

SCALE = int(os.environ.get("SCALE", "6"))
"""Tours; of everything else there is more."""
FAULTS = int(os.environ.get("FAULTS", "6"))
PAUSE_SECONDS = (0.1, 0.8)
SETTLE_SECONDS = 60.0


@dataclass
class Wanted:
    """Everything that is begun."""

    sagas: Mapping[str, Mapping[str, Message]]
    """By type and id."""
    tickets: Sequence[Ticket]
    sales: Sequence[Offered]

    @property
    def ids(self) -> list[str]:
        conducted = [saga_id for sagas in self.sagas.values() for saga_id in sagas]
        visits = [f"visit-{ticket.ticket_id}" for ticket in self.tickets]
        return [*conducted, *visits, *(f"sale-{sale.sale_id}" for sale in self.sales)]


class Dice(random.Random):
    """Makes up what customers want."""

    def hands(self) -> list[Hand]:
        return [Hand(units=self.randint(1, 9)) for _ in range(self.randint(0, MOST))]

    def booth(self) -> Booth:
        return Booth(
            fate=self.choice(BOOTH_FATES),
            strict=self.random() < 0.3,
            sticky=self.random() < 0.3,
            hands=self.hands(),
        )

    def fair(self) -> Fair:
        return Fair(
            fate=self.choice(FAIR_FATES),
            units=self.randint(1, 99),
            left=self.booth(),
            right=self.booth() if self.random() < 0.5 else None,
            encore=self.booth() if self.random() < 0.6 else None,
            tickets=self.hands(),
        )

    def everything(self, scale: int) -> Wanted:
        return Wanted(
            {
                "tour": {
                    f"t{n}": Tour(fair=self.fair(), units=self.randint(1, 99)) for n in range(scale)
                },
                "fair": {f"f{n}": self.fair() for n in range(3 * scale)},
                "booth": {f"b{n}": self.booth() for n in range(scale)},
            },
            [
                Ticket(ticket_id=f"k{n}", units=self.randint(1, 9), stamped=self.random() < 0.8)
                for n in range(2 * scale)
            ],
            [
                Offered(sale_id=f"s{n}", units=self.randint(1, 9), fate=self.choice(SALE_FATES))
                for n in range(2 * scale)
            ],
        )


@dataclass
class Found:
    """What there was in the end."""

    ends: Counter[str]
    faults: Counter[str]
    deeds: Counter[str]
    seconds: float
    broken: list[str]

    def __str__(self) -> str:
        what = (self.faults, self.deeds, self.ends)
        faults, deeds, ends = (
            ", ".join(f"{n} {name}" for name, n in sorted(found.items())) for found in what
        )
        sagas = sum(self.ends.values())
        return f"{faults}; operator: {deeds}; {sagas} sagas ({ends}); {self.seconds:.1f} s"


async def besiege(
    folder: Path,
    *,
    postgres: bool,
    seed: str,
    scale: int = SCALE,
    faults: int = FAULTS,
    settle: float = SETTLE_SECONDS,
    without: Safeguard | None = None,
) -> Found:
    """Begin everything, break things and meddle meanwhile, wait until all is over, and look."""
    die, began = Dice(seed), time.monotonic()
    wanted = die.everything(scale)
    visitors: list[Ticket | Offered] = [*wanted.tickets, *wanted.sales]
    die.shuffle(visitors)
    siege = Siege(
        folder,
        seed=seed,
        postgres=postgres,
        without=without,
        app="tests.chaos.fairground:app",
        wiping=False,
    )
    with siege:
        async with background(siege.watch()), connected(siege.nats_url) as client:
            operator = Operator(siege, client, die)
            async with background(operator.look_often()):
                attack = asyncio.create_task(siege.attack(faults, die, PAUSE_SECONDS))
                await asyncio.gather(
                    *(start_all(client, kind, some, attack) for kind, some in wanted.sagas.items()),
                    come_all(siege, visitors, attack),
                    attack,
                )
                operator.meddles = False
                await _until_over(siege, wanted, settle)
            operator.close()
        for child in siege.children:
            child.stop()
        reckoning = Reckoning(siege, app, LEDGERS)
        log = siege.engine("log")
        broken = [
            *siege.surprises,
            *reckoning.broken,
            *shown(broken_log(log)),
            *shown(reckoning.broken_ends(wanted.ids)),
            *shown(reckoning.broken_laws()),
            *shown(reckoning.broken_views()),
            *_broken_fates(reckoning, wanted),
        ]
        log.dispose()
        reckoning.close()
    states = reckoning.states.values()
    ends = Counter(f"{state.origin.saga_type} {state.status.value}" for state in states)
    return Found(ends, siege.faults, operator.done, time.monotonic() - began, broken)


async def _until_over(siege: Siege, wanted: Wanted, seconds: float) -> None:
    """Wait until everything is closed, told, and off the operators' table, or for so long."""
    log, ids = siege.engine("log"), set(wanted.ids)
    alerts = sa.select(sa.func.count()).where(ALERTS.c.closed.is_(None))

    def over() -> bool:
        with log.connect() as connection:
            closed = dict(connection.execute(sa.select(STATUS.c.saga_id, STATUS.c.closed)).all())
            if not ids <= closed.keys() or None in closed.values() or connection.scalar(alerts):
                return False
        return stamped(siege) == len(wanted.tickets)

    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                with suppress(SQLAlchemyError):
                    if await asyncio.to_thread(over):
                        break
                await asyncio.sleep(0.1)
    log.dispose()


def _broken_fates(reckoning: Reckoning, wanted: Wanted) -> list[str]:
    """What did not end as its input says, and what was told and not heard, or heard twice."""
    broken: list[str] = []
    for saga_id, data in (pair for some in wanted.sagas.values() for pair in some.items()):
        shown = data.fair if isinstance(data, Tour) else data
        assert isinstance(shown, Fair | Booth)
        state = reckoning.states.get(saga_id)
        if shown.hopeless and state and state.status is SagaStatus.COMPLETED:
            broken.append(f"{saga_id} completed, although it could not")
    for sale in wanted.sales:
        state = reckoning.states.get(f"sale-{sale.sale_id}")
        good = SagaStatus.COMPLETED if sale.fate == "good" else SagaStatus.COMPENSATED
        if state and state.status is not good:
            broken.append(f"sale {sale.sale_id} ended as {state.status}, although {sale.fate}")
    sold = sum(sale.units for sale in wanted.sales if sale.fate == "good")
    entered = sum(ticket.units for ticket in wanted.tickets)
    expected = {"gate": entered + sold, "office": sold, "carrier": sold}
    for service, units in expected.items():
        if reckoning.net[service] != units:
            broken.append(f"{service} handed out {reckoning.net[service]} units, not {units}")
    return broken


@pytest.mark.requirement("R007", "R029", "R031", "R041", "R043", "R054", "R059", "R073", "R074")
@pytest.mark.law("L16", "L23", "L24", "L41", "L44", "L47", "L53", "L54", "L56", "L59", "L60")
@pytest.mark.parametrize("database", os.environ.get("DATABASES", "postgres").split())
@pytest.mark.parametrize("seed", os.environ.get("SEEDS", "1").split())
async def test_whatever_is_killed_sagas_of_every_style_end_as_a_whole(
    tmp_path: Path, database: str, seed: str, record_property: Callable[[str, object], None]
) -> None:
    found = await besiege(tmp_path, postgres=database == "postgres", seed=seed)
    record_property("told", f"every style on {database}, seed {seed}: {found}")
    assert found.broken == []
    assert sum(found.faults.values()) == FAULTS
    # How many of the others complete depends on the machine.
    assert found.ends["sale completed"] > 0
    assert found.ends["sale compensated"] > 0


async def test_without_the_fence_the_same_attack_breaks_laws(tmp_path: Path) -> None:
    found = await besiege(
        tmp_path, postgres=False, seed="1", scale=2, faults=0, settle=1.0, without="fence"
    )
    assert any("took effect" in line for line in found.broken)
    assert any(line.startswith("L") for line in found.broken), found.broken

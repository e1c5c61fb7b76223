"""Semantic locks: respected, cleared in every ending, and no circle of waiting stays (L63, L64)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from domain.plots import exchange
from domain.plots.contracts import Exchange
from domain.plots.participants import GARDENERS, plots, registrar
from es_saga import Command, Message, Participant, SyncTx
from es_saga.core.messages import Envelope, Outcome
from es_saga.core.state import SagaStatus
from es_saga.participant import GaveWay, Locked, Meeting, SemanticLocks, Server
from es_saga.testing import Begin, Books, Sagas, World, check_saga
from es_saga.testing.outcome import Outcome as Run

pytestmark = pytest.mark.anyio

BOTH = [plots, registrar]


class Take(Command[None]):
    to = "keeper"
    record: str
    meeting: str = "WAIT"


class Release(Command[None]):
    to = "keeper"
    record: str | None = None


tables = sa.MetaData()
locks = SemanticLocks(tables, again=2.5)
keeper = Participant("keeper", tables=tables)


@keeper.handles(Take)
def take(cmd: Take, tx: SyncTx) -> Locked | GaveWay | None:
    return locks.take(tx, cmd.record, meeting=Meeting[cmd.meeting])


@keeper.handles(Release)
def release(cmd: Release, tx: SyncTx) -> None:
    locks.release(tx, cmd.record)


class Keeper:
    """Asks for one saga after the other; every command is a new one."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._number = 0

    async def ask(self, saga: str, command: Message) -> Envelope:
        self._number += 1
        key = f"{saga}/step{self._number}/do"
        return await self._server.call(
            Envelope(
                id=f"{key}/1",
                source="test",
                type=type(command).__name__,
                sagaid=saga,
                commandid=key,
                data=command.model_dump(),
            )
        )

    async def take(self, saga: str, record: str, meeting: str = "WAIT") -> str:
        answer = await self.ask(saga, Take(record=record, meeting=meeting))
        return "taken" if answer.outcome is Outcome.SUCCEEDED else answer.type


@pytest.fixture(params=["sqlite", "postgres"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Keeper]:
    url = (
        f"sqlite:///{tmp_path / 'keeper.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    async with Server(keeper, url, create_tables=True) as server:
        yield Keeper(server)


async def test_whoever_meets_a_lock_fails_tries_again_or_waits_as_declared(desk: Keeper) -> None:
    assert await desk.take("a", "r") == "taken"
    assert await desk.take("a", "r") == "taken", "one's own is no obstacle"
    refused = await desk.ask("b", Take(record="r", meeting="FAIL"))
    assert (refused.outcome, refused.type) == (Outcome.REFUSED, "Locked")
    assert refused.data == {"record": "r", "by": "a"}
    for meeting in ("RETRY", "WAIT"):
        later = await desk.ask("b", Take(record="r", meeting=meeting))
        assert (later.outcome, later.retryafter) == (Outcome.FAILED, 2.5)
    await desk.ask("a", Release(record="r"))
    assert await desk.take("b", "r") == "taken"
    await desk.ask("b", Release())
    assert await desk.take("c", "r", "FAIL") == "taken"


async def test_of_those_who_wait_in_a_circle_the_youngest_gives_way(desk: Keeper) -> None:
    for saga, record in (("a", "r1"), ("b", "r2"), ("c", "r3")):
        assert await desk.take(saga, record) == "taken"
    assert await desk.take("a", "r2") == "Unavailable"
    assert await desk.take("c", "r1") == "Unavailable"
    assert await desk.take("b", "r3") == "Unavailable", "it closes the circle, and is older than c"
    assert await desk.take("a", "r2") == "Unavailable"
    assert await desk.take("c", "r1") == "GaveWay"
    await desk.ask("c", Release())
    assert await desk.take("b", "r3") == "taken"


async def test_who_waits_outside_a_circle_does_not_give_way(desk: Keeper) -> None:
    assert await desk.take("a", "r1") == "taken"
    assert await desk.take("b", "r2") == "taken"
    assert await desk.take("a", "r2") == "Unavailable"
    for saga in ("z", "b"):
        assert await desk.take(saga, "r1") == ("Unavailable" if saga == "z" else "GaveWay")
    assert await desk.take("z", "r1") == "Unavailable"


# ── in the simulated world ───────────────────────────────────────────────────────────────────────


def everybody_has_one_plot(books: Books, sagas: Sagas) -> None:
    rows = books["plots"].execute(sa.text("SELECT gardener FROM plots")).scalars().all()
    assert sorted(rows) == sorted(GARDENERS.values())


def crossing(*, apart: float = 0.0) -> list[Begin]:
    inputs = [Exchange(one="oak", other="ash"), Exchange(one="ash", other="oak")]
    return [
        Begin(f"exchange-{n}", "exchange", data.model_dump(), apart * n)
        for n, data in enumerate(inputs)
    ]


def crossed(seed: int, rate: float = 0.0) -> Run:
    world = World(
        [exchange], seed=seed, rate=rate, participants=BOTH, invariant=everybody_has_one_plot
    )
    return world.run(crossing())


def test_exchanges_that_cross_never_wait_for_ever() -> None:
    fates: list[list[SagaStatus]] = []
    for seed in range(12):
        run = crossed(seed)
        assert not run.findings, run
        fates.append(sorted(state.status for state in run.states.values()))
    circles = [SagaStatus.COMPENSATED, SagaStatus.COMPLETED]
    assert circles in fates, "no seed had them wait for each other"
    assert all(SagaStatus.COMPLETED in fate for fate in fates), "one of them gets through"


def test_exchanges_survive_whatever_goes_wrong_and_no_lock_is_left() -> None:
    checked = check_saga(exchange, participants=BOTH, invariant=everybody_has_one_plot, examples=60)
    assert checked.fates[SagaStatus.COMPLETED]
    assert checked.fates[SagaStatus.COMPENSATED]

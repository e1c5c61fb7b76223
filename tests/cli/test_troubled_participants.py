"""What is wrong with a participant is seen by operators: transactions in doubt, slots that lag."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from es_saga import START, App, Command, Message, Participant, SyncTx, Tcc
from es_saga.adapters.postgres import EmbeddedPostgres
from es_saga.cli import compose, health
from es_saga.cli.health import examine
from es_saga.config import Settings
from es_saga.database import make_engine
from es_saga.engine import condition, rounds
from es_saga.engine.alerts import AlertKind
from es_saga.participant import Event, create_slot, create_tables, drop_slot
from es_saga.participant.prepared import CannotPrepare, in_doubt
from es_saga.participant.tailing import NotLogical, slot_of
from es_saga.projections.alerts import AlertRow
from es_saga.testing.contracts.pipes import eventually
from es_saga.web.access import Access
from es_saga.web.app import create_app
from es_saga.web.dashboard import participants as participants_page
from tests.cli.conftest import Cli
from tests.participant.test_tailing import followed

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


class Visit(Message):
    pence: int


class Pay(Command[None]):
    to = "till"
    pence: int


class Enter(Command[None]):
    to = "door"


class Paid(Event):
    by = "till"
    about = "who"
    who: str


visit = Tcc("visit", Visit)


@visit.hold(expires=timedelta(hours=1))
def money(v: Visit) -> Pay:
    return Pay(pence=v.pence)


@visit.hold(expires=timedelta(hours=1), after=START)
def ticket(v: Visit) -> Enter:
    """Nobody is at the door: the saga cannot decide."""
    return Enter()


takings = sa.MetaData()
sa.Table("takings", takings, sa.Column("pence", sa.Integer))

till = Participant("till", tables=takings, publishes=[Paid])


@till.prepares(Pay)
def pay(cmd: Pay, tx: SyncTx) -> None:
    tx.execute("INSERT INTO takings VALUES (:n)", {"n": cmd.pence})
    tx.publish(Paid(who="ada"))


app = App("fair", sagas=[visit], participants=[till])


@pytest.fixture
def settings(tmp_path: Path, nats_url: str, nats_tenant: str, postgres_url: str) -> Settings:
    return Settings.model_validate(
        {
            "data": tmp_path,
            "nats": nats_url,
            "tenant": nats_tenant,
            "participant_database": postgres_url,
            "slot_limit": 1,
        }
    )


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    """The till's database."""
    engine = make_engine(settings.participant_url("till"))
    create_tables(till, engine)
    yield engine
    engine.dispose()


def _settle(engine: sa.Engine) -> None:
    """As the administrator of the database might."""
    for found in in_doubt(engine, till):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"ROLLBACK PREPARED '{found.gid}'")


async def _alerts(settings: Settings, *, wanted: int) -> tuple[AlertRow, ...]:
    """Those that are open, once there are so many."""
    queries = compose.queries(settings)

    def found() -> bool:
        return len(queries.alerts().rows) == wanted

    await eventually(found)
    return queries.alerts().rows


@pytest.mark.requirement("R082", "R086")
async def test_what_is_in_doubt_and_a_slot_that_lags_are_alerts_until_they_are_over(
    settings: Settings, engine: sa.Engine, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condition, "IN_DOUBT_SECONDS", 0.0)
    monkeypatch.setattr(rounds, "ROUND_SECONDS", 0.05)
    for who_asks in (health, participants_page):  # however busy this machine is
        monkeypatch.setattr(who_asks, "CONDITION_SECONDS", 30.0)
    slot = slot_of("till")
    create_slot(engine, slot)  # and nobody reads it
    assert settings.nats is not None
    async with (
        compose.transport(settings, settings.nats, "test") as pipe,
        compose.conducting(settings, app, pipe, migrate=True, questions=pipe) as manager,
        compose.serving(settings, app, pipe, (), pipe),
    ):
        await manager.begin(visit, {"pence": 5}, saga_id="v-1")
        (doubt,) = await _alerts(settings, wanted=1)
        assert (doubt.kind, doubt.saga_id, doubt.step) == (AlertKind.DOUBT, "v-1", "money")
        assert (doubt.type, doubt.closed) == ("visit", None)
        assert "`es-saga status v-1` says what the saga waits for" in doubt.why
        with engine.begin() as connection:
            much = sa.text("SELECT pg_logical_emit_message(false, 'x', repeat('x', 2000000))")
            connection.execute(much)
        rows = await _alerts(settings, wanted=2)
        (lag,) = (row for row in rows if row.kind is AlertKind.SLOT)
        assert (lag.saga_id, lag.type) == ("", "till")
        assert f"{slot} lags: the server keeps more than 1 MiB" in lag.why

        findings = await asyncio.to_thread(examine, settings)
        told = [one.finding for one in findings if one.what == "participant"]
        assert told[0] == "till: 1 held, 1 prepared"
        assert "v-1/money/do is prepared and in doubt; its rows are locked" in told[1]
        assert f"the replication slot {slot} lags" in told[2]
        shown = await asyncio.to_thread(cli, "alerts", "-o", "json", data=settings.data)
        assert {row["kind"] for row in shown.json()} == {"doubt", "slot"}

        async with (
            compose.desk(settings, app, Access()) as desk,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(create_app(desk)), base_url="http://localhost"
            ) as browser,
        ):
            told_here = (await browser.get("/participants")).text
            assert "1 held, 1 of them prepared" in told_here
            assert "v-1/money/do is prepared and in doubt; its rows are locked" in told_here
            assert f"the replication slot {slot} lags" in told_here
            overview = (await browser.get("/")).text
            assert 'href="/participants">till</a>' in overview
            assert ">in doubt<" in overview

        drop_slot(engine, slot)
        _settle(engine)
        assert await _alerts(settings, wanted=0) == ()


@pytest.mark.requirement("R073")
async def test_the_setting_has_the_outbox_published_from_the_log(
    settings: Settings, engine: sa.Engine
) -> None:
    assert settings.nats is not None
    tailing = settings.model_copy(update={"relay": "tailing"})
    async with compose.transport(settings, settings.nats, "test") as pipe:
        async with compose.serving(tailing, app, pipe, (), pipe):
            await eventually(lambda: followed(engine, slot_of("till")))
        await eventually(lambda: not followed(engine, slot_of("till")))
    drop_slot(engine, slot_of("till"))


async def test_what_a_server_does_not_allow_is_told_before_anything_is_served(
    settings: Settings, tmp_path: Path
) -> None:
    """Neither is there a half of it: the message says what to set."""
    assert settings.nats is not None
    limits = {"fsync": "off", "max_prepared_transactions": "0", "wal_level": "replica"}
    with EmbeddedPostgres(tmp_path / "pg", settings=limits) as url:
        here = Settings.model_validate(settings.model_dump() | {"participant_database": url})
        async with compose.transport(here, settings.nats, "test") as pipe:
            with pytest.raises(CannotPrepare, match="Set `max_prepared_transactions`"):
                async with compose.serving(here, app, pipe, ()):
                    pass
            tailing = here.model_copy(update={"relay": "tailing"})
            plain = App("fair", sagas=[], participants=[Participant("till", publishes=[Paid])])
            with pytest.raises(NotLogical, match="Set `wal_level = logical`"):
                async with compose.serving(tailing, plain, pipe, ()):
                    pass

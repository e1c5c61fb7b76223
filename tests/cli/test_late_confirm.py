"""Holds that expire, over NATS: before the confirm all is cancelled, after it a human ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from domain.checkout import app as business
from domain.checkout.contracts import Cart, HoldFunds, HoldSeats
from domain.checkout.participants import totals
from es_saga import START, App, Retry, Tcc
from es_saga.cli import compose
from es_saga.config import Settings
from es_saga.database import make_engine
from es_saga.participant import create_tables
from es_saga.participant.holds import es_holds
from es_saga.testing.contracts.pipes import eventually
from tests.cli.conftest import Cli, Result

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

QUICK = Retry(first=timedelta(seconds=0.1), jitter=0.0)
ATTEMPT = timedelta(seconds=0.5)
HOUR = timedelta(hours=1)
SHORT = timedelta(seconds=2)
"""A little longer than the three attempts of a hold: a shorter time would be refused."""

CART = Cart(cart_id="1", show="Hamlet", seats=2, card="visa", pence=6_000)


def holding(name: str, expires: timedelta) -> Tcc[Cart]:
    """Seats, which expire, and money."""
    tcc = Tcc(name, Cart)
    tcc.hold(expires=expires, timeout=ATTEMPT, retry=QUICK)(seats)
    tcc.hold(expires=HOUR, after=START, timeout=ATTEMPT, retry=QUICK)(funds)
    return tcc


def seats(c: Cart) -> HoldSeats:
    return HoldSeats(show=c.show, seats=c.seats)


def funds(c: Cart) -> HoldFunds:
    return HoldFunds(card=c.card, pence=c.pence)


checkout, brief = holding("checkout", HOUR), holding("brief", SHORT)
HELD = {"box_office": "c-1/seats/do", "bank": "c-1/funds/do"}

app = App("checkout", sagas=[checkout, brief], participants=list(business.participants.values()))


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, nats_url: str, nats_tenant: str
) -> Settings:
    """Of the process manager and the participants, whose database is the parameter."""
    found = {"data": tmp_path, "nats": nats_url, "tenant": nats_tenant}
    if request.param == "postgresql":
        found["participant_database"] = request.getfixturevalue("postgres_url")
    return Settings.model_validate(found)


@pytest.fixture
def engines(settings: Settings) -> Iterator[dict[str, sa.Engine]]:
    """The databases of the participants, by their names."""
    found = {name: make_engine(settings.participant_url(name)) for name in app.participants}
    for name, engine in found.items():
        create_tables(app.participants[name], engine)
    yield found
    for engine in found.values():
        engine.dispose()


def became(engine: sa.Engine, service: str) -> str | None:
    """What became of the one hold there; None: there is none yet."""
    with engine.connect() as connection:
        query = sa.select(es_holds.c.status).where(es_holds.c.hold == HELD[service])
        return connection.execute(query).scalar_one_or_none()


@pytest.mark.requirement("R085")
@pytest.mark.law("L71", "L74", "L75")
@pytest.mark.parametrize("settings", ["sqlite", "postgresql"], indirect=True)
async def test_what_may_have_expired_while_nobody_conducted_is_given_up_without_a_human(
    settings: Settings, engines: dict[str, sa.Engine]
) -> None:
    """The bank has not answered when the process manager goes down, for longer than seats last."""
    assert settings.nats is not None
    before = {name: count(engines[name]) for name, count in totals.items()}
    async with compose.transport(settings, settings.nats, "test") as pipe:
        conducting = partial(compose.conducting, settings, app, pipe, migrate=True)
        serving = partial(compose.serving, settings, app, pipe)
        async with conducting() as manager:
            await manager.begin(brief, CART, saga_id="c-1")
        async with serving(["box_office"]):
            await eventually(lambda: became(engines["box_office"], "box_office") == "expired")
            async with serving(["bank"]), conducting():
                log = compose.queries(settings)
                await eventually(lambda: log.status("c-1").status == "compensated")
    (turned,) = (one for one in log.history("c-1") if one.kind == "CompensationStarted")
    assert turned.payload["why"] == "seats may have expired"
    assert became(engines["bank"], "bank") == "cancelled"
    assert {name: count(engines[name]) for name, count in totals.items()} == before


@pytest.mark.requirement("R085")
@pytest.mark.law("L74", "L75")
@pytest.mark.parametrize(
    ("settings", "verb"),
    [("sqlite", "skip"), ("postgresql", "resolve")],
    indirect=["settings"],
    ids=["sqlite, skipped", "postgresql, resolved"],
)
async def test_what_expired_before_its_confirm_came_is_not_confirmed_and_a_human_ends_it(
    settings: Settings, engines: dict[str, sa.Engine], cli: Cli, verb: str
) -> None:
    """Everything was held, and the box office is down for an hour: we put its clock forward."""
    assert settings.nats is not None
    reach = ("--app", "checkout", "--nats", settings.nats, "--tenant", settings.tenant)

    def counted() -> dict[str, dict[str, int]]:
        return {name: count(engines[name]) for name, count in totals.items()}

    async def told(*words: str, operated: bool = True) -> Result:
        more = (*reach, "--reason", "a hand") if operated else ()
        return await asyncio.to_thread(cli, *words, "c-1", *more, data=settings.data)

    before = counted()
    spent = {"available": before["bank"]["available"] - 6_000, "reserved": 0, "consumed": 6_000}
    after = {"box_office": before["box_office"], "bank": spent}
    async with compose.transport(settings, settings.nats, "test") as pipe:
        conducting = partial(compose.conducting, settings, app, pipe, migrate=True)
        serving = partial(compose.serving, settings, app, pipe)
        async with conducting() as manager:
            await manager.begin(checkout, CART, saga_id="c-1")
        async with serving(["box_office"]):
            await eventually(lambda: became(engines["box_office"], "box_office") == "held")
        with engines["box_office"].begin() as connection:
            connection.execute(sa.update(es_holds).values(expires_at=time.time()))
        async with serving(["bank"]), conducting():
            await eventually(lambda: became(engines["bank"], "bank") == "confirmed")
            async with serving(["box_office"]):
                await eventually(lambda: compose.queries(settings).status("c-1").status == "stuck")
                assert counted() == after

                status = await told("status", operated=False)
                assert "confirm_seats after all was held: HoldExpired" in status.out
                assert "a retry would be refused again" in status.err
                assert "`es-saga resolve c-1 --step confirm_seats --reason …`" in status.err

                assert (await told("retry")).code == 0
                await eventually(lambda: compose.queries(settings).status("c-1").status == "stuck")
                for too_late in ("cancel", "compensate"):
                    refused = await told(too_late)
                    assert (refused.code, "can only go on" in refused.err) == (4, True)
                ended = await told(verb, "--step", "confirm_seats")
                assert (ended.code, "c-1 is completed" in ended.err) == (0, True)
                history = (await told("history", operated=False)).out
                assert history.count('HoldExpired {"hold": "c-1/seats/do", "expired_at": ') == 2
    assert counted() == after

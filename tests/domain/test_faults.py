"""Faults on demand do what their names say, and the saga makes of them what it should."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain import faults
from domain.faults import CRASH_EXIT_CODE, Fate
from domain.orders import app, order
from domain.orders.contracts import PlaceOrder
from es_saga.core.aggregate import SagaStatus
from es_saga.core.events import StepFailed, StepRefused, StepTimedOut
from tests.domain.driver import World

pytestmark = pytest.mark.anyio

AN_ORDER = PlaceOrder(
    order_id="7", customer="ada", sku="teapot", quantity=2, pence=1_800, card="visa", town="York"
)
FIELDS = {"create": "customer", "charge": "card", "reserve": "sku", "ship": "town"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(app, tmp_path) as world:
        yield world


def fated(field: str, fate: str) -> PlaceOrder:
    return AN_ORDER.model_copy(update={field: f"{getattr(AN_ORDER, field)}!{fate}"})


@pytest.mark.parametrize(("step", "field"), FIELDS.items())
async def test_what_is_flaky_fails_once(world: World, step: str, field: str) -> None:
    run = await world.run(order, fated(field, Fate.FLAKY))
    assert [e.step for e in run.events if isinstance(e, StepFailed)] == [step]
    assert run.status is SagaStatus.COMPLETED


@pytest.mark.parametrize(("step", "field"), FIELDS.items())
async def test_what_fails_always_is_not_undone_for_it_was_not_done(
    world: World, step: str, field: str
) -> None:
    run = await world.run(order, fated(field, Fate.FAILS))
    assert run.status is SagaStatus.COMPENSATED
    assert step not in run.undone
    assert run.state is not None
    assert run.state.failure is not None
    assert (run.state.failure.why, run.state.failure.step) == ("Mishap", step)


@pytest.mark.requirement("D08", "D18")
@pytest.mark.parametrize(("step", "field"), FIELDS.items())
async def test_an_answer_nobody_can_read_is_none_and_the_step_is_undone(
    world: World, step: str, field: str
) -> None:
    run = await world.run(order, fated(field, Fate.GARBLED))
    assert [e.step for e in run.events if isinstance(e, StepTimedOut)] == [step] * 3
    assert run.status is SagaStatus.COMPENSATED
    assert run.undone[0] == step


async def test_what_is_slow_is_done_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "SLOW_SECONDS", 0.0)
    run = await world.run(order, fated("card", Fate.SLOW))
    assert run.status is SagaStatus.COMPLETED


async def test_the_service_sees_nothing_of_the_fate(world: World) -> None:
    await world.run(order, fated("card", Fate.FLAKY))
    assert world.tables()["ledger"] == [("charge 7", "visa", 1_800)]


async def test_a_refusal_stays_a_refusal_whatever_its_fate(world: World) -> None:
    run = await world.run(order, AN_ORDER.model_copy(update={"sku": "unicorn!garbled"}))
    assert run.state is not None
    assert run.state.failure is not None
    assert run.state.failure.why == "OutOfStock"
    [refused] = [e for e in run.events if isinstance(e, StepRefused)]
    assert refused.refusal == {"sku": "unicorn"}


async def test_a_word_that_is_no_fate_belongs_to_the_name(world: World) -> None:
    run = await world.run(order, AN_ORDER.model_copy(update={"customer": "wham!"}))
    assert run.status is SagaStatus.COMPLETED
    assert world.tables()["orders"][0][1] == "wham!"


CHARGE = """
import asyncio, sys
from domain.orders import app
from es_saga.core.messages import Envelope
from es_saga.participant import Server

async def main():
    async with Server(app.participants["payments"], sys.argv[1], create_tables=True) as server:
        answer = await server.call(Envelope(
            id="order-1/charge/do/1", source="tests", type="ChargeCard", sagaid="order-1",
            commandid="order-1/charge/do",
            data={"order_id": "7", "card": "visa!crash", "pence": 100},
        ))
        print(answer.outcome.value)

asyncio.run(main())
"""


@pytest.mark.requirement("R054", "R062")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_crash_comes_once_and_leaves_nothing(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from domain.orders.participants import card_payments
    from es_saga.database import make_engine

    if database == "sqlite":
        url = f"sqlite:///{tmp_path / 'payments.db'}"
    else:
        url = request.getfixturevalue("postgres_url")

    def charge() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", CHARGE, url], capture_output=True, text=True, timeout=60
        )

    engine = make_engine(url)
    first = charge()
    assert first.returncode == CRASH_EXIT_CODE, first.stderr
    assert card_payments.totals(engine)["taken"] == 0
    second = charge()
    assert (second.returncode, second.stdout) == (0, "succeeded\n"), second.stderr
    assert card_payments.totals(engine)["taken"] == 100
    engine.dispose()

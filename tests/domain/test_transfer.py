"""What is particular to a transfer: money on its way, and a status to be had at any time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from domain.transfer import app, transfer
from domain.transfer.contracts import SendMoney
from domain.transfer.participants import here, there
from es_saga.core.aggregate import SagaStatus, fold
from tests.domain.driver import World

pytestmark = pytest.mark.anyio

TO_BOB = SendMoney(transfer_id="7", sender="ada", recipient="bob", pence=2_500)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(app, tmp_path) as world:
        yield world


def balances(world: World) -> tuple[int, int]:
    return (
        here.totals(world.engines["giver"])["balances"],
        there.totals(world.engines["taker"])["balances"],
    )


@pytest.mark.requirement("R097")
@pytest.mark.parametrize(
    ("change", "undone"),
    [
        ({"sender": "nobody"}, []),
        ({"pence": 50_000_000}, []),
        ({"sender": "poor"}, []),
        ({"recipient": "nobody"}, ["withdraw"]),
        ({"recipient": "homeless"}, ["deposit", "withdraw"]),
    ],
)
async def test_a_transfer_that_is_refused_leaves_both_accounts_as_they_were(
    world: World, change: dict[str, object], undone: list[str]
) -> None:
    before = balances(world)
    run = await world.run(transfer, TO_BOB.model_copy(update=change))
    assert run.status is SagaStatus.COMPENSATED
    assert run.undone == undone
    assert balances(world) == before


@pytest.mark.requirement("R101")
async def test_a_status_checker_can_follow_every_move_in_the_log(world: World) -> None:
    run = await world.run(transfer, TO_BOB)
    told: list[tuple[str, tuple[str, ...]]] = []
    for length in range(1, len(run.events) + 1):
        state = fold(run.saga_id, run.events[:length])
        assert state is not None
        told.append((state.status.value, state.current))
    at_work = [step for status, steps in told for step in steps if status == "running"]
    assert at_work == ["validate", "withdraw", "deposit", "receipt"]
    assert told[-1] == ("completed", ())


@pytest.mark.requirement("R101")
async def test_the_status_of_a_refused_transfer_names_the_step_and_the_reason(world: World) -> None:
    run = await world.run(transfer, TO_BOB.model_copy(update={"recipient": "nobody"}))
    state = fold(run.saga_id, run.events)
    assert state is not None
    assert state.failure is not None
    assert (state.status.value, state.failure.step, state.failure.why) == (
        "compensated",
        "deposit",
        "AccountClosed",
    )


async def test_money_that_was_spent_meanwhile_is_taken_back_all_the_same(world: World) -> None:
    run = world.start(transfer, TO_BOB.model_copy(update={"recipient": "homeless"}))
    await world.go_on(run, until=lambda run: bool(run.undone))
    with world.engines["taker"].begin() as connection:
        connection.execute(sa.update(there.balances).values(pence=0))
    await world.go_on(run)
    assert run.status is SagaStatus.COMPENSATED
    assert balances(world)[1] == -2_500


async def test_an_overdrawn_account_still_takes_money(world: World) -> None:
    with world.engines["taker"].begin() as connection:
        connection.execute(sa.update(there.balances).values(pence=-9_000))
    run = await world.run(transfer, TO_BOB)
    assert run.status is SagaStatus.COMPLETED

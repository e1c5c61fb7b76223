"""All of it together: saga, services and board on a real database, in one process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import sqlalchemy as sa
from es_saga import InProcess, SagaStatus

from __project__ import app, order
from __project__.board import orders
from __project__.messages import PlaceOrder

BOARD_SECONDS = 30.0
"""How far the board may be behind."""

LOOK_SECONDS = 0.02


def state_on_board(url: str, order_id: str) -> str | None:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        state = connection.scalar(sa.select(orders.c.state).where(orders.c.order_id == order_id))
    engine.dispose()
    return state


async def run_orders(url: str, ends: list[tuple[PlaceOrder, SagaStatus]]) -> None:
    """Place orders, wait until each has ended so, and until the board says it."""
    async with InProcess(app, database=url) as sagas:
        for placed, end in ends:
            saga = await sagas.start(order, placed, key=placed.order_id)
            assert (await sagas.wait(saga.saga_id)).status == end
        async with asyncio.timeout(BOARD_SECONDS):
            for placed, end in ends:
                while state_on_board(url, placed.order_id) != end:
                    await asyncio.sleep(LOOK_SECONDS)


def test_orders_end_as_the_services_say_and_stand_on_the_board(tmp_path: Path) -> None:
    right = PlaceOrder(order_id="1", sku="lamp", card="visa", pence=1_999)
    declined = PlaceOrder(order_id="2", sku="lamp", card="prepaid", pence=1_999)
    ends = [(right, SagaStatus.COMPLETED), (declined, SagaStatus.COMPENSATED)]
    asyncio.run(run_orders(f"sqlite:///{tmp_path / 'test.db'}", ends))

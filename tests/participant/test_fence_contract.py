"""Our fence does what every participant has to do: see `es_saga.testing.contracts.fence`."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import sqlalchemy as sa

from es_saga import Command
from es_saga.core.messages import Envelope
from es_saga.participant import Server
from es_saga.testing.contracts import Desk, FenceContract, How
from tests.participant.warehouse import STOCK, Hold, Release, holds, left, warehouse

shows, law = pytest.mark.requirement, pytest.mark.law
in_any_order = FenceContract.test_in_any_order_each_key_has_its_effect_and_its_undo_at_most_once
shows("R028", "R029", "R030", "R031")(in_any_order)
law("L19", "L20", "L21", "L22", "L23", "L24", "L25")(in_any_order)
shows("R030")(FenceContract.test_a_repeat_gets_the_same_answer_under_its_own_message_id)

_HOLD = {
    How.WELL: Hold(sku="apple", hold=""),
    How.REFUSED: Hold(sku="apple", hold="", how="refuse after the write"),
    How.FAILS_ONCE: Hold(sku="apple", hold="", from_attempt=2),
}


class Warehouse:
    """The warehouse of the tests, where the effect is a hold on an apple."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.server = Server(warehouse(), engine)

    async def __aenter__(self) -> Desk:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()

    async def call(self, envelope: Envelope) -> Envelope:
        return await self.server.call(envelope)

    def work(self, key: str, how: How) -> Command[Any]:
        return _HOLD[how].model_copy(update={"hold": key})

    def undo(self, key: str) -> Command[Any]:
        return Release()

    async def effects(self) -> Collection[str]:
        held = holds(self.engine)
        assert left(self.engine, "apple") == STOCK["apple"] - len(held), "each hold is an apple"
        return held


class TestFence(FenceContract):
    @pytest.fixture
    def desk(self, engine: sa.Engine) -> AbstractAsyncContextManager[Desk]:
        return Warehouse(engine)

"""Our clocks do what every clock does: see `es_saga.testing.contracts.clock`."""

from __future__ import annotations

import pytest

from es_saga.adapters.clock import SimulatedClock, SystemClock
from es_saga.engine.ports import Clock
from es_saga.testing.contracts import ClockContract


class TestSystem(ClockContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()


class TestSimulated(ClockContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return SimulatedClock()

    async def elapse(self, clock: Clock, seconds: float) -> None:
        assert isinstance(clock, SimulatedClock)
        await clock.advance(seconds)

"""What every clock does: tell the time, and wake sleepers at theirs.

    from es_saga.testing.contracts import ClockContract

    class TestMyClock(ClockContract):
        @pytest.fixture
        def clock(self) -> Clock:
            return MyClock()

A clock that is moved by hand overrides `elapse` as well.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest

from es_saga.engine.ports import Clock
from es_saga.testing.contracts.loop import OnAsyncio

NAP = 0.03
"""Seconds; a test of a real clock waits for a few of them."""

SLACK = 0.005
"""How much too early a sleeper may wake, in seconds: loops and wall clocks tick apart."""


PATIENCE = 5.0
"""Real seconds after which a sleeper will not wake any more."""


class ClockContract(OnAsyncio):
    """Subclass it, and give it the fixture `clock`."""

    @pytest.fixture
    def clock(self) -> Clock:
        """Yours."""
        pytest.fail("Give your suite a fixture `clock`.")

    async def elapse(self, clock: Clock, seconds: float) -> None:
        """Let so much time pass."""
        await clock.sleep(seconds)

    async def test_now_is_told_in_seconds_since_the_epoch(self, clock: Clock) -> None:
        assert 1e9 < clock.now() < 1e10, "between the years 2001 and 2286"

    async def test_time_does_not_run_backwards(self, clock: Clock) -> None:
        told: list[float] = []
        for _ in range(5):
            told += [clock.now() for _ in range(100)]
            await self.elapse(clock, NAP / 10)
        assert all(before <= after for before, after in itertools.pairwise(told))
        assert told[0] < told[-1]

    async def test_sleepers_wake_in_the_order_of_their_times_and_not_before(
        self, clock: Clock
    ) -> None:
        began = clock.now()
        woken: list[str] = []

        async def sleep(name: str, nap: float) -> None:
            await clock.sleep(nap)
            assert clock.now() >= began + nap - SLACK
            woken.append(name)

        naps = {"last": 5 * NAP, "first": NAP, "second": 3 * NAP}
        sleepers = [asyncio.create_task(sleep(name, nap)) for name, nap in naps.items()]
        await self.elapse(clock, 6 * NAP)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*sleepers)
        assert woken == ["first", "second", "last"]

    async def test_sleepers_sleep_side_by_side(self, clock: Clock) -> None:
        began = clock.now()
        sleepers = [asyncio.create_task(clock.sleep(NAP)) for _ in range(50)]
        await self.elapse(clock, 2 * NAP)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*sleepers)
        assert clock.now() < began + 25 * NAP

    @pytest.mark.parametrize("seconds", [0.0, -1.0])
    async def test_what_is_no_time_is_not_waited_for_but_others_have_their_turn(
        self, clock: Clock, seconds: float
    ) -> None:
        turns: list[str] = []

        async def other() -> None:
            turns.append("other")

        task = asyncio.create_task(other())
        await clock.sleep(seconds)
        assert turns == ["other"]
        await task

    async def test_a_sleeper_that_is_cancelled_disturbs_nobody(self, clock: Clock) -> None:
        given_up = asyncio.create_task(clock.sleep(20 * NAP))
        patient = asyncio.create_task(clock.sleep(NAP))
        await self.elapse(clock, NAP / 10)
        given_up.cancel()
        await self.elapse(clock, 21 * NAP)
        async with asyncio.timeout(PATIENCE):
            await patient
        assert given_up.cancelled()

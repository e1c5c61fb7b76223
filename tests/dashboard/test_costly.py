"""Questions that take long are asked once for all, and seldom."""

from __future__ import annotations

import asyncio

import pytest

from es_saga.web.dashboard.costly import SHARE, Costly

pytestmark = pytest.mark.anyio


class Slow:
    """A question that counts how often it is asked."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds = seconds
        self.asked = 0
        self.broken = False

    async def __call__(self) -> int:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.broken:
            raise OSError("the database is away")
        return self.asked


async def test_many_at_once_share_one_question() -> None:
    question = Slow()
    costly = Costly(question)
    assert await asyncio.gather(*(costly.answer() for _ in range(50))) == [1] * 50


async def test_an_answer_is_good_for_a_multiple_of_the_time_that_it_took() -> None:
    question = Slow()
    costly = Costly(question)
    began = asyncio.get_running_loop().time()
    while await costly.answer() == 1:
        await asyncio.sleep(0.005)
    took = asyncio.get_running_loop().time() - began
    assert took >= question.seconds / SHARE


async def test_who_hangs_up_does_not_take_the_answer_from_the_others() -> None:
    costly = Costly(Slow())
    leaving, staying = (asyncio.create_task(costly.answer()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 1


async def test_after_a_failure_it_is_asked_anew() -> None:
    question = Slow()
    question.broken = True
    costly = Costly(question)
    with pytest.raises(OSError, match="away"):
        await costly.answer()
    question.broken = False
    assert await costly.answer() == 2

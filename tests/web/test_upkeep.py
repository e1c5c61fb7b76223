"""Work on the read models: in the background, one after the other, and never twice on the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable

import pytest

from es_saga.core.errors import ConflictError, IllegalOperation, NotFound
from es_saga.web.upkeep import Finding, Job, Told, Upkeep, Work

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 10.0


class Slow:
    """A workshop in which everything takes until it is told to go on."""

    names = ("one", "two", "three")

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.at_work: list[str] = []
        self.order: list[str] = []
        self.most = 0

    def carry_out(self, work: Work, name: str, told: Told) -> Finding:
        self.order.append(name)
        self.at_work.append(name)
        self.most = max(self.most, len(self.at_work))
        try:
            told(1, 2)
            while not self.go_on.wait(0.005):
                told(1, 2)
            if name == "two":
                raise OSError("/secrets is full")
            if name == "three":
                raise IllegalOperation("A view depends on it.", hint="Drop it.")
            return Finding(2, rows=7 if work is Work.VERIFY else None)
        finally:
            self.at_work.remove(name)


@pytest.fixture
def workshop() -> Slow:
    return Slow()


@pytest.fixture
async def upkeep(workshop: Slow) -> AsyncGenerator[Upkeep, None]:
    found = Upkeep(workshop)
    yield found
    workshop.go_on.set()
    await found.close()


def last(upkeep: Upkeep, name: str) -> Job:
    job = upkeep.last(name)
    assert job is not None
    return job


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


async def test_one_is_done_after_the_other_and_tells_how_far_it_is(
    upkeep: Upkeep, workshop: Slow
) -> None:
    for name in workshop.names:
        upkeep.begin(Work.VERIFY, name, "ada")
    await eventually(lambda: last(upkeep, "one").done == 1)
    one, two = last(upkeep, "one"), last(upkeep, "two")
    assert (one.begun, one.of, one.ended, one.actor) == (True, 2, None, "ada")
    assert not two.begun, "it waits for its turn"
    workshop.go_on.set()
    await eventually(lambda: last(upkeep, "three").ended is not None)
    assert (workshop.order, workshop.most) == (["one", "two", "three"], 1)
    assert one.finding == Finding(2, rows=7)


async def test_what_fails_says_why_and_nothing_of_the_inside(
    upkeep: Upkeep, workshop: Slow
) -> None:
    workshop.go_on.set()
    upkeep.begin(Work.REBUILD, "two", "ada")
    upkeep.begin(Work.REBUILD, "three", "ada")
    await eventually(lambda: last(upkeep, "three").ended is not None)
    unforeseen, foreseen = last(upkeep, "two").error, last(upkeep, "three").error
    assert unforeseen is not None
    assert "secrets" not in str(unforeseen)
    assert foreseen is not None
    assert str(foreseen) == "A view depends on it. Drop it."


async def test_nothing_is_begun_twice(upkeep: Upkeep, workshop: Slow) -> None:
    upkeep.begin(Work.VERIFY, "one", "ada")
    with pytest.raises(ConflictError, match="ada has begun to verify one already"):
        upkeep.begin(Work.REBUILD, "one", "grace")
    workshop.go_on.set()
    await eventually(lambda: last(upkeep, "one").ended is not None)
    upkeep.begin(Work.REBUILD, "one", "grace")
    assert last(upkeep, "one").actor == "grace"


async def test_there_is_nothing_to_do_about_what_is_not_known(upkeep: Upkeep) -> None:
    nobody = Upkeep(None)
    assert not nobody.offered("one")
    for asked, name in ((upkeep, "four"), (nobody, "one")):
        with pytest.raises(NotFound):
            asked.begin(Work.VERIFY, name, "ada")
    await nobody.close()


async def test_what_is_being_done_when_the_dashboard_stops_is_broken_off(
    upkeep: Upkeep, workshop: Slow
) -> None:
    upkeep.begin(Work.VERIFY, "one", "ada")
    upkeep.begin(Work.VERIFY, "two", "ada")
    await eventually(lambda: workshop.at_work == ["one"])
    async with asyncio.timeout(PATIENCE_SECONDS):
        await upkeep.close()
    assert workshop.at_work == []
    assert workshop.order == ["one"], "what waited is not begun"
    assert "stopped" in str(last(upkeep, "one").error)

"""The pieces of the simulated world: its loop, its broker, its plans of faults."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.orders import order
from domain.travel import trip
from es_saga.core.messages import Envelope, Subjects
from es_saga.engine.ports import Consumer, Delivery
from es_saga.testing.faults import (
    DUPLICATE_WINDOW_SECONDS,
    Fault,
    FaultPlan,
    Kind,
    Moment,
    draw,
)
from es_saga.testing.simulation.journal import Journal, What
from es_saga.testing.simulation.loop import EPOCH, TURN, LoopClock, SimulatedLoop
from es_saga.testing.simulation.network import SPREADS, Link, Network
from es_saga.testing.simulation.process import Process

SAGAS = [("order-1", order.definition), ("trip-1", trip.definition)]


def never() -> bool:
    return False


# ── the loop ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    made = SimulatedLoop()
    yield made
    made.end()
    assert made.errors == []


def test_years_pass_at_once_and_everybody_wakes_at_his_time(loop: SimulatedLoop) -> None:
    woken: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await LoopClock(loop).sleep(seconds)
        woken.append((name, loop.now - EPOCH))

    for name, seconds in (("c", 3e7), ("a", 0.5), ("b", 0.5), ("now", 0.0)):
        loop.create_task(sleep(name, seconds))
    began = time.perf_counter()
    loop.play(never, EPOCH + 1e9)
    assert time.perf_counter() - began < 1.0
    assert woken == [("now", 0.0), ("a", 0.5), ("b", 0.5), ("c", 3e7)]


def test_a_dozer_wakes_when_something_else_happens_or_nothing_else_will(
    loop: SimulatedLoop,
) -> None:
    woken: list[float] = []

    async def doze() -> None:
        for _ in range(3):
            await loop.doze(1.0)
            woken.append(loop.now - EPOCH)

    loop.create_task(doze())
    loop.after(0.5, loop.time)
    loop.after(10.0, loop.time)
    loop.play(never, EPOCH + 100)
    assert woken == [10.0, 11.0, 12.0]


def test_it_is_a_loop_as_asyncio_wants_it(loop: SimulatedLoop) -> None:
    """Timeouts, gathering, cancelling; and in the end the loop that ran before runs again."""
    told: list[object] = []

    async def main() -> None:
        assert asyncio.get_running_loop() is loop
        try:
            async with asyncio.timeout(5):
                await loop.create_future()
        except TimeoutError:
            told.append(loop.now - EPOCH)
        async with asyncio.timeout(5):
            told.append(await asyncio.gather(asyncio.sleep(1, "a"), asyncio.sleep(2, "b")))
        told.append(loop.now - EPOCH)
        with pytest.raises(RuntimeError, match="no threads"):
            await asyncio.to_thread(print)

    async def outside() -> None:
        mine = asyncio.get_running_loop()
        task = loop.create_task(main())
        loop.play(task.done, EPOCH + 100)
        task.result()
        assert asyncio.get_running_loop() is mine

    asyncio.run(outside())
    loop.play(never, EPOCH + 100)
    assert told == [5.0, ["a", "b"], 7.0]


def test_what_a_callback_raises_is_kept() -> None:
    loop = SimulatedLoop()
    loop.call_soon(lambda: 1 // 0)
    loop.play(never, EPOCH)
    loop.end()
    assert len(loop.errors) == 1
    assert "ZeroDivisionError" in loop.errors[0]


def test_short_times_add_up_exactly() -> None:
    """What takes as long comes together, however the time was put together."""
    assert EPOCH + 3 * TURN + 5 * TURN == EPOCH + 8 * TURN


# ── the broker ───────────────────────────────────────────────────────────────────────────────────


class Town:
    """A broker, and one process that reads what is sent to `stock`."""

    def __init__(self, loop: SimulatedLoop, *faults: Fault) -> None:
        self.loop = loop
        self.journal = Journal(FaultPlan(faults), loop)
        self.network = Network(loop, self.journal, 0)
        self.lives = 0
        self.seen: list[tuple[str, int, float]] = []
        """Message id, which delivery of it, when."""
        self.begin()

    def begin(self) -> None:
        self.lives += 1
        self.process = Process("stock", self.loop, self.journal, self.begin)
        self.link = Link(self.network, self.process)

    def read(self, settle: Callable[[Delivery], None], **options: object) -> None:
        def take(delivery: Delivery) -> None:
            self.seen.append((delivery.envelope.id, delivery.delivered, self.loop.now - EPOCH))
            settle(delivery)

        consumer = Consumer("svc-stock", "CMD", Subjects().commands_of("stock"), **options)  # type: ignore[arg-type]  # each test's own
        self.network.join(self.process, consumer, take)

    def send(self, message_id: str, after: float = 0.0) -> None:
        envelope = Envelope(id=message_id, source="test", type="Reserve")
        subject = Subjects().command("stock", 3, "Reserve")
        self.loop.after(after, self.network.carry, "pm", subject, envelope)

    def play(self) -> None:
        self.loop.play(never, EPOCH + 10_000)


def ack(delivery: Delivery) -> None:
    delivery.ack()


def keep(_: Delivery) -> None:
    """As who dies with it."""


def times(town: Town) -> list[int]:
    """When each delivery was made, in whole seconds."""
    return [int(at) for _, _, at in town.seen]


def test_a_message_arrives_once_within_a_few_turns(loop: SimulatedLoop) -> None:
    town = Town(loop)
    town.send("before")
    town.loop.play(never, EPOCH + 1.0)
    town.read(ack)
    town.send("after")
    town.play()
    assert [(name, count) for name, count, _ in town.seen] == [("before", 1), ("after", 1)]
    assert town.seen[1][2] - 1.0 <= SPREADS[0] * TURN
    assert town.network.quiet


def test_the_same_id_is_swallowed_inside_the_window_and_no_longer(loop: SimulatedLoop) -> None:
    town = Town(loop)
    town.read(ack)
    for seconds in (0.0, 1.0, DUPLICATE_WINDOW_SECONDS - 1, DUPLICATE_WINDOW_SECONDS + 1):
        town.send("one", after=seconds)
    town.play()
    assert times(town) == [0, int(DUPLICATE_WINDOW_SECONDS) + 1]
    assert town.journal.met == {
        "sent again inside the window": 2,
        "sent again outside the window": 1,
    }


def test_what_is_not_settled_comes_again_and_in_the_end_is_put_aside(loop: SimulatedLoop) -> None:
    town = Town(loop)
    town.read(keep, backoff=(1.0, 5.0), max_deliver=4)
    town.send("one")
    town.play()
    assert times(town) == [0, 1, 6, 11]
    assert [count for _, count, _ in town.seen] == [1, 2, 3, 4]
    assert town.network.quiet
    assert [note.what for note in town.journal.notes][-1] is What.DEAD_LETTER


def test_what_is_put_back_comes_again_when_it_was_asked_for(loop: SimulatedLoop) -> None:
    town = Town(loop)
    town.read(lambda delivery: delivery.nak(7.0) if delivery.delivered == 1 else delivery.ack())
    town.send("one")
    town.play()
    assert times(town) == [0, 7]
    assert town.network.quiet


def test_no_more_is_handed_over_than_may_be_unsettled(loop: SimulatedLoop) -> None:
    town, held = Town(loop), list[Delivery]()
    town.read(held.append, max_ack_pending=2)
    for name in "abcd":
        town.send(name)
    town.loop.play(never, EPOCH + 1.0)
    assert len(held) == 2
    for _ in range(2):  # the second time is none
        held[0].ack()
        assert len(held) == 3


def test_who_died_settles_nothing_and_the_next_life_gets_it(loop: SimulatedLoop) -> None:
    town, held = Town(loop), list[Delivery]()
    town.read(held.append)
    town.send("one")
    town.loop.play(never, EPOCH + 1.0)
    town.process.die(5.0)
    held[0].ack()
    assert not town.network.quiet
    town.loop.play(never, EPOCH + 7.0)
    town.read(ack)
    town.play()
    assert town.lives == 2
    assert times(town) == [0, 30]
    assert town.network.quiet


@pytest.mark.parametrize(
    ("kind", "seconds", "arrivals"),
    [(Kind.LOST, 0.0, []), (Kind.DOUBLED, 3.0, [0, 3]), (Kind.DELAYED, 9.0, [9])],
)
def test_what_befalls_a_message_on_its_way(
    loop: SimulatedLoop, kind: Kind, seconds: float, arrivals: list[int]
) -> None:
    town = Town(loop, Fault(kind, "one", seconds))
    town.read(ack)
    town.send("one")
    town.send("two")
    town.play()
    assert [int(at) for name, _, at in town.seen if name == "one"] == arrivals
    assert [int(at) for name, _, at in town.seen if name == "two"] == [0]
    assert town.network.quiet
    assert town.journal.happened == {kind: 1}


# ── plans ────────────────────────────────────────────────────────────────────────────────────────

_PLACES = {
    Moment.TRAVELLING: r"[\w-]+/\w+/(do|undo)/[1-9](/r)?",
    Moment.HANDLING: r"[\w-]+/\w+/(do|undo)/[1-9]",
    Moment.PUBLISHING: r"[\w-]+/\w+/(do|undo)/[1-9](/r)?",
    Moment.SETTLING: r"[\w-]+/\w+/(do|undo)/[1-9](/r)?",
    Moment.WRITING: r"[\w-]+#[1-9]",
    Moment.WRITTEN: r"[\w-]+#([1-9]|stuck)",
}


@given(st.integers(0, 2**32))
def test_every_fault_that_is_drawn_has_a_place_that_there_can_be(seed: int) -> None:
    for fault in draw(seed, SAGAS, rate=0.9).faults:
        assert re.fullmatch(_PLACES[fault.kind.moment], fault.at), fault


def test_a_seed_stands_for_one_plan_and_leaves_other_chances_alone() -> None:
    random.seed(1)
    before = random.getstate()
    assert draw(7, SAGAS) == draw(7, SAGAS) != draw(8, SAGAS)
    assert random.getstate() == before


def test_a_rate_of_nothing_is_a_fair_world() -> None:
    assert {draw(seed, SAGAS, rate=0.0) for seed in range(50)} == {
        FaultPlan(seed=seed) for seed in range(50)
    }


@given(st.integers(0, 2**32))
def test_a_plan_can_be_read_back_from_what_it_prints(seed: int) -> None:
    plan = draw(seed, SAGAS, rate=0.5)
    assert eval(repr(plan), {"FaultPlan": FaultPlan, "Fault": Fault, "Kind": Kind}) == plan


def test_every_fault_can_be_told_in_words() -> None:
    told = {kind: str(Fault(kind, "order-1/charge/do/1", 2.5)) for kind in Kind}
    assert all(text.startswith("order-1/charge/do/1: ") for text in told.values())
    assert len(set(told.values())) == len(Kind)
    assert told[Kind.DELAYED] == "order-1/charge/do/1: it arrives 2.5 s late"

"""What a saga log has to do, whatever it is made of.

from es_saga.testing.contracts import Connect, StoreContract

class TestMyStore(StoreContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return lambda: MyStore.connect(tmp_path / "log")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import ClassVar

import pytest

from es_saga.core.aggregate import SagaState, evolve, fold, start
from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.core.events import (
    SagaCompleted,
    SagaEvent,
    SagaStarted,
    StepStarted,
    StepSucceeded,
)
from es_saga.core.messages import part_of
from es_saga.engine.ports import Append, Recorded, Store
from es_saga.testing.contracts.loop import OnAsyncio

PART = 3
Connect = Callable[[], Awaitable[Store]]
"""Opens a store; called again, another one beside it over the same data."""


def started(at: float = 1.0) -> SagaStarted:
    return SagaStarted(at=at, saga_type="order", definition=1, fingerprint="f", data={"n": 1})


def step(name: str, at: float = 2.0) -> list[SagaEvent]:
    """A step that is begun and done at once."""
    return [
        StepStarted(
            at=at,
            step=name,
            command_type="Do",
            to="service",
            command={"step": name, "text": "é\x00\u2028"},
            command_id=f"s/{name}/do",
            due=at + 30,
        ),
        StepSucceeded(at=at, step=name, attempt=1, reply=None),
    ]


def saga(saga_id: str, version: int, events: Sequence[SagaEvent]) -> Append:
    """An item; the state is what folds out of these events after a start."""
    state: SagaState | None
    if isinstance(events[0], SagaStarted):
        state = fold(saga_id, events)
    else:
        state = start(saga_id, started())
        for event in events:
            state = evolve(state, event)
    assert state is not None
    return Append(saga_id, version, events, state)


async def histories(store: Store, *saga_ids: str) -> dict[str, list[SagaEvent]]:
    """What the store has loaded, whatever kind of sequence it made of it."""
    return {name: list(events) for name, events in (await store.load(saga_ids)).items()}


class StoreContract(OnAsyncio):
    """Subclass it, and give it the fixture `connect`: over an empty log, for each test another one.

    A store that learns from the status view which sagas are open has it among its views.
    """

    limits_events: ClassVar[bool] = True
    """Whether an event of two megabytes is refused, as it has to be wherever events are stored."""

    @pytest.fixture
    def connect(self) -> Connect:
        """Yours."""
        pytest.fail("Give your suite a fixture `connect`.")

    @pytest.fixture
    async def open_store(self, connect: Connect) -> AsyncIterator[Connect]:
        """Opens stores, and closes them all in the end."""
        opened: list[Store] = []

        async def open_one() -> Store:
            opened.append(await connect())
            return opened[-1]

        yield open_one
        for store in opened:
            await store.close()

    @pytest.fixture
    async def store(self, open_store: Connect) -> Store:
        return await open_store()

    async def test_what_was_appended_is_loaded(self, store: Store) -> None:
        history = [started(), *step("reserve"), *step("charge")]
        assert await store.append(PART, [saga("s-1", 0, history)]) == [5]
        assert await histories(store, "s-1", "s-2") == {"s-1": history}

    async def test_positions_of_a_part_have_no_gap_and_parts_count_apart(
        self, store: Store
    ) -> None:
        assert await store.append(1, [saga("a", 0, [started()]), saga("b", 0, [started()])]) == [
            1,
            2,
        ]
        assert await store.append(2, [saga("c", 0, [started()])]) == [1]
        assert await store.append(1, [saga("a", 1, step("x"))]) == [4]
        page = await store.read(1, after=0, limit=10)
        assert [(each.position, each.saga_id, each.version) for each in page] == [
            (1, "a", 1),
            (2, "b", 1),
            (3, "a", 2),
            (4, "a", 3),
        ]
        assert [await store.head(part) for part in (0, 1, 2)] == [0, 4, 1]

    async def test_reading_goes_on_after_a_position_page_by_page(self, store: Store) -> None:
        await store.append(PART, [saga("a", 0, [started(), *step("x"), *step("y")])])
        seen: list[Recorded] = []
        while page := await store.read(PART, after=len(seen), limit=2):
            assert len(page) <= 2
            seen += page
        assert [each.position for each in seen] == [1, 2, 3, 4, 5]
        assert [each.event for each in seen] == [started(), *step("x"), *step("y")]
        assert seen[0].payload.startswith(b"{")

    async def test_a_stale_item_is_refused_alone(self, store: Store) -> None:
        await store.append(PART, [saga("a", 0, [started()]), saga("b", 0, [started()])])
        await store.append(PART, [saga("b", 1, step("x"))])
        batch = [
            saga("a", 1, step("x")),
            saga("b", 1, step("stale")),
            saga("c", 0, [started()]),
            saga("a", 0, [started()]),
        ]
        assert await store.append(PART, batch) == [6, None, 7, None]
        assert await store.head(PART) == 7
        assert await histories(store, "b") == {"b": [started(), *step("x")]}

    async def test_a_stale_batch_does_not_hold_up_its_neighbours(self, store: Store) -> None:
        await store.append(PART, [saga("a", 0, [started()])])
        results = await asyncio.gather(
            *(store.append(PART, [saga(f"s{n}", 0, [started()])]) for n in range(20)),
            store.append(PART, [saga("a", 0, [started()])]),
            *(store.append(PART, [saga(f"t{n}", 0, [started()])]) for n in range(20)),
        )
        assert results == [*([n] for n in range(2, 22)), [None], *([n] for n in range(22, 42))]

    async def test_what_follows_on_something_refused_is_refused_too(self, store: Store) -> None:
        await store.append(PART, [saga("a", 0, [started(), *step("x")])])
        # Decided on a state that never came to be: the first is stale, the second leaves a gap.
        stale = store.append(PART, [saga("a", 1, [step("y")[0]])])
        beyond = store.append(PART, [saga("a", 4, step("z"))])
        assert (await stale, await beyond) == ([None], [None])
        assert await store.append(PART, [saga("nobody", 7, step("x"))]) == [None]
        assert len((await store.load(["a"]))["a"]) == 3

    async def test_batches_of_one_part_commit_in_the_order_of_the_calls(self, store: Store) -> None:
        version = 0
        futures: list[asyncio.Future[list[int | None]]] = []
        for n in range(300):
            events: list[SagaEvent] = step(f"s{n}") if n else [started()]
            futures.append(store.append(PART, [saga("a", version, events)]))
            version += len(events)
        positions = [position for result in await asyncio.gather(*futures) for position in result]
        assert positions == [1, *range(3, 600, 2)]

    async def test_load_takes_any_number_of_ids(self, store: Store) -> None:
        ids = [f"saga-{n}" for n in range(1_201)]
        await store.append(PART, [saga(each, 0, [started(float(n))]) for n, each in enumerate(ids)])
        loaded = await histories(store, *ids, *ids, "unknown")
        assert loaded == {each: [started(float(n))] for n, each in enumerate(ids)}
        assert await histories(store) == {}

    async def test_a_log_reopened_goes_on_where_it_ended(self, open_store: Connect) -> None:
        first = await open_store()
        await first.append(PART, [saga("a", 0, [started()])])
        await first.close()
        second = await open_store()
        assert await second.claim(PART) == 1
        assert await second.append(PART, [saga("a", 1, step("x"))]) == [3]
        assert await histories(second, "a") == {"a": [started(), *step("x")]}

    async def test_a_new_owner_claims_what_another_one_wrote(self, open_store: Connect) -> None:
        old, new = await open_store(), await open_store()
        assert await new.claim(PART) == 0
        await old.append(PART, [saga("a", 0, [started()])])
        assert await new.claim(PART) == 1
        assert await new.append(PART, [saga("a", 1, step("x"))]) == [3]
        # The old one does not know yet that it is no longer the owner.
        assert await old.append(PART, [saga("a", 1, step("late"))]) == [None]
        assert await old.append(PART, [saga("b", 0, [started()])]) == [4]

    async def test_one_who_reloads_after_a_refusal_gets_through(self, open_store: Connect) -> None:
        one, other = await open_store(), await open_store()
        await one.append(PART, [saga("a", 0, [started()])])
        await other.append(PART, [saga("a", 1, step("x"))])
        assert await one.append(PART, [saga("a", 1, step("y"))]) == [None]
        assert len((await one.load(["a"]))["a"]) == 3
        assert await one.append(PART, [saga("a", 3, step("y"))]) == [5]
        # Without a refusal in between, what one remembers of the saga is older than what it read.
        await other.append(PART, [saga("a", 5, step("z"))])
        assert await one.append(PART, [saga("a", 7, step("w"))]) == [9]

    async def test_two_live_owners_of_a_part_lose_nothing_and_leave_no_gap(
        self,
        open_store: Connect,
    ) -> None:
        owners = [await open_store(), await open_store()]
        refused = 0

        async def work(owner: Store, saga_id: str) -> None:
            nonlocal refused
            version = len((await owner.load([saga_id])).get(saga_id, []))
            while version < 21:
                await asyncio.sleep(0)  # a store that never waits would let nobody in between
                events: list[SagaEvent] = step(f"s{version}") if version else [started()]
                (position,) = await owner.append(PART, [saga(saga_id, version, events)])
                if position is None:
                    refused += 1
                    version = len((await owner.load([saga_id])).get(saga_id, []))
                else:
                    version += len(events)

        sagas = [f"shared-{n}" for n in range(15)]
        await asyncio.gather(*(work(owner, each) for owner in owners for each in sagas))
        log = await owners[0].read(PART, after=0, limit=1_000)
        assert [each.position for each in log] == list(range(1, 15 * 21 + 1))
        for each in sagas:
            assert [entry.version for entry in log if entry.saga_id == each] == list(range(1, 22))
        assert refused > 0, "they never met"

    async def test_a_reader_moves_forward_only(self, store: Store) -> None:
        assert await store.checkpoint("relay", 0) == 0
        await store.advance("relay", {0: 5, 1: 7})
        await store.advance("relay", {0: 3, 1: 8})
        await store.advance("other", {0: 1})
        await store.advance("other", {})
        assert [await store.checkpoint("relay", part) for part in (0, 1, 2)] == [5, 8, 0]
        assert await store.checkpoint("other", 0) == 1

    async def test_one_reader_may_advance_twice_in_one_transaction(self, store: Store) -> None:
        await asyncio.gather(*(store.advance("relay", {0: n, n: 1}) for n in range(1, 50)))
        assert await store.checkpoint("relay", 0) == 49

    async def test_close_writes_what_was_submitted(self, open_store: Connect) -> None:
        first = await open_store()
        futures = [first.append(PART, [saga(f"s{n}", 0, [started()])]) for n in range(500)]
        await first.close()
        assert [await each for each in futures] == [[n] for n in range(1, 501)]
        assert await (await open_store()).head(PART) == 500

    async def test_a_closed_log_says_so(self, open_store: Connect) -> None:
        store = await open_store()
        await store.close()
        await store.close()
        with pytest.raises(Unavailable):
            await store.append(PART, [saga("a", 0, [started()])])
        with pytest.raises(Unavailable):
            await store.load(["a"])
        with pytest.raises(Unavailable):
            await store.claim(PART)

    async def test_an_event_that_is_too_large_is_refused_and_nothing_is_written(
        self, store: Store
    ) -> None:
        if not self.limits_events:
            pytest.skip("this log takes events of any size")
        huge = started().model_copy(update={"data": {"x": "x" * 2_000_000}})
        with pytest.raises(InvalidInput, match="2000"):
            await store.append(PART, [saga("a", 0, [started()]), saga("b", 0, [huge])])
        assert await histories(store, "a", "b") == {}

    async def test_a_saga_is_open_until_it_is_closed(self, store: Store) -> None:
        part = part_of("a")
        await store.append(part, [saga("a", 0, [started(), *step("x")[:1]])])
        assert list(await store.open_sagas(part)) == [("a", 32.0)]
        assert not await store.open_sagas(part + 1)
        await store.append(part, [saga("a", 2, [SagaCompleted(at=2.0)])])
        assert not await store.open_sagas(part)

    async def test_an_empty_batch_is_nothing(self, store: Store) -> None:
        assert await store.append(PART, []) == []
        assert await store.head(PART) == 0

    async def test_all_parts_are_written_at_once(self, store: Store) -> None:
        ids = [f"order-{n}" for n in range(200)]
        results = await asyncio.gather(
            *(
                store.append(part_of(each), [saga(each, 0, [started(), SagaCompleted(at=2.0)])])
                for each in ids
            )
        )
        assert all(position is not None for (position,) in results)
        heads = [await store.head(part) for part in range(16)]
        assert sum(heads) == 400
        assert all(heads)

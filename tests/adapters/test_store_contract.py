"""What every log has to do, whatever it is made of.

Each test runs over every store of the fixture `open_store`; add one there and it has to comply.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from es_saga.adapters.store import connect
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

pytestmark = pytest.mark.anyio

PART = 3
OpenStore = Callable[[], Awaitable[Store]]


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


@pytest.fixture(params=["sqlite", "postgres"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenStore]:
    """Opens a store; again and again over the same data, one beside the other."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'log.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    opened: list[Store] = []

    async def open_one() -> Store:
        opened.append(connect(url, migrate=True))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    return await open_store()


async def test_what_was_appended_is_loaded(store: Store) -> None:
    history = [started(), *step("reserve"), *step("charge")]
    assert await store.append(PART, [saga("s-1", 0, history)]) == [5]
    assert await store.load(["s-1", "s-2"]) == {"s-1": history}


async def test_positions_of_a_part_have_no_gap_and_parts_count_apart(store: Store) -> None:
    assert await store.append(1, [saga("a", 0, [started()]), saga("b", 0, [started()])]) == [1, 2]
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


async def test_reading_goes_on_after_a_position_page_by_page(store: Store) -> None:
    await store.append(PART, [saga("a", 0, [started(), *step("x"), *step("y")])])
    seen: list[Recorded] = []
    while page := await store.read(PART, after=len(seen), limit=2):
        assert len(page) <= 2
        seen += page
    assert [each.position for each in seen] == [1, 2, 3, 4, 5]
    assert [each.event for each in seen] == [started(), *step("x"), *step("y")]
    assert seen[0].payload.startswith(b"{")


@pytest.mark.requirement("R059")
async def test_a_stale_item_is_refused_alone(store: Store) -> None:
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
    assert (await store.load(["b"]))["b"] == [started(), *step("x")]


async def test_a_stale_batch_does_not_hold_up_its_neighbours(store: Store) -> None:
    await store.append(PART, [saga("a", 0, [started()])])
    results = await asyncio.gather(
        *(store.append(PART, [saga(f"s{n}", 0, [started()])]) for n in range(20)),
        store.append(PART, [saga("a", 0, [started()])]),
        *(store.append(PART, [saga(f"t{n}", 0, [started()])]) for n in range(20)),
    )
    assert results == [*([n] for n in range(2, 22)), [None], *([n] for n in range(22, 42))]


async def test_what_follows_on_something_refused_is_refused_too(store: Store) -> None:
    await store.append(PART, [saga("a", 0, [started(), *step("x")])])
    # Decided on a state that never came to be: the first is stale, the second would leave a gap.
    stale = store.append(PART, [saga("a", 1, [step("y")[0]])])
    beyond = store.append(PART, [saga("a", 4, step("z"))])
    assert (await stale, await beyond) == ([None], [None])
    assert await store.append(PART, [saga("nobody", 7, step("x"))]) == [None]
    assert len((await store.load(["a"]))["a"]) == 3


async def test_batches_of_one_part_commit_in_the_order_of_the_calls(store: Store) -> None:
    version = 0
    futures: list[asyncio.Future[list[int | None]]] = []
    for n in range(300):
        events: list[SagaEvent] = step(f"s{n}") if n else [started()]
        futures.append(store.append(PART, [saga("a", version, events)]))
        version += len(events)
    positions = [position for result in await asyncio.gather(*futures) for position in result]
    assert positions == [1, *range(3, 600, 2)]


async def test_load_takes_any_number_of_ids(store: Store) -> None:
    ids = [f"saga-{n}" for n in range(1_201)]
    await store.append(PART, [saga(each, 0, [started(float(n))]) for n, each in enumerate(ids)])
    loaded = await store.load([*ids, *ids, "unknown"])
    assert loaded == {each: [started(float(n))] for n, each in enumerate(ids)}
    assert await store.load([]) == {}


@pytest.mark.requirement("R052", "R053", "R054")
async def test_a_log_reopened_goes_on_where_it_ended(open_store: OpenStore) -> None:
    first = await open_store()
    await first.append(PART, [saga("a", 0, [started()])])
    await first.close()
    second = await open_store()
    assert await second.claim(PART) == 1
    assert await second.append(PART, [saga("a", 1, step("x"))]) == [3]
    assert await second.load(["a"]) == {"a": [started(), *step("x")]}


async def test_a_new_owner_claims_what_another_one_wrote(open_store: OpenStore) -> None:
    old, new = await open_store(), await open_store()
    assert await new.claim(PART) == 0
    await old.append(PART, [saga("a", 0, [started()])])
    assert await new.claim(PART) == 1
    assert await new.append(PART, [saga("a", 1, step("x"))]) == [3]
    # The old one does not know yet that it is no longer the owner.
    assert await old.append(PART, [saga("a", 1, step("late"))]) == [None]
    assert await old.append(PART, [saga("b", 0, [started()])]) == [4]


async def test_one_who_reloads_after_a_refusal_gets_through(open_store: OpenStore) -> None:
    one, other = await open_store(), await open_store()
    await one.append(PART, [saga("a", 0, [started()])])
    await other.append(PART, [saga("a", 1, step("x"))])
    assert await one.append(PART, [saga("a", 1, step("y"))]) == [None]
    assert len((await one.load(["a"]))["a"]) == 3
    assert await one.append(PART, [saga("a", 3, step("y"))]) == [5]
    # Without a refusal in between, what one remembers of the saga is older than what it has read.
    await other.append(PART, [saga("a", 5, step("z"))])
    assert await one.append(PART, [saga("a", 7, step("w"))]) == [9]


async def test_two_live_owners_of_a_part_lose_nothing_and_leave_no_gap(
    open_store: OpenStore,
) -> None:
    owners = [await open_store(), await open_store()]
    refused = 0

    async def work(owner: Store, saga_id: str) -> None:
        nonlocal refused
        version = len((await owner.load([saga_id])).get(saga_id, []))
        while version < 21:
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


async def test_a_reader_moves_forward_only(store: Store) -> None:
    assert await store.checkpoint("relay", 0) == 0
    await store.advance("relay", {0: 5, 1: 7})
    await store.advance("relay", {0: 3, 1: 8})
    await store.advance("other", {0: 1})
    await store.advance("other", {})
    assert [await store.checkpoint("relay", part) for part in (0, 1, 2)] == [5, 8, 0]
    assert await store.checkpoint("other", 0) == 1


async def test_one_reader_may_advance_twice_in_one_transaction(store: Store) -> None:
    await asyncio.gather(*(store.advance("relay", {0: n, n: 1}) for n in range(1, 50)))
    assert await store.checkpoint("relay", 0) == 49


async def test_close_writes_what_was_submitted(open_store: OpenStore) -> None:
    first = await open_store()
    futures = [first.append(PART, [saga(f"s{n}", 0, [started()])]) for n in range(500)]
    await first.close()
    assert [await each for each in futures] == [[n] for n in range(1, 501)]
    assert await (await open_store()).head(PART) == 500


async def test_a_closed_log_says_so(open_store: OpenStore) -> None:
    store = await open_store()
    await store.close()
    await store.close()
    with pytest.raises(Unavailable):
        await store.append(PART, [saga("a", 0, [started()])])
    with pytest.raises(Unavailable):
        await store.load(["a"])
    with pytest.raises(Unavailable):
        await store.claim(PART)


async def test_an_event_that_is_too_large_is_refused_and_nothing_is_written(store: Store) -> None:
    huge = SagaStarted(
        at=1.0, saga_type="t", definition=1, fingerprint="f", data={"x": "x" * 2_000_000}
    )
    with pytest.raises(InvalidInput, match="2000"):
        await store.append(PART, [saga("a", 0, [started()]), saga("b", 0, [huge])])
    assert await store.load(["a", "b"]) == {}


async def test_an_empty_batch_is_nothing(store: Store) -> None:
    assert await store.append(PART, []) == []
    assert await store.head(PART) == 0


async def test_all_parts_are_written_at_once(store: Store) -> None:
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

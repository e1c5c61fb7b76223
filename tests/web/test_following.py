"""The stream: nothing missed, nothing twice, nobody waits for anybody, slow ones are dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from es_saga.projections.news import Positions
from es_saga.web import feed, server, stream
from tests.engine.errand import Silence, refusing
from tests.web.office import Office, Stream, Told, deaf, fault, open_office, served

pytestmark = pytest.mark.anyio


def events_of(told: list[Told]) -> list[tuple[str, int]]:
    return [(one.data["saga_id"], one.data["version"]) for one in told]


def kinds(told: list[Told]) -> list[str]:
    return [one.data["kind"] for one in told]


@pytest.mark.requirement("R078", "R083")
async def test_every_event_of_a_saga_is_told_as_it_happens(office: Office) -> None:
    async with served(office.desk) as address:
        listener = await Stream.open(address)
        head = await listener.head()
        assert "200 OK" in head
        assert "text/event-stream" in head
        saga_id = await office.start()
        told = await listener.until(lambda found: "SagaCompleted" in kinds(found))
        await listener.close()
    history = await office.world.history(saga_id)
    assert [f"{one.data['kind']} {one.data['step'] or ''}".strip() for one in told] == history
    assert [one.data["version"] for one in told] == list(range(1, len(told) + 1))
    assert all(one.name == "saga" and one.data["type"] == "errand" for one in told)
    assert told[-1].data["status"] == "completed"


async def test_whoever_comes_back_with_the_last_id_misses_nothing_and_gets_nothing_twice(
    office: Office,
) -> None:
    async with served(office.desk) as address:
        listener = await Stream.open(address)
        await listener.head()
        for _ in range(3):
            await office.ended()
        begun = await listener.until(lambda found: kinds(found).count("SagaCompleted") == 3)
        await listener.close()
        everything = events_of(begun)
        for cut in (0, 1, len(begun) // 2, len(begun) - 1):
            again = await Stream.open(address, last_id=begun[cut].id)
            await again.head()
            rest = len(begun) - cut - 1
            told = await again.until(lambda found, rest=rest: len(found) >= rest)  # type: ignore[misc]
            assert sorted(events_of(told)) == sorted(everything[cut + 1 :])
            await again.close()


async def test_a_listener_from_the_beginning_reads_the_whole_log_and_then_what_follows(
    office: Office,
) -> None:
    for _ in range(3):
        await office.ended()
    async with served(office.desk) as address:
        listener = await Stream.open(address, f"?after={Positions((0,) * 16).written()}")
        await listener.head()
        old = await listener.until(lambda found: kinds(found).count("SagaCompleted") == 3)
        last = await office.ended()
        new = await listener.until(lambda found: "SagaCompleted" in kinds(found))
        await listener.close()
    assert len(set(events_of(old + new))) == len(old + new)
    assert {saga for saga, _ in events_of(new)} == {last}


async def test_only_what_is_wanted_is_told(office: Office) -> None:
    async with served(office.desk) as address:
        mine = await Stream.open(address, "?saga=errand-mine")
        glances = await Stream.open(address, "?type=glance")
        await mine.head()
        await glances.head()
        await office.ended(key="other")
        await office.http.post("/api/v1/sagas", json={"type": "glance", "data": {"thing": "a"}})
        await office.ended(key="mine")
        told = await mine.until(lambda found: "SagaCompleted" in kinds(found))
        assert {saga for saga, _ in events_of(told)} == {"errand-mine"}
        assert [version for _, version in events_of(told)] == list(range(1, len(told) + 1))
        told = await glances.until(lambda found: "SagaCompleted" in kinds(found))
        assert {one.data["type"] for one in told} == {"glance"}
        await mine.close()
        await glances.close()


async def test_for_those_who_draw_changes_come_at_most_four_times_a_second(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_CHANGED", 3)
    async with served(office.desk) as address:
        listener = await Stream.open(address, "?coalesce=true")
        await listener.head()
        begun = asyncio.get_running_loop().time()
        ids = {await office.ended(key=str(number)) for number in range(12)}
        events = sum([len(await office.world.history(saga_id)) for saga_id in ids])
        told = await listener.until(
            lambda found: sum(one.data["events"] for one in found) >= events
        )
        took = asyncio.get_running_loop().time() - begun
        await listener.close()
    assert sum(one.data["events"] for one in told) == events
    assert len(told) <= took / stream.COALESCED_SECONDS + 1
    assert all(one.name == "changes" and len(one.data["sagas"]) <= 3 for one in told)
    named = {saga["saga_id"] for one in told for saga in one.data["sagas"]}
    assert named == ids or any(one.data["more"] for one in told)


async def test_an_idle_stream_shows_that_it_lives_and_where_it_stands(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    await office.ended()
    async with served(office.desk) as address:
        for query in ("", "?coalesce=true"):
            listener = await Stream.open(address, query)
            await listener.head()
            reading = asyncio.create_task(listener.next())
            async with asyncio.timeout(10):
                while listener.remarks < 3:
                    await asyncio.sleep(0.01)
            reading.cancel()
            end = await office.desk.ask(office.desk.feed.news.end)
            assert Positions.read(listener.last_id) == end
            await listener.close()


async def test_a_stream_lasts_so_long_and_the_client_comes_back(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LIFETIME_SECONDS", 0.05)
    async with served(office.desk) as address:
        listener = await Stream.open(address)
        await listener.head()
        async with asyncio.timeout(10):
            assert await listener.next() is None
        await listener.close()
        assert Positions.read(listener.last_id)


async def test_what_others_did_moves_the_place_of_a_listener_on_too(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    async with served(office.desk) as address:
        listener = await Stream.open(address, "?saga=errand-mine")
        await listener.head()
        reading = asyncio.create_task(listener.next())
        await office.ended(key="other")
        end = await office.desk.ask(office.desk.feed.news.end)
        async with asyncio.timeout(10):
            while not listener.last_id or not Positions.read(listener.last_id).covers(end):
                await asyncio.sleep(0.01)
        reading.cancel()
        await listener.close()


@pytest.mark.parametrize("bad", ["x", "1.2.3", ".".join(["zzzzzzzzzzzz"] * 16), "%00", "1" * 300])
async def test_an_id_that_no_stream_gave_is_refused(bad: str, still: Office) -> None:
    answer = await still.http.get(f"/api/v1/events?after={bad}")
    assert fault(answer) == (422, "invalid-input")


async def test_an_id_of_another_log_is_refused(office: Office) -> None:
    place = Positions((5,) * 16).written()
    answer = await office.http.get("/api/v1/events", headers={"Last-Event-ID": place})
    assert fault(answer) == (422, "invalid-input")


async def test_a_client_that_does_not_read_is_dropped_and_the_others_are_served(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STALLED_SECONDS", 0.3)
    monkeypatch.setattr(server, "SEND_BUFFER_BYTES", 4_096)
    for number in range(60):
        await office.ended(key=str(number))
    beginning = f"?after={Positions((0,) * 16).written()}"
    async with served(office.desk) as address:
        unread = deaf(address, beginning)
        async with asyncio.timeout(10):
            while not office.desk.feed.listeners:
                await asyncio.sleep(0.01)
        quick = await Stream.open(address, beginning)
        await quick.head()
        told = await quick.until(lambda found: kinds(found).count("SagaCompleted") == 60)
        assert len(set(events_of(told))) == len(told)
        async with asyncio.timeout(10):
            while office.desk.feed.listeners > 1:
                await asyncio.sleep(0.01)
        last = await office.ended(key="last")
        told = await quick.until(lambda found: "SagaCompleted" in kinds(found))
        assert {saga for saga, _ in events_of(told)} == {last}
        unread.close()
        await quick.close()


async def test_a_listener_that_fell_behind_what_is_kept_catches_up_from_the_database(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "KEPT", 5)
    async with office.desk.feed.listening(feed.Wanted()) as listener:
        for number in range(5):
            await office.ended(key=str(number))
        found: list[tuple[str, int]] = []
        while page := await listener.page(0.3):
            found += [(one.saga_id, one.version) for one in page.happenings]
    histories = [await office.world.history(f"errand-{number}") for number in range(5)]
    assert len(found) == len(set(found)) == sum(map(len, histories))


async def test_there_is_room_for_so_many_streams_and_waiters_and_no_more(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_LISTENERS", 1)
    monkeypatch.setattr(feed, "MAX_WATCHING", 1)
    office.behave(lambda envelope: Silence())
    saga_id = await office.start()
    async with served(office.desk) as address, office.desk.feed.watching("x"):
        listener = await Stream.open(address)
        await listener.head()
        answer = await office.http.get("/api/v1/events")
        assert fault(answer) == (503, "unavailable")
        assert answer.headers["retry-after"]
        waited = await office.http.get(f"/api/v1/sagas/{saga_id}/outcome")
        assert fault(waited) == (503, "unavailable")
        await listener.close()


async def test_nobody_listens_and_nothing_is_read(office: Office) -> None:
    async with office.desk.feed.listening(feed.Wanted()):
        assert office.desk.feed.reading
    assert not office.desk.feed.reading


async def test_streams_and_waits_end_when_the_server_is_told_to_stop(office: Office) -> None:
    office.behave(lambda envelope: Silence())
    saga_id = await office.start()
    async with served(office.desk) as address:
        listener = await Stream.open(address)
        await listener.head()
        waiting = asyncio.create_task(office.http.get(f"/api/v1/sagas/{saga_id}/outcome"))
        async with asyncio.timeout(10):
            while not office.desk.feed.watchers:
                await asyncio.sleep(0.01)
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < server.STOP_SECONDS
    assert await listener.next() is None
    await listener.close()
    assert (await waiting).status_code == 202


@pytest.mark.parametrize("cut", [1, 7])
async def test_pages_of_any_size_lose_nothing(cut: int, tmp_path: Path, postgres_url: str) -> None:
    """On PostgreSQL too."""
    async with open_office(tmp_path, url=postgres_url) as office:
        office.behave(refusing("Bring"))
        for number in range(4):
            await office.ended(key=str(number))
        news = office.desk.feed.news
        end, place = news.end(), Positions((0,) * 16)
        found: list[tuple[str, int]] = []
        while not place.covers(end):
            page = news.after(place, limit=cut)
            assert page.positions.covers(place)
            place = page.positions
            found += [(one.saga_id, one.version) for one in page.happenings]
        histories = [await office.world.history(f"errand-{number}") for number in range(4)]
        assert len(found) == len(set(found)) == sum(map(len, histories))

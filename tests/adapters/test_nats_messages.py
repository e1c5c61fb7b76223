"""What comes over NATS from strangers, how the streams are kept, and atomic batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.subjects import covers, overlap
from es_saga.core.messages import MAX_PAYLOAD_BYTES, part_of
from es_saga.engine.ports import Consumer
from es_saga.testing.contracts.pipes import (
    Seen,
    dead_letters,
    eventually,
    keep,
    message,
    stock,
    to_stock,
)
from tests.adapters.pipes import SMALL, ask_jetstream, eventually_is, stranger

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pipe(nats_url: str, nats_tenant: str) -> AsyncIterator[NatsTransport]:
    transport = await NatsTransport.connect(nats_url, tenant=nats_tenant, limits=SMALL)
    yield transport
    await transport.close()


@pytest.fixture
async def other(nats_url: str) -> AsyncIterator[Client]:
    client = await stranger(nats_url)
    yield client
    await client.close()


async def test_unreadable_messages_are_put_aside_and_the_rest_goes_on(
    pipe: NatsTransport, other: Client
) -> None:
    seen = Seen()
    await pipe.consume(stock(pipe, ack_wait=0.5), seen)
    foreign = {
        b"\xff\xfe not text": "malformed",
        b"{broken": "malformed",
        b"": "malformed",
        b"[1, 2]": "foreign",
        b'{"hello": "world"}': "foreign",
        b'{"specversion":"0.3","id":"a","source":"b","type":"c"}': "foreign",
        b'{"specversion":"1.0","id":"","source":"b","type":"c"}': "foreign",
        b'{"x": "%s"}' % (b"y" * MAX_PAYLOAD_BYTES): "oversized",
    }
    for body in foreign:
        await other.publish(to_stock(pipe), body)
        await other.flush()
    await pipe.publish(to_stock(pipe), message("good"))
    await eventually(lambda: "good" in seen.ids)
    letters = await dead_letters(pipe, len(foreign))
    assert [letter.data["reason"] for letter in letters] == list(foreign.values())
    assert {letter.data["subject"] for letter in letters} == {to_stock(pipe)}
    assert letters[0].data["body_base64"] == "//4gbm90IHRleHQ="
    assert letters[1].data["body"] == "{broken"
    assert len(letters[-1].data["body"]) == 4096
    assert all(letter.data["detail"] for letter in letters)

    async def unsettled() -> int:
        [commands, *_] = await pipe.streams()
        return commands.consumers[0].unacked

    await eventually_is(unsettled, 0)
    assert seen.ids == ["good"]
    assert len(await pipe.dead_letters()) == len(foreign)


async def test_binary_cloudevents_are_understood(pipe: NatsTransport, other: Client) -> None:
    seen = Seen()
    await pipe.consume(stock(pipe), seen)
    headers = {
        "ce-specversion": "1.0",
        "CE-Id": "order-1/reserve/do/1/r",
        "ce-source": "svc/stock%20room",
        "ce-type": "StockReserved",
        "ce-outcome": "succeeded",
        "ce-attempt": "3",
        "ce-strange": "ignored",
        "Content-Type": "application/json; charset=utf-8",
    }
    await other.publish(to_stock(pipe), b'{"reservation": "r1"}', headers=headers)
    await other.publish(to_stock(pipe), b"", headers=headers | {"CE-Id": "empty"})
    await other.publish(to_stock(pipe), b"<xml/>", headers=headers | {"Content-Type": "text/xml"})
    await other.publish(to_stock(pipe), b"{", headers=headers)
    [xml, broken] = await dead_letters(pipe, 2)
    assert (xml.data["reason"], broken.data["reason"]) == ("foreign", "malformed")
    first, second = (delivery.envelope for delivery in seen.deliveries)
    assert first.id == "order-1/reserve/do/1/r"
    assert first.source == "svc/stock room"
    assert first.outcome == "succeeded"
    assert first.attempt == 3
    assert first.data == {"reservation": "r1"}
    assert (second.id, second.data) == ("empty", None)


async def test_on_the_wire_it_is_a_structured_cloudevent(
    pipe: NatsTransport, other: Client
) -> None:
    watch = await other.subscribe(f"{pipe.subjects.root}.>")  # pyright: ignore[reportUnknownMemberType]
    await ask_jetstream(other, "INFO")  # not flush: its PING may overtake the SUB
    await pipe.publish(to_stock(pipe), message("a/b/do/1"), ttl=0.2)
    seen = await watch.next_msg(5)
    assert seen.headers == {
        "Nats-Msg-Id": "a/b/do/1",
        "content-type": "application/cloudevents+json",
        "Nats-TTL": "1",
    }
    assert json.loads(seen.data) == {
        "specversion": "1.0",
        "id": "a/b/do/1",
        "source": "test",
        "type": "ReserveStock",
        "attempt": 1,
        "data": {"sku": "tea"},
    }


async def test_a_message_whose_time_is_over_is_dropped_by_the_broker(pipe: NatsTransport) -> None:
    await pipe.publish(to_stock(pipe), message("stale"), ttl=1.0)
    await pipe.publish(to_stock(pipe), message("undo"))

    async def stored() -> int:
        [commands, *_] = await pipe.streams()
        return commands.messages

    await eventually_is(stored, 1)
    seen = Seen()
    await pipe.consume(stock(pipe), seen)
    await eventually(lambda: seen.ids == ["undo"])


# ── keeping the streams small ────────────────────────────────────────────────────────────────────


async def counts(pipe: NatsTransport) -> tuple[int, int]:
    commands, replies, *_ = await pipe.streams()
    return commands.messages, replies.messages


async def acknowledged(pipe: NatsTransport, consumer: str, unacked: int = 0) -> None:
    async def state() -> list[tuple[int, int]]:
        consumers = [found for stream in await pipe.streams() for found in stream.consumers]
        return [(found.pending, found.unacked) for found in consumers if found.name == consumer]

    await eventually_is(state, [(0, unacked)])


async def test_it_is_known_whose_commands_nobody_takes(pipe: NatsTransport) -> None:
    async def unserved() -> frozenset[str]:
        return await pipe.unserved(["stock", "card", "sto"])

    assert await unserved() == {"stock", "card", "sto"}
    serving = await pipe.consume(stock(pipe), Seen())
    await eventually_is(unserved, frozenset({"card", "sto"}))
    await serving.stop()
    await eventually_is(unserved, frozenset({"stock", "card", "sto"}))


async def test_trimming_removes_what_is_acknowledged_and_nothing_else(pipe: NatsTransport) -> None:
    done, held = Seen(), Seen(keep)
    await pipe.consume(stock(pipe), done)
    await pipe.consume(
        Consumer("svc-card", "CMD", pipe.subjects.commands_of("card"), ack_wait=30), held
    )
    for number in range(10):
        await pipe.publish(to_stock(pipe), message(f"stock {number}"))
    for number in range(10):
        await pipe.publish(pipe.subjects.command("card", 1, "Charge"), message(f"card {number}"))
    for number in range(10):
        await pipe.publish(to_stock(pipe), message(f"more {number}"))
    await acknowledged(pipe, "svc-stock")
    await acknowledged(pipe, "svc-card", unacked=10)
    assert await pipe.trim() == 10  # up to the first one that is not acknowledged
    for delivery in held.deliveries[:5]:
        delivery.ack()
    await acknowledged(pipe, "svc-card", unacked=5)
    assert await pipe.trim() == 5
    assert await counts(pipe) == (15, 0)
    for delivery in held.deliveries[5:]:
        delivery.ack()
    await acknowledged(pipe, "svc-card")
    assert await pipe.trim() == 15
    assert await counts(pipe) == (0, 0)
    assert await pipe.trim() == 0


async def test_trimming_keeps_what_waits_for_a_consumer_that_never_ran(pipe: NatsTransport) -> None:
    await pipe.consume(stock(pipe), Seen())
    ship = pipe.subjects.command("ship", 1, "Ship")
    for number in range(5):
        await pipe.publish(ship, message(f"ship {number}"))
        await pipe.publish(to_stock(pipe), message(f"stock {number}"))
    await acknowledged(pipe, "svc-stock")
    assert await pipe.trim() == 5
    seen = Seen()
    await pipe.consume(Consumer("svc-ship", "CMD", pipe.subjects.commands_of("ship")), seen)
    await eventually(lambda: len(seen.ids) == 5)


@pytest.mark.parametrize("max_subjects", [5_000, 0], ids=["by number", "by filter"])
async def test_trimming_waits_for_the_slowest_of_two_readers(
    pipe: NatsTransport, monkeypatch: pytest.MonkeyPatch, max_subjects: int
) -> None:
    monkeypatch.setattr("es_saga.adapters.nats_trim.MAX_SUBJECTS", max_subjects)
    await pipe.consume(stock(pipe), Seen())
    everything = Consumer("svc-audit", "CMD", f"{pipe.subjects.root}.cmd.>")
    slow = Seen(keep)
    await pipe.consume(everything, slow)
    for number in range(5):
        await pipe.publish(to_stock(pipe), message(f"m{number}"))
    await acknowledged(pipe, "svc-stock")
    await acknowledged(pipe, "svc-audit", unacked=5)
    assert await pipe.trim() == 0
    for delivery in slow.deliveries:
        delivery.ack()
    await acknowledged(pipe, "svc-audit")
    assert await pipe.trim() == 5


@pytest.mark.parametrize("parts", [16, 15])
async def test_trimming_many_subjects_goes_by_filter(
    pipe: NatsTransport, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    monkeypatch.setattr("es_saga.adapters.nats_trim.MAX_SUBJECTS", 3)
    monkeypatch.setattr("es_saga.adapters.nats_trim.SLICE", 7)
    for part in range(parts):
        await pipe.consume(
            Consumer(f"pm-app-{part}", "RPL", pipe.subjects.inbox_of_part("app", part)), Seen()
        )
    for number in range(50):
        await pipe.publish(pipe.subjects.inbox("app", f"order-{number}"), message(f"m{number}"))
    await pipe.publish(pipe.subjects.inbox("other", "order-1"), message("other"))
    for part in range(parts):
        await acknowledged(pipe, f"pm-app-{part}")
    waiting = sum(part_of(f"order-{number}") >= parts for number in range(50))
    assert (waiting > 0) == (parts < 16)
    assert await pipe.trim() == 50 - waiting
    assert await counts(pipe) == (0, 1 + waiting)


def test_filters_cover_subjects_and_overlap() -> None:
    assert covers("a.>", "a.b.c")
    assert not covers("a.>", "a")
    assert covers("a.*.c", "a.b.c")
    assert not covers("a.*.c", "a.b.c.d")
    assert not covers("a.b.c", "a.b")
    assert overlap("a.*.c", "a.b.>")
    assert overlap("*.b", "a.*")
    assert not overlap("a.b", "a.b.c")
    assert not overlap("a.b.>", "a.c.>")


# ── atomic batches ───────────────────────────────────────────────────────────────────────────────


async def test_atomic_batches_deliver_everything_to_a_server_that_syncs(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path / "nats", sync_always=True) as server:
        pipe = await NatsTransport.connect(server.url, limits=SMALL, sync_batches=True)
        seen, replies = Seen(), Seen()
        await pipe.consume(stock(pipe), seen)
        await pipe.consume(Consumer("pm", "RPL", f"{pipe.subjects.root}.rpl.>"), replies)
        sent: list[asyncio.Future[None]] = []
        for number in range(500):
            sent.append(pipe.publish(to_stock(pipe), message(f"m{number}")))
            sent.append(
                pipe.publish(pipe.subjects.inbox("app", f"o{number}"), message(f"r{number}"))
            )
            if number % 3 == 0:
                # A repeated id refuses the batch it is in: then they go one by one.
                sent.append(pipe.publish(to_stock(pipe), message(f"m{number // 2}")))
            if number % 40 == 0:
                await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(*sent), 30)
        await eventually(lambda: len(seen.ids) == len(replies.ids) == 500)
        assert seen.distinct == {f"m{number}" for number in range(500)}
        await pipe.close()


async def test_atomic_batches_survive_kills(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path / "nats", sync_always=True) as server:
        pipe = await NatsTransport.connect(server.url, limits=SMALL, sync_batches=True)
        seen = Seen()
        await pipe.consume(stock(pipe, ack_wait=1.0), seen)
        sent: list[asyncio.Future[None]] = []
        for kill in range(3):
            for number in range(400):
                sent.append(pipe.publish(to_stock(pipe), message(f"{kill}-{number}")))
                if number % 20 == 0:
                    await asyncio.sleep(0.001)
            server.kill()
            await eventually(lambda: not pipe.connected)
            server.start()
        await asyncio.wait_for(asyncio.gather(*sent), 30)
        await eventually(lambda: len(seen.distinct) == len(sent), 30)
        await pipe.close()


async def test_advisories_about_consumers_are_kept(pipe: NatsTransport, other: Client) -> None:
    await pipe.consume(stock(pipe), Seen(lambda delivery: delivery.reject("bad")))
    await pipe.publish(to_stock(pipe), message("a"))
    await dead_letters(pipe, 1)
    stream = f"ES_{pipe.subjects.tenant}_ADV"

    async def stored() -> int:
        info = await ask_jetstream(other, f"STREAM.INFO.{stream}")
        return int(info["state"]["messages"])

    await eventually_is(stored, 1)
    advisory = await ask_jetstream(other, f"STREAM.MSG.GET.{stream}", seq=1)
    assert "MSG_TERMINATED" in advisory["message"]["subject"]


async def test_what_a_consumer_left_unsettled_comes_before_what_follows_it(
    pipe: NatsTransport, nats_url: str, nats_tenant: str
) -> None:
    """Otherwise it would come when it is overdue: after the rest."""
    in_order = Consumer("evt-a--b", "EVT", pipe.subjects.events_of("b"), in_order=True)
    first = await NatsTransport.connect(nats_url, tenant=nats_tenant, limits=SMALL)
    held = Seen(keep)
    await first.consume(in_order, held)
    for number in range(4):
        await pipe.publish(pipe.subjects.event("b", "1", "T"), message(f"m{number}"))
    await eventually(lambda: len(held.ids) == 4)
    held.deliveries[0].ack()
    held.deliveries[2].ack()
    await first.close()
    await pipe.publish(pipe.subjects.event("b", "1", "T"), message("m4"))

    seen = Seen()
    await pipe.consume(in_order, seen)
    await eventually(lambda: "m4" in seen.ids)
    assert seen.ids == ["m1", "m2", "m3", "m4"]

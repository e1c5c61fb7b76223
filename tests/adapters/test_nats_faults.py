"""NATS breaks in every way it can: whatever was published arrives, and nothing needs a restart."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_link import Link
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.adapters.nats_streams import StreamLimits
from es_saga.core.errors import Unavailable
from es_saga.engine.ports import Delivery
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
def server(tmp_path: Path) -> Iterator[EmbeddedNats]:
    """A server of the test's own, to be broken."""
    with EmbeddedNats(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def pipe(server: EmbeddedNats) -> AsyncIterator[NatsTransport]:
    transport = await NatsTransport.connect(server.url, limits=SMALL)
    yield transport
    await transport.close()


def wipe(server: EmbeddedNats) -> None:
    """What a power cut may do, at its worst: everything acknowledged is gone."""
    server.kill()
    assert server.store_dir is not None
    shutil.rmtree(server.store_dir / "jetstream")
    server.start()


async def test_kills_in_mid_flow_lose_nothing(server: EmbeddedNats, pipe: NatsTransport) -> None:
    seen = Seen()
    await pipe.consume(stock(pipe, ack_wait=1.0), seen)
    published: list[asyncio.Future[None]] = []
    for kill in range(3):
        for number in range(500):
            published.append(pipe.publish(to_stock(pipe), message(f"{kill}-{number}")))
            if number % 50 == 0:
                await asyncio.sleep(0.001)
        server.kill()
        published += [pipe.publish(to_stock(pipe), message(f"{kill}-down-{n}")) for n in range(50)]
        await eventually(lambda: not pipe.connected)
        server.start()
    await asyncio.wait_for(asyncio.gather(*published), 30)
    await eventually(lambda: len(seen.distinct) == len(published), 30)
    assert pipe.connected
    assert pipe.backlog == 0


async def test_what_was_unsettled_when_the_server_died_comes_again(
    server: EmbeddedNats, pipe: NatsTransport
) -> None:
    seen = Seen(keep)
    await pipe.consume(stock(pipe, ack_wait=0.5), seen)
    await pipe.publish(to_stock(pipe), message("a"))
    await eventually(lambda: seen.ids == ["a"])
    server.kill()
    server.start()
    await eventually(lambda: len(seen.ids) >= 2)


async def test_an_ack_given_during_the_outage_counts_after_it(
    server: EmbeddedNats, pipe: NatsTransport
) -> None:
    seen = Seen(keep)
    await pipe.consume(stock(pipe, ack_wait=2.0), seen)
    await pipe.publish(to_stock(pipe), message("a"))
    await eventually(lambda: seen.ids == ["a"])
    server.kill()
    await eventually(lambda: not pipe.connected)
    seen.deliveries[0].ack()
    server.start()

    async def settled() -> tuple[int, int]:
        [commands, *_] = await pipe.streams()
        return commands.consumers[0].unacked, commands.consumers[0].floor

    await eventually_is(settled, (0, 1))
    assert seen.ids == ["a"]


async def test_a_wiped_store_is_set_up_again_and_the_flow_goes_on(
    server: EmbeddedNats, pipe: NatsTransport
) -> None:
    seen = Seen()
    await pipe.consume(stock(pipe), seen)
    for round in range(3):
        await pipe.publish(to_stock(pipe), message(f"before {round}"))
        await eventually(lambda: f"before {round}" in seen.ids)  # noqa: B023
        wipe(server)
        sent = [pipe.publish(to_stock(pipe), message(f"{round}/{n}")) for n in range(100)]
        await asyncio.wait_for(asyncio.gather(*sent), 20)
    await eventually(lambda: len(seen.distinct) == 3 * 101)


@pytest.mark.parametrize("when", ["during the outage", "after it"])
async def test_an_ack_from_before_the_wipe_settles_no_other_message(
    server: EmbeddedNats, pipe: NatsTransport, when: str
) -> None:
    seen = Seen(keep)
    await pipe.consume(stock(pipe, ack_wait=1.0), seen)
    await pipe.publish(to_stock(pipe), message("old"))  # number 1 of the old stream
    await eventually(lambda: seen.ids == ["old"])
    old = seen.deliveries[0]
    server.kill()
    await eventually(lambda: not pipe.connected)
    if when == "during the outage":
        old.ack()
        # Somebody else is quicker than we are to set up the streams and send number 1 again.
    wipe(server)
    quick = await NatsTransport.connect(server.url, limits=SMALL)
    await quick.consume(stock(quick, ack_wait=1.0), seen)
    await quick.publish(to_stock(quick), message("new"))
    await eventually(lambda: "new" in seen.ids and pipe.connected)
    old.ack()
    await eventually(lambda: seen.ids.count("new") >= 2)
    await quick.close()


@pytest.mark.parametrize("what", ["consumer", "stream"])
async def test_what_somebody_deleted_is_created_again(
    server: EmbeddedNats, pipe: NatsTransport, what: str
) -> None:
    seen = Seen()
    await pipe.consume(stock(pipe), seen)
    await pipe.publish(to_stock(pipe), message("before"))
    await eventually(lambda: seen.ids == ["before"])
    other = await stranger(server.url)
    named = "ES_main_CMD.svc-stock" if what == "consumer" else "ES_main_CMD"
    await ask_jetstream(other, f"{what.upper()}.DELETE.{named}")
    await other.close()
    await asyncio.wait_for(pipe.publish(to_stock(pipe), message("after")), 20)
    await eventually(lambda: "after" in seen.ids)


async def test_a_stream_that_only_a_publisher_misses_is_created_again(
    server: EmbeddedNats, pipe: NatsTransport
) -> None:
    other = await stranger(server.url)
    await ask_jetstream(other, "STREAM.DELETE.ES_main_CMD")
    await asyncio.wait_for(pipe.publish(to_stock(pipe), message("a")), 20)
    [commands, *_] = await pipe.streams()
    assert commands.messages == 1
    await other.close()


async def test_what_gets_lost_on_the_way_is_sent_again(
    pipe: NatsTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.adapters.nats_publish.CONFIRM_SECONDS", 0.1)
    send, lost = Link.send, 5

    def losing(
        link: Link,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        nonlocal lost
        if headers and lost:
            lost -= 1
        else:
            send(link, subject, payload, reply, headers)

    monkeypatch.setattr(Link, "send", losing)
    sent = [pipe.publish(to_stock(pipe), message(f"m{number}")) for number in range(10)]
    await asyncio.wait_for(asyncio.gather(*sent), 20)
    [commands, *_] = await pipe.streams()
    assert commands.messages == 10


async def test_a_server_slower_than_our_patience_gets_everything_once(
    pipe: NatsTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.adapters.nats_publish.CONFIRM_SECONDS", 0.1)
    monkeypatch.setattr("es_saga.adapters.nats_publish.LOOK_SECONDS", 0.05)
    loop, send = asyncio.get_running_loop(), Link.send

    def slow(
        link: Link,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        loop.call_later(0.5, send, link, subject, payload, reply, headers)

    monkeypatch.setattr(Link, "send", slow)
    sent = [pipe.publish(to_stock(pipe), message(f"m{number}")) for number in range(10)]
    await asyncio.wait_for(asyncio.gather(*sent), 5)
    [commands, *_] = await pipe.streams()
    assert commands.messages == 10


async def test_a_question_to_a_dying_server_ends_with_the_connection(
    server: EmbeddedNats, pipe: NatsTransport
) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    server.kill()  # which we have not noticed yet
    assert pipe.connected
    with pytest.raises(Unavailable, match="lost"):
        await pipe.streams()
    assert loop.time() - begun < 4


async def test_a_stream_with_other_settings_is_mended(server: EmbeddedNats) -> None:
    first = await NatsTransport.connect(server.url, limits=SMALL)
    await first.close()
    second = await NatsTransport.connect(server.url, limits=StreamLimits(max_age=3600.0))
    other = await stranger(server.url)
    config = (await ask_jetstream(other, "STREAM.INFO.ES_main_CMD"))["config"]
    assert config["max_age"] == 3600 * 10**9
    assert config["max_bytes"] == StreamLimits().cmd_bytes
    await other.close()
    await second.close()


async def test_a_full_stream_makes_publishers_wait_until_there_is_room(
    server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.adapters.nats_publish.WINDOW", 4)
    pipe = await NatsTransport.connect(server.url, limits=StreamLimits(cmd_bytes=1024**2))
    sent = [pipe.publish(to_stock(pipe), message(f"m{n}", data="x" * 100_000)) for n in range(15)]
    await eventually(lambda: sum(future.done() for future in sent) >= 9)
    # Another stream is not held up by it.
    await pipe.publish(pipe.subjects.inbox("app", "order-1"), message("reply"))
    assert not all(future.done() for future in sent)
    seen = Seen()
    await pipe.consume(stock(pipe), seen)
    async with asyncio.timeout(20):
        while not all(future.done() for future in sent):
            await pipe.trim()
            await asyncio.sleep(0.02)
    await eventually(lambda: len(seen.distinct) == 15)
    await pipe.close()


async def test_several_processes_share_a_consumer_and_one_takes_over(server: EmbeddedNats) -> None:
    one = await NatsTransport.connect(server.url, limits=SMALL)
    two = await NatsTransport.connect(server.url, limits=SMALL)
    dying, living = Seen(keep), Seen()
    await one.consume(stock(one, max_ack_pending=10, ack_wait=1.0), dying)
    await asyncio.gather(*(one.publish(to_stock(one), message(f"m{n}")) for n in range(50)))
    await eventually(lambda: len(dying.ids) == 10)
    await one.close()  # with ten of them unsettled
    await two.consume(stock(two, max_ack_pending=10, ack_wait=1.0), living)
    await eventually(lambda: len(living.distinct) == 50)
    await two.close()


async def test_a_client_that_was_shut_out_connects_again_with_its_subscriptions(
    server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py closes for good on an error such as an expired credential; the transport does not."""
    clients: list[Client] = []

    def remembered() -> Client:
        clients.append(Client())
        return clients[-1]

    monkeypatch.setattr("es_saga.adapters.nats_link.Client", remembered)
    pipe = await NatsTransport.connect(server.url, limits=SMALL)

    def answer(delivery: Delivery) -> None:
        if delivery.envelope.replyto:
            pipe.tell(delivery.envelope.replyto, message("r"))
        delivery.ack()

    seen = Seen(answer)
    await pipe.consume(stock(pipe), seen)
    await pipe.publish(to_stock(pipe), message("before"))
    await eventually(lambda: seen.ids == ["before"])  # in flight, it would wait for ack_wait
    for closed in (1, 2):
        await clients[-1].close()
        assert not pipe.connected
        after = pipe.publish(to_stock(pipe), message(f"after {closed}"))
        await asyncio.wait_for(after, 20)
        assert (await pipe.request(to_stock(pipe), message(f"q{closed}"), timeout=10)).id == "r"
    await eventually(lambda: seen.distinct == {"before", "after 1", "q1", "after 2", "q2"})
    assert len(clients) == 3
    await pipe.close()


async def test_closing_in_an_outage_does_not_wait_for_its_end(server: EmbeddedNats) -> None:
    pipe = await NatsTransport.connect(server.url, limits=SMALL)
    await pipe.consume(stock(pipe), keep)
    server.kill()
    await eventually(lambda: not pipe.connected)
    held = pipe.publish(to_stock(pipe), message("a"))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await pipe.close()
    assert loop.time() - begun < 8
    with pytest.raises(Unavailable, match="before the message was confirmed"):
        await held


async def test_no_server_is_a_clear_error_at_once(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path / "nats") as server:
        url = server.url
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:\d+: .*Is nats-server running"):
        await NatsTransport.connect(url.replace("nats://", "nats://me:secret@"))
    assert loop.time() - begun < 4


async def test_closing_never_raises_whatever_has_become_of_the_socket(
    server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = await NatsTransport.connect(server.url)
    close = Client.close

    async def closed_meanwhile(client: Client) -> None:
        await close(client)
        raise RuntimeError("the handler is closed")  # as uvloop says

    monkeypatch.setattr(Client, "close", closed_meanwhile)
    await pipe.close()
    assert not pipe.connected


async def test_dead_letters_wait_for_the_end_of_an_outage(
    server: EmbeddedNats, pipe: NatsTransport
) -> None:
    seen = Seen(keep)
    await pipe.consume(stock(pipe, ack_wait=5.0), seen)
    await pipe.publish(to_stock(pipe), message("a"))
    await eventually(lambda: seen.ids == ["a"])
    server.kill()
    await eventually(lambda: not pipe.connected)
    seen.deliveries[0].reject("broken")
    server.start()
    await eventually(lambda: pipe.connected)
    [letter] = await dead_letters(pipe, 1)
    assert letter.data["reason"] == "broken"

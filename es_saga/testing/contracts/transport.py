"""What every transport promises, whatever the broker.

    from es_saga.testing.contracts import Pipe, TransportContract

    class TestMyTransport(TransportContract):
        @pytest.fixture
        async def pipe(self) -> AsyncIterator[Pipe]:
            transport = await MyTransport.connect()
            yield transport
            await transport.close()

It waits for real redeliveries, and so takes five to ten seconds.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Outcome
from es_saga.engine.ports import Consumer, Delivery
from es_saga.testing.contracts.loop import OnAsyncio
from es_saga.testing.contracts.pipes import (
    Pipe,
    Seen,
    dead_letters,
    eventually,
    keep,
    message,
    stock,
    to_stock,
)


class TransportContract(OnAsyncio):
    """Subclass it, and give it the fixture `pipe`: with nothing on its way, for each test anew."""

    @pytest.fixture
    def pipe(self) -> AsyncIterator[Pipe]:
        """Yours."""
        pytest.fail("Give your suite a fixture `pipe`.")

    async def test_what_is_sent_arrives_as_it_was(self, pipe: Pipe) -> None:
        seen = Seen()
        await pipe.consume(stock(pipe), seen)
        sent = message(
            "order-1/ship/do/1",
            sagaid="order-1",
            sagatype="order",
            step="ship",
            commandid="order-1/ship/do",
            attempt=2,
            replyto="saga.v1.x.rpl.app.3.order-1",
            deadline=1.5,
            outcome=Outcome.REFUSED,
            direction="CANCEL",
            retryafter=0.25,
            data={"none": None, "text": "ä€🙂", "list": [1, {"deep": None}], "empty": {}},
        )
        await pipe.publish(to_stock(pipe), sent)
        await eventually(lambda: len(seen.ids) == 1)
        assert seen.deliveries[0].envelope == sent
        assert seen.deliveries[0].delivered == 1

    async def test_an_acked_message_is_not_delivered_again(self, pipe: Pipe) -> None:
        seen = Seen()
        await pipe.consume(stock(pipe, ack_wait=0.3), seen)
        await pipe.publish(to_stock(pipe), message("once"))
        await eventually(lambda: seen.ids == ["once"])
        witness = Seen(keep)  # its redelivery shows that the acked one's time has passed
        seen.settle = witness
        await pipe.publish(to_stock(pipe), message("kept"))
        await eventually(lambda: witness.ids.count("kept") >= 2)
        assert seen.ids.count("once") == 1

    async def test_an_unsettled_message_is_delivered_again(self, pipe: Pipe) -> None:
        seen = Seen(keep)
        await pipe.consume(stock(pipe, ack_wait=0.2), seen)
        await pipe.publish(to_stock(pipe), message("lost"))
        await eventually(lambda: len(seen.ids) >= 3)
        assert [delivery.delivered for delivery in seen.deliveries[:3]] == [1, 2, 3]

    async def test_backoff_says_when_it_comes_again(self, pipe: Pipe) -> None:
        times: list[float] = []
        loop = asyncio.get_running_loop()
        await pipe.consume(stock(pipe, backoff=(0.1, 0.6)), lambda _: times.append(loop.time()))
        await pipe.publish(to_stock(pipe), message("again"))
        await eventually(lambda: len(times) >= 4)
        first, second, third = (after - before for before, after in itertools.pairwise(times[:4]))
        assert 0.09 <= first < 0.55
        assert second >= 0.55
        assert third >= 0.55

    async def test_a_message_put_back_comes_again_after_its_delay(self, pipe: Pipe) -> None:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        def settle(delivery: Delivery) -> None:
            times.append(loop.time())
            if delivery.delivered == 1:
                delivery.nak(0.3)
            elif delivery.delivered == 2:
                delivery.nak()
            else:
                delivery.ack()

        await pipe.consume(stock(pipe), settle)
        await pipe.publish(to_stock(pipe), message("later"))
        await eventually(lambda: len(times) == 3)
        assert times[1] - times[0] >= 0.29
        assert times[2] - times[1] < 5.0

    async def test_a_message_is_settled_once(self, pipe: Pipe) -> None:
        def settle(delivery: Delivery) -> None:
            if delivery.envelope.id == "a":
                delivery.ack()
                delivery.nak()
            delivery.reject("bad")

        seen = Seen(settle)
        await pipe.consume(stock(pipe), seen)
        await pipe.publish(to_stock(pipe), message("a"))
        await pipe.publish(to_stock(pipe), message("b"))
        letters = await dead_letters(pipe, 1)
        assert [letter.causationid for letter in letters] == ["b"]
        assert seen.ids == ["a", "b"]

    async def test_one_id_is_delivered_once_and_another_attempt_gets_through(
        self, pipe: Pipe
    ) -> None:
        """Law L46: a deliberate second sending is never swallowed."""
        seen = Seen()
        await pipe.consume(stock(pipe), seen)
        for message_id in ("order-1/ship/do/1", "order-1/ship/do/1", "order-1/ship/do/2"):
            await pipe.publish(to_stock(pipe), message(message_id))
        await eventually(lambda: len(seen.ids) >= 2)
        assert seen.ids == ["order-1/ship/do/1", "order-1/ship/do/2"]

    async def test_a_rejected_message_is_a_dead_letter_and_not_delivered_again(
        self, pipe: Pipe
    ) -> None:
        seen = Seen(lambda delivery: delivery.reject("bad payload!", "the sku is missing"))
        await pipe.consume(stock(pipe, ack_wait=0.3), seen)
        sent = message("order-1/reserve/do/1", sagaid="order-1", step="reserve", attempt=3)
        await pipe.publish(to_stock(pipe), sent)
        [letter] = await dead_letters(pipe, 1)
        assert letter.type == "DeadLetter"
        assert letter.source == "svc-stock"
        assert (letter.sagaid, letter.step, letter.attempt) == ("order-1", "reserve", 3)
        assert letter.causationid == "order-1/reserve/do/1"
        assert letter.data["reason"] == "bad-payload-"
        assert letter.data["detail"] == "the sku is missing"
        assert letter.data["subject"] == to_stock(pipe)
        assert '"sku":"tea"' in letter.data["body"]
        witness = Seen(keep)
        seen.settle = witness
        await pipe.publish(to_stock(pipe), message("kept"))
        await eventually(lambda: witness.ids.count("kept") >= 3)
        assert seen.ids.count("order-1/reserve/do/1") == 1

    async def test_a_dead_letter_keeps_the_first_4_kib(self, pipe: Pipe) -> None:
        await pipe.consume(stock(pipe), Seen(lambda delivery: delivery.reject("too-much")))
        await pipe.publish(to_stock(pipe), message("big", data={"text": "€" * 50_000}))
        [letter] = await dead_letters(pipe, 1)
        assert 4090 <= len(letter.data["body"].encode()) <= 4096
        assert letter.data["size"] > 150_000

    @pytest.mark.parametrize("how", ["put back", "unsettled"])
    async def test_after_its_last_delivery_a_message_is_a_dead_letter(
        self, pipe: Pipe, how: str
    ) -> None:
        def put_back(delivery: Delivery) -> None:
            delivery.nak(
                0.0 if delivery.delivered < 3 else 60.0
            )  # the last delay is not waited for

        seen = Seen(keep if how == "unsettled" else put_back)
        await pipe.consume(stock(pipe, backoff=(0.1,), max_deliver=3), seen)
        await pipe.publish(to_stock(pipe), message("poison"))
        [letter] = await dead_letters(pipe, 1, seconds=10)
        assert letter.data["reason"] == "max-deliver"
        assert seen.ids == ["poison"] * 3

    async def test_a_handler_that_raises_gets_the_message_again(self, pipe: Pipe) -> None:
        def settle(delivery: Delivery) -> None:
            if delivery.delivered == 1:
                raise RuntimeError("a fault of ours")
            delivery.ack()

        seen = Seen(settle)
        await pipe.consume(stock(pipe), seen)
        await pipe.publish(to_stock(pipe), message("a"))
        await eventually(lambda: len(seen.ids) == 2)

    async def test_every_consumer_of_a_stream_gets_the_message(self, pipe: Pipe) -> None:
        one, other = Seen(), Seen()
        await pipe.consume(stock(pipe), one)
        observer = Consumer("svc-audit", "CMD", f"{pipe.subjects.root}.cmd.>")
        await pipe.consume(observer, other)
        await pipe.publish(to_stock(pipe), message("both"))
        await eventually(lambda: one.ids == other.ids == ["both"])

    async def test_subscribers_of_one_durable_consumer_share_its_messages(self, pipe: Pipe) -> None:
        one, other = Seen(), Seen()
        # Few at a time, so that neither can take all before the other one asks.
        await pipe.consume(stock(pipe, max_ack_pending=4), one)
        await pipe.consume(stock(pipe, max_ack_pending=4), other)
        for number in range(200):
            await pipe.publish(to_stock(pipe), message(f"m{number}"))
        await eventually(lambda: len(one.ids) + len(other.ids) >= 200)
        assert one.distinct.isdisjoint(other.distinct)
        assert len(one.distinct | other.distinct) == 200
        assert one.ids
        assert other.ids

    async def test_a_stopped_subscriber_leaves_the_rest_to_the_others(self, pipe: Pipe) -> None:
        first, second = Seen(), Seen()
        subscription = await pipe.consume(stock(pipe), first)
        await pipe.publish(to_stock(pipe), message("early"))
        await eventually(lambda: first.ids == ["early"])
        await subscription.stop()
        await pipe.publish(to_stock(pipe), message("late"))
        await pipe.consume(stock(pipe), second)
        await eventually(lambda: second.ids == ["late"])
        assert first.ids == ["early"]

    async def test_after_the_stop_nothing_reaches_the_handler_and_others_get_it_at_once(
        self,
        pipe: Pipe,
    ) -> None:
        begun = asyncio.Event()
        stopping = False
        late: list[str] = []

        def settle(delivery: Delivery) -> None:
            begun.set()
            if stopping:
                late.append(delivery.envelope.id)
            delivery.ack()

        sent = [f"m{number}" for number in range(2_000)]
        await asyncio.gather(*(pipe.publish(to_stock(pipe), message(name)) for name in sent))
        first, second = Seen(settle), Seen()
        subscription = await pipe.consume(stock(pipe, max_ack_pending=2_000), first)
        await begun.wait()
        stopping = True  # with hundreds on their way
        await subscription.stop()
        await pipe.consume(stock(pipe, max_ack_pending=2_000), second)
        await eventually(lambda: first.distinct | second.distinct == set(sent), 15)  # not 30
        assert late == []
        assert first.distinct.isdisjoint(second.distinct)

    async def test_what_was_delivered_can_be_settled_after_the_stop(self, pipe: Pipe) -> None:
        seen = Seen(keep)
        subscription = await pipe.consume(stock(pipe, ack_wait=0.4), seen)
        await pipe.publish(to_stock(pipe), message("held"))
        await eventually(lambda: seen.ids == ["held"])
        await subscription.stop()
        seen.deliveries[0].ack()
        await pipe.publish(to_stock(pipe), message("next"))
        later = Seen(keep)
        await pipe.consume(stock(pipe, ack_wait=0.4), later)
        await eventually(lambda: later.ids.count("next") >= 2)
        assert "held" not in later.ids

    async def test_only_so_many_are_unsettled_at_once(self, pipe: Pipe) -> None:
        seen = Seen(keep)
        await pipe.consume(stock(pipe, max_ack_pending=3), seen)
        for number in range(10):
            await pipe.publish(to_stock(pipe), message(f"m{number}"))
        await eventually(lambda: len(seen.ids) == 3)
        seen.deliveries[0].ack()
        await eventually(lambda: len(seen.ids) == 4)
        assert seen.ids == ["m0", "m1", "m2", "m3"]

    async def test_a_consumer_gets_what_matches_its_filter_only(self, pipe: Pipe) -> None:
        subjects = pipe.subjects
        part, wild = Seen(), Seen()
        await pipe.consume(Consumer("pm-app-13", "RPL", subjects.inbox_of_part("app", 13)), part)
        await pipe.consume(
            Consumer("svc-charges", "CMD", f"{subjects.root}.cmd.*.*.ChargeCard"), wild
        )
        await pipe.publish(subjects.inbox("app", "order-1"), message("to 13"))  # part 13
        await pipe.publish(subjects.inbox("app", "order-2"), message("to another part"))
        await pipe.publish(subjects.inbox("other", "order-1"), message("to another app"))
        await pipe.publish(subjects.command("card", 1, "ChargeCard"), message("charge"))
        await pipe.publish(subjects.command("card", 1, "RefundCard"), message("refund"))
        await pipe.publish(subjects.inbox("app", "order-1"), message("last"))
        await eventually(lambda: part.ids == ["to 13", "last"] and wild.ids == ["charge"])

    async def test_what_is_sent_before_there_is_a_consumer_waits_for_it(self, pipe: Pipe) -> None:
        await pipe.publish(to_stock(pipe), message("early"))
        seen = Seen()
        await pipe.consume(stock(pipe), seen)
        await eventually(lambda: seen.ids == ["early"])

    async def test_messages_of_one_subject_keep_their_order(self, pipe: Pipe) -> None:
        seen = Seen()
        await pipe.consume(stock(pipe), seen)
        sent = [f"m{number}" for number in range(2_000)]
        await asyncio.gather(*(pipe.publish(to_stock(pipe), message(name)) for name in sent))
        await eventually(lambda: len(seen.ids) == len(sent))
        assert seen.ids == sent

    async def test_an_oversized_message_is_refused(self, pipe: Pipe) -> None:
        room = MAX_PAYLOAD_BYTES - len(message("fits", data="").model_dump_json(exclude_none=True))
        await pipe.publish(to_stock(pipe), message("fits", data="x" * room))
        with pytest.raises(InvalidInput, match="262144"):
            await pipe.publish(to_stock(pipe), message("over", data="x" * (room + 1)))
        seen = Seen()
        await pipe.consume(stock(pipe), seen)
        await eventually(lambda: seen.ids == ["fits"])

    async def test_what_no_stream_takes_is_refused(self, pipe: Pipe) -> None:
        for subject in ("orders.new", "saga.v1.nobody.cmd.stock.1.X", "_INBOX.abc"):
            with pytest.raises(InvalidInput, match="subject"):
                await pipe.publish(subject, message("a"))

    async def test_what_json_cannot_hold_is_refused(self, pipe: Pipe) -> None:
        with pytest.raises(InvalidInput, match="JSON"):
            await pipe.publish(to_stock(pipe), message("a", data={"object": object()}))

    async def test_a_request_gets_what_is_told_to_its_address(self, pipe: Pipe) -> None:
        def answer(delivery: Delivery) -> None:
            asked = delivery.envelope
            assert asked.replyto is not None
            pipe.tell(asked.replyto, message(f"{asked.id}/r", data={"n": asked.data["n"] * 2}))
            delivery.ack()

        await pipe.consume(stock(pipe), answer)
        answers = await asyncio.gather(
            *(
                pipe.request(to_stock(pipe), message(f"q{n}", data={"n": n}), timeout=10)
                for n in range(20)
            )
        )
        assert [(a.id, a.data["n"]) for a in answers] == [(f"q{n}/r", 2 * n) for n in range(20)]

    async def test_a_request_that_nobody_answers_ends_in_time(self, pipe: Pipe) -> None:
        with pytest.raises(Unavailable, match="within"):
            await pipe.request(to_stock(pipe), message("q"), timeout=0.2)
        seen = Seen()
        await pipe.consume(stock(pipe), seen)
        await eventually(lambda: seen.ids == ["q"])  # it may still be handled

    async def test_telling_nobody_does_no_harm(self, pipe: Pipe) -> None:
        for address in ("_INBOX.nobody.1", "bad subject", ""):
            pipe.tell(address, message("a"))
        pipe.tell("_INBOX.nobody.2", message("b", data="x" * MAX_PAYLOAD_BYTES))
        seen = Seen()
        await pipe.consume(stock(pipe), seen)
        await pipe.publish(to_stock(pipe), message("c"))
        await eventually(lambda: seen.ids == ["c"])

    async def test_an_impossible_consumer_is_refused(self, pipe: Pipe) -> None:
        for consumer in (
            Consumer("a.b", "CMD", pipe.subjects.commands_of("stock")),
            Consumer("svc-stock", "DLQ", pipe.subjects.commands_of("stock")),
        ):
            with pytest.raises(InvalidInput, match="cannot be a consumer"):
                await pipe.consume(consumer, keep)

    async def test_a_closed_transport_takes_nothing(self, pipe: Pipe) -> None:
        await pipe.close()
        await pipe.close()
        with pytest.raises(Unavailable, match="closed"):
            await pipe.publish(to_stock(pipe), message("late"))

"""The server over a whole transport: the one in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from es_saga.adapters.memory import MemoryTransport
from es_saga.core.messages import Envelope, Outcome, Subjects, part_of
from es_saga.engine.ports import Consumer, Delivery
from es_saga.participant import Server
from tests.participant.warehouse import (
    STOCK,
    Hold,
    Release,
    ask,
    eventually,
    holds,
    left,
    warehouse,
)

pytestmark = pytest.mark.anyio

SUBJECTS = Subjects()


@pytest.fixture
async def transport() -> AsyncIterator[MemoryTransport]:
    transport = MemoryTransport()
    yield transport
    await transport.close()


def _send(transport: MemoryTransport, command: Envelope) -> None:
    saga = command.sagaid or ""
    addressed = command.model_copy(update={"replyto": SUBJECTS.inbox("shop", saga)})
    subject = SUBJECTS.command("stock", part_of(saga), command.type)
    transport.publish(subject, addressed)


async def _read_replies(transport: MemoryTransport) -> list[Envelope]:
    """A list that the replies come into."""
    replies: list[Envelope] = []

    def receive(delivery: Delivery) -> None:
        replies.append(delivery.envelope)
        delivery.ack()

    await transport.consume(
        Consumer(name="pm-shop", stream="RPL", filter=f"{SUBJECTS.root}.rpl.shop.>"), receive
    )
    return replies


@pytest.mark.requirement("R067", "R028", "R029")
async def test_two_servers_share_the_work_and_each_command_acts_once(
    transport: MemoryTransport, engine: sa.Engine
) -> None:
    replies = await _read_replies(transport)
    async with Server(warehouse(), engine, transport), Server(warehouse(), engine, transport):
        for attempt in (1, 2):
            for n in range(100):
                hold = Hold(sku="apple", hold=f"h-{n}")
                _send(transport, ask(hold, f"s-{n}", attempt=attempt))
        await eventually(lambda: len(replies) >= 200)
        for n in range(0, 100, 2):
            _send(transport, ask(Release(), f"s-{n}", undo=True))
        await eventually(lambda: len(replies) >= 250)
    assert Counter(reply.outcome for reply in replies) == {Outcome.SUCCEEDED: 250}
    assert holds(engine) == {f"h-{n}" for n in range(1, 100, 2)}
    assert left(engine, "apple") == STOCK["apple"] - 50


@pytest.mark.requirement("R065")
async def test_a_request_is_answered_to_the_one_who_asked(
    transport: MemoryTransport, engine: sa.Engine
) -> None:
    async with Server(warehouse(), engine, transport):
        reply = await transport.request(
            SUBJECTS.command("stock", 0, "Hold"), ask(Hold(sku="pear", hold="h")), timeout=10
        )
    assert (reply.outcome, reply.data) == (Outcome.SUCCEEDED, {"hold": "h"})


async def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(
    transport: MemoryTransport, engine: sa.Engine
) -> None:
    replies = await _read_replies(transport)
    async with Server(warehouse(), engine, transport):
        poison = ask(Hold(sku="pear", hold="h"), "s-poison").model_copy(update={"data": [1]})
        _send(transport, poison)
        _send(transport, ask(Hold(sku="pear", hold="h"), "s-fine"))
        await eventually(lambda: len(replies) == 2)
    outcomes = {reply.sagaid: (reply.outcome, reply.retryafter) for reply in replies}
    assert outcomes == {
        "s-poison": (Outcome.FAILED, -1.0),
        "s-fine": (Outcome.SUCCEEDED, None),
    }
    assert len(await transport.dead_letters()) == 1

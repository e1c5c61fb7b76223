"""A small saga, participants that answer as a test tells them, and a manager around them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from es_saga import Command, Message, Refusal, Retry, Saga
from es_saga.adapters.clock import SystemClock
from es_saga.core.aggregate import SagaState, fold
from es_saga.core.compiled import Definition
from es_saga.core.events import SagaEvent
from es_saga.core.messages import Envelope, Outcome, Subjects
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Clock, Consumer, Delivery, Store, Subscription, Transport

PATIENCE = timedelta(seconds=1)
RETRY = Retry(first=timedelta(seconds=0.1), attempts=3, jitter=0.0)


class Errand(Message):
    """Fetch a thing, pay for it, bring it home."""

    thing: str
    pence: int = 1


class Fetched(Message):
    shelf: str


class Paid(Message):
    receipt: str


class Fetch(Command[Fetched]):
    to = "shop"
    thing: str


class PutBack(Command[None]):
    to = "shop"
    thing: str


class Pay(Command[Paid]):
    to = "till"
    pence: int


class GiveBack(Command[None]):
    to = "till"
    pence: int


class Bring(Command[None]):
    to = "porter"
    shelf: str
    receipt: str


class No(Refusal):
    why: str


errand = Saga("errand", Errand)


@errand.step(timeout=PATIENCE, retry=RETRY)
def fetch(e: Errand) -> Fetch:
    if e.thing == "poison":
        raise ValueError("nobody fetches poison")
    return Fetch(thing=e.thing)


@fetch.compensation(timeout=PATIENCE, retry=Retry(first=timedelta(seconds=0.1), attempts=None))
def put_back(e: Errand, fetched: Fetched | None) -> PutBack:
    return PutBack(thing=e.thing)


@errand.step(timeout=PATIENCE, retry=RETRY)
def pay(e: Errand) -> Pay:
    return Pay(pence=e.pence)


@pay.compensation
def give_back(e: Errand, paid: Paid | None) -> GiveBack:
    return GiveBack(pence=e.pence)


@errand.pivot(timeout=PATIENCE, retry=RETRY)
def bring(e: Errand, fetched: Fetched, paid: Paid) -> Bring:
    return Bring(shelf=fetched.shelf, receipt=paid.receipt)


class Look(Command[Fetched]):
    to = "shop"
    thing: str


glance = Saga("glance", Errand)
"""A second type, beside the first."""


@glance.check
def look(e: Errand) -> Look:
    return Look(thing=e.thing)


Answer = Message | None | Exception
Script = Callable[[Envelope], Answer | list[Answer]]

REPLIES: dict[str, Message | None] = {
    "Fetch": Fetched(shelf="s1"),
    "Look": Fetched(shelf="s1"),
    "Pay": Paid(receipt="r1"),
}


class Silence(Exception):
    """No answer is sent."""


def willing(envelope: Envelope) -> Answer:
    """Answer everything as hoped for."""
    return REPLIES.get(envelope.type)


def refusing(command: str) -> Callable[[Envelope], Answer]:
    """Answer as hoped for, but refuse one command."""
    return lambda envelope: No(why="no") if envelope.type == command else willing(envelope)


@dataclass
class Town:
    """Participants in one: answers by script, and remembers what it was asked."""

    transport: Transport
    subjects: Subjects
    script: Script = willing
    asked: list[Envelope] = field(default_factory=list[Envelope])
    _subscriptions: list[Subscription] = field(default_factory=list[Subscription])

    def count(self) -> Counter[str]:
        """How often each message id was delivered."""
        return Counter(envelope.id for envelope in self.asked)

    async def open(self) -> None:
        for service in ("shop", "till", "porter"):
            consumer = Consumer(f"svc-{service}", "CMD", self.subjects.commands_of(service))
            self._subscriptions.append(await self.transport.consume(consumer, self._take))

    async def close(self) -> None:
        for subscription in self._subscriptions:
            await subscription.stop()

    def _take(self, delivery: Delivery) -> None:
        envelope = delivery.envelope
        self.asked.append(envelope)
        answers = self.script(envelope)
        for answer in answers if isinstance(answers, list) else [answers]:
            if not isinstance(answer, Silence):
                reply = reply_to(envelope, answer)
                assert envelope.replyto is not None
                self.transport.publish(envelope.replyto, reply)
        delivery.ack()


def reply_to(command: Envelope, answer: Answer, **changes: Any) -> Envelope:
    """The envelope of an answer."""
    outcome = Outcome.SUCCEEDED
    data: Any = None
    if isinstance(answer, Exception):
        outcome = Outcome.FAILED
        data = {"error": type(answer).__name__, "detail": str(answer)}
    elif isinstance(answer, Refusal):
        outcome = Outcome.REFUSED
    if isinstance(answer, Message):
        data = answer.model_dump(mode="json")
    fields: dict[str, Any] = {
        "id": f"{command.id}/r",
        "source": "town",
        "type": type(answer).__name__,
        "sagaid": command.sagaid,
        "step": command.step,
        "commandid": command.commandid,
        "attempt": command.attempt,
        "outcome": outcome,
        "causationid": command.id,
        "data": data,
    }
    return Envelope(**(fields | changes))


@dataclass
class World:
    """A store, a transport, a town and a manager."""

    store: Store
    transport: Transport
    subjects: Subjects
    clock: Clock
    town: Town
    manager: ProcessManager

    async def run(self, thing: str = "lamp", saga_id: str | None = None) -> SagaState:
        """Start an errand and wait for its end."""
        state, _ = await self.manager.begin(errand, Errand(thing=thing), saga_id=saga_id)
        return await self.closed(state.saga_id)

    async def state(self, saga_id: str) -> SagaState | None:
        return fold(saga_id, (await self.store.load([saga_id])).get(saga_id, ()))

    async def history(self, saga_id: str) -> list[str]:
        """The events of a saga, each as `Kind step`."""
        return [label(event) for event in (await self.store.load([saga_id]))[saga_id]]

    async def closed(self, saga_id: str) -> SagaState:
        return await self.until(saga_id, lambda state: state.closed is not None)

    async def until(self, saga_id: str, reached: Callable[[SagaState], bool]) -> SagaState:
        """The saga once it has come so far."""
        async with asyncio.timeout(20):
            while True:
                state = await self.state(saga_id)
                if state is not None and reached(state):
                    return state
                await asyncio.sleep(0.01)


def label(event: SagaEvent) -> str:
    step = getattr(event, "step", None)
    return f"{type(event).__name__} {step}" if step else type(event).__name__


@asynccontextmanager
async def world(
    store: Store,
    transport: Transport,
    *,
    tenant: str = "main",
    script: Script = willing,
    definitions: Sequence[Definition] | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> AsyncGenerator[World]:
    """Everything running; the store and the transport stay open."""
    subjects = Subjects(tenant)
    ticking = clock or SystemClock()
    town = Town(transport, subjects, script)
    await town.open()
    manager = ProcessManager(
        "errands",
        definitions or [errand.definition, glance.definition],
        store=store,
        transport=transport,
        clock=ticking,
        leases=SoleOwner(),
        tenant=tenant,
        **options,
    )
    try:
        async with manager:
            yield World(store, transport, subjects, ticking, town, manager)
    finally:
        await town.close()

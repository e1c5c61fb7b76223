"""The engine alone: one process, messages in memory, the log in a real database.

Every transition commits two events with the status and the audit trail. What the participants would
do is done by `_Answers`, as cheaply as can be; its own processor time is taken around each bundle
of answers, on the loop's thread, and subtracted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import sqlalchemy as sa

from es_saga.adapters.clock import SystemClock
from es_saga.adapters.memory import MemoryTransport
from es_saga.adapters.store import connect
from es_saga.bench.cost import Figures, own_cpu
from es_saga.bench.load import Load, Window
from es_saga.bench.log_floor import Transaction, replay
from es_saga.bench.orders import app
from es_saga.core.messages import Envelope, Outcome
from es_saga.engine.leases import SoleOwner
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Consumer, Delivery
from es_saga.projections.audit import AuditView
from es_saga.projections.status import StatusView
from es_saga.projections.view import Batch, View

IN_FLIGHT: Final = 1_000

MAX_TAPE_EVENTS: Final = 200_000
"""Events of which the floor's transactions are kept."""

_ANSWERS: Final[Mapping[str, tuple[str, dict[str, str]]]] = {
    "ReserveStock": ("StockReserved", {"reservation": "r-0190163d8694739baea5966c26f8ad91"}),
    "ChargeCard": ("CardCharged", {"charge": "c-0190163d8694739baea5966c26f8ad91"}),
    "ShipParcel": ("ParcelShipped", {"parcel": "p-r-0190163d8694739baea5966c26f8ad91"}),
}


class _Answers:
    """Answers every command at once, whoever it is for."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._waiting: list[Delivery] = []
        self.cpu = 0.0
        """Processor seconds spent on it."""

    async def start(self) -> None:
        """Answer from now on."""
        everything = f"{self._transport.subjects.root}.cmd.>"
        consumer = Consumer("svc-bench", "CMD", everything, max_ack_pending=10 * IN_FLIGHT)
        await self._transport.consume(consumer, self._receive)

    def _receive(self, delivery: Delivery) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._answer)
        self._waiting.append(delivery)

    def _answer(self) -> None:
        before = time.thread_time()
        waiting, self._waiting = self._waiting, []
        for delivery in waiting:
            command = delivery.envelope
            assert command.replyto is not None
            kind, data = _ANSWERS[command.type]
            reply = Envelope.model_construct(
                id=f"{command.id}/r",
                source="svc/bench",
                type=kind,
                sagaid=command.sagaid,
                commandid=command.commandid,
                attempt=command.attempt,
                outcome=Outcome.SUCCEEDED,
                data=data,
            )
            self._transport.publish(command.replyto, reply)
            delivery.ack()
        self.cpu += time.thread_time() - before


class _Tape:
    """A view that keeps what each transaction wrote."""

    name = "tape"
    metadata = sa.MetaData()

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self._events = 0

    def apply(self, connection: sa.Connection, batch: Batch) -> None:
        """Keep it, while there is room."""
        if self._events < MAX_TAPE_EVENTS:
            self._events += len(batch.events)
            self.transactions.append(Transaction(list(batch.events), dict(batch.states)))


async def measure(fresh: Callable[[], str], seconds: float) -> Figures:
    """The engine on one kind of database, and the raw driver beside it.

    Args:
        fresh: makes an empty database; its URL.
    """
    tape = _Tape()
    await _run(fresh(), seconds / 2, tape)
    window = await _run(fresh(), seconds)
    floor = await asyncio.to_thread(replay, fresh(), tape.transactions)
    per_transition = 1e6 * window.cpu["engine"] / window.transitions
    events = sum(len(transaction.events) for transaction in tape.transactions)
    return {
        "cpu_us_per_transition": round(per_transition, 1),
        "floor_cpu_us_per_transition": round(floor.cpu_us, 1),
        "floor_ratio": round(per_transition / floor.cpu_us, 2),
        "transitions_per_s": round(window.transitions / window.seconds),
        "floor_transitions_per_s": round(floor.per_second),
        "answering_cpu_us_per_transition": round(
            1e6 * window.cpu["answering"] / window.transitions, 1
        ),
        "events_per_transaction": round(events / len(tape.transactions), 1),
        "in_flight": IN_FLIGHT,
    }


async def _run(url: str, seconds: float, *more: View) -> Window:
    transport = MemoryTransport()
    answers = _Answers(transport)
    await answers.start()
    store = connect(url, views=[StatusView(), AuditView(), *more], migrate=True)
    try:
        async with ProcessManager(
            app.name,
            app.definitions(),
            store=store,
            transport=transport,
            clock=SystemClock(),
            leases=SoleOwner(),
        ) as manager:
            clocks = {"engine": lambda: own_cpu() - answers.cpu, "answering": lambda: answers.cpu}
            return await Load(manager, IN_FLIGHT).measure(seconds, clocks)
    finally:
        await store.close()
        await transport.close()

"""The process manager: reacts to what participants answer by issuing the next commands.

It runs the parts whose leases it holds, several saga types side by side, and may be one of several
processes on one log. It keeps nothing that the log does not have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from pydantic_core import to_json

from es_saga.core.aggregate import SagaState
from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.errors import InvalidInput, SagaError, Unavailable
from es_saga.core.inputs import Start
from es_saga.core.messages import (
    MAX_PAYLOAD_BYTES,
    PARTS,
    Message,
    Subjects,
    check_id,
    part_of,
)
from es_saga.engine.arrival import Arrival
from es_saga.engine.outgoing import Sender
from es_saga.engine.part import Part
from es_saga.engine.ports import (
    Append,
    Clock,
    Consumer,
    Delivery,
    Leases,
    Store,
    Subscription,
    Transport,
)
from es_saga.engine.preview import Preview
from es_saga.engine.registry import Registry
from es_saga.engine.requests import VerbRequest, id_for, new_id, verb_input
from es_saga.engine.surroundings import Surroundings
from es_saga.engine.watcher import Watcher

TICK_SECONDS = 0.05
"""How often timers are looked at: the resolution of every timeout and wait."""

LEASE_SECONDS = 3.0
"""How often leases are renewed, taken and given back."""

RELAY_SECONDS = 1.0
"""How often the relay's positions are written down."""

DRAIN_SECONDS = 15.0
"""How long `stop` waits for what is in the works; what is left is redelivered elsewhere."""

CACHED_SAGAS = 100_000
"""States remembered in one process."""

MAX_ACK_PENDING = 256
"""Unacknowledged deliveries per part."""

_ALL = frozenset(range(PARTS))

Listener = Callable[[Sequence[Append]], None]
_log = structlog.get_logger("es_saga.manager")


class _Running:
    """A part that is ours, with its loop and its subscription."""

    __slots__ = ("loop", "part", "subscription")

    def __init__(self, part: Part, loop: asyncio.Task[None], subscription: Subscription) -> None:
        self.part = part
        self.loop = loop
        self.subscription = subscription


class ProcessManager:
    """Conducts the sagas of one app. An async context manager, or `start` and `stop` it.

    Args:
        app: the deployment's name; its log and its inbox carry it.
        definitions: every saga type, every version still in use.
        leases: which parts are ours.
        refuse_starts: while the log is out of reach, refuse new starts instead of holding them.
        cached: saga states remembered.
        volatile: what the transport holds is lost with this process, so all that is in flight is
            published again at the start.
    """

    def __init__(
        self,
        app: str,
        definitions: Sequence[Definition],
        *,
        store: Store,
        transport: Transport,
        clock: Clock,
        leases: Leases,
        tenant: str = "main",
        refuse_starts: bool = False,
        cached: int = CACHED_SAGAS,
        volatile: bool = False,
    ) -> None:
        self.app = app
        self.registry = Registry(definitions)
        self._subjects = Subjects(tenant)
        self._store = store
        self._transport = transport
        self._clock = clock
        self._leases = leases
        self._listeners: list[Listener] = []
        self._around = Surroundings(
            registry=self.registry,
            store=store,
            transport=transport,
            clock=clock,
            sender=Sender(app, self._subjects),
            cached=max(1, cached // PARTS),
            refuse_starts=refuse_starts,
            committed=self._tell_listeners,
            volatile=volatile,
        )
        self._running: dict[int, _Running] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._relayed: dict[int, int] = {}
        self._adjusting = asyncio.Lock()
        self._watcher = Watcher(app, self.registry, transport, self._subjects, self._handle)

    @property
    def next_due(self) -> float | None:
        """Time alone changes none of its sagas before this; seconds since the epoch."""
        times = (running.part.timers.next_due for running in self._running.values())
        return min((time for time in times if time is not None), default=None)

    @property
    def owned(self) -> frozenset[int]:
        """The parts this process conducts now."""
        return frozenset(self._running)

    def listen(self, listener: Listener) -> None:
        """Have every committed batch of this process told to `listener`; it must be quick."""
        self._listeners.append(listener)

    def _tell_listeners(self, written: Sequence[Append]) -> None:
        for listener in self._listeners:
            listener(written)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> ProcessManager:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Take the parts that are free, then react until `stop`.

        Raises:
            Unavailable: the log or the broker is out of reach.
        """
        try:
            await self._adjust()
            await self._watcher.start()
        except BaseException:
            await self.stop()
            raise
        for body, seconds in (
            (self._tick, TICK_SECONDS),
            (self._adjust, LEASE_SECONDS),
            (self._write_relayed, RELAY_SECONDS),
        ):
            self._tasks.append(asyncio.create_task(self._every(seconds, body)))

    async def stop(self) -> None:
        """Take nothing more, finish what is enqueued, publish it, and give the parts back."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._adjusting.acquire()  # so that no part is left half open or half closed
        except TimeoutError:
            _log.warning("not_adjusted", app=self.app)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._watcher.stop()
        self._adjusting = asyncio.Lock()
        await asyncio.gather(*(self._close(number) for number in list(self._running)))

    async def _every(self, seconds: float, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await self._clock.sleep(seconds)
            try:
                await body()
            except SagaError as error:
                _log.warning("unavailable", doing=body.__name__, error=error.message)
            except Exception:  # a fault of ours must not end what has to go on for ever
                _log.exception("failed", doing=body.__name__)

    async def _tick(self) -> None:
        now = self._clock.now()
        for running in self._running.values():
            running.part.tick(now)

    # ── parts ────────────────────────────────────────────────────────────────────────────────────

    async def _adjust(self) -> None:
        """Run the parts that are held, leave those that are not."""
        async with self._adjusting:
            for running in self._running.values():
                running.part.look_for_rivals()
            before, held = self.owned, await self._leases.held()
            await asyncio.gather(*(self._close(number) for number in before - held))
            # Also what could not be opened, and now belongs to others.
            await self._leases.release(_ALL - held - self.owned)
            for number in sorted(held - before):
                await self._open(number)
            if self.owned != before:
                _log.info("parts_owned", app=self.app, parts=sorted(self.owned))

    async def _open(self, number: int) -> None:
        part = Part(number, self._around)
        await part.open()
        transport = self._transport

        def enqueue(delivery: Delivery) -> None:
            part.put(Arrival("", delivery=delivery, transport=transport))

        subscription = await transport.consume(
            Consumer(
                name=f"pm-{self.app}-{number}",
                stream="RPL",
                filter=self._subjects.inbox_of_part(self.app, number),
                max_ack_pending=MAX_ACK_PENDING,
            ),
            enqueue,
        )
        loop = asyncio.create_task(part.run(), name=f"part-{number}")
        self._running[number] = _Running(part, loop, subscription)

    def _handle(self, saga_id: str, delivery: Delivery) -> bool:
        """Handle what the watcher heard; False: another process conducts the saga's part."""
        running = self._running.get(part_of(saga_id))
        if running is None or running.part.full():
            return False
        running.part.put(Arrival("", delivery=delivery, transport=self._transport))
        return True

    async def _close(self, number: int) -> None:
        running = self._running.pop(number)
        await running.subscription.stop()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await running.part.stop()
                await running.part.relay.drained()
        except TimeoutError:
            _log.warning("not_drained", part=number)
        running.loop.cancel()
        await asyncio.gather(running.loop, return_exceptions=True)
        running.part.abandon()
        with contextlib.suppress(Unavailable):  # only makes the next owner read a little more
            await self._store.advance("relay", {number: running.part.relay.position})
        await self._leases.release((number,))

    async def _write_relayed(self) -> None:
        moved = {
            number: running.part.relay.position
            for number, running in self._running.items()
            if running.part.relay.position != self._relayed.get(number)
        }
        if moved:
            await self._store.advance("relay", moved)
            self._relayed |= moved

    # ── calls from this process ──────────────────────────────────────────────────────────────────

    async def begin(
        self,
        saga: Saga[Any] | str,
        data: Message | dict[str, Any],
        *,
        key: str | None = None,
        saga_id: str | None = None,
        notify: str | None = None,
    ) -> tuple[SagaState, bool]:
        """Start a saga; its state once that is committed, and whether it began now.

        The same key or id with the same input is the same saga, however often it is started.

        Raises:
            InvalidInput: the input does not fit, is too large, or the id is malformed.
            NotFound: no such saga type.
            IllegalOperation: nobody conducts such sagas: an event begins them.
            ConflictError: the key was used with another input.
            Unavailable: the log is out of reach, or too much is waiting.
        """
        name = saga.name if isinstance(saga, Saga) else saga
        definition = self.registry.startable(name)
        checked = definition.check_input(data)
        size = len(to_json(checked))
        if size > MAX_PAYLOAD_BYTES:
            raise InvalidInput(
                f"The input takes {size} bytes; {MAX_PAYLOAD_BYTES} are allowed.",
                hint="Send a reference to large data, not the data.",
            )
        chosen = check_id(saga_id) if saga_id else id_for(name, key)
        start = Start(chosen, checked, key=key, notify=notify, message_id=f"{chosen}/start")
        return await self._call(Arrival(chosen, input=start, definition=definition))

    async def operate(self, saga_id: str, request: VerbRequest) -> SagaState:
        """Carry out an operator's verb; the saga's state once that is committed.

        Raises:
            NotFound, IllegalOperation, InvalidInput, ConflictError, Unavailable: as the verb and
                the log say.
        """
        return (await self._call(self._verb(saga_id, request)))[0]

    async def preview(self, saga_id: str, request: VerbRequest) -> Preview:
        """What an operator's verb would lead to; nothing is done. Raises as `operate` does."""
        arrival = self._verb(saga_id, request.model_copy(update={"dry_run": True}))
        await self._call(arrival)
        assert arrival.preview is not None, "it was decided"
        return arrival.preview

    def _verb(self, saga_id: str, request: VerbRequest) -> Arrival:
        message_id = f"{check_id(saga_id)}/{request.verb}/{new_id()}"
        verb = verb_input(request, saga_id, message_id)
        return Arrival(saga_id, input=verb, dry_run=request.dry_run)

    async def _call(self, arrival: Arrival) -> tuple[SagaState, bool]:
        number = part_of(arrival.saga_id)
        running = self._running.get(number)
        if running is None:
            raise Unavailable(
                f"Part {number} is conducted by another process.",
                hint="Send a message instead: es_saga.engine.client.",
            )
        part = running.part
        if part.full() or (arrival.starts and self._around.refuse_starts and not part.healthy):
            raise Unavailable(f"Part {number} takes no more for now.", retry_after=1.0)
        arrival.called = asyncio.get_running_loop().create_future()
        part.put(arrival)
        return await arrival.called

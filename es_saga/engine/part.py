"""One owned part of the log: everything that reaches its sagas, handled in order.

    deliveries, requests, timers ─► inbox ─► decide ─► append ─► publish ─► acknowledge

Everything that waits is decided together and committed in one transaction; while it commits, the
next ones gather. A part has one owner at a time, but nothing rests on that: a version that is taken
is refused by the log, and then the saga is read again and decided again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat

import structlog

from es_saga.core.aggregate import SagaState, fold
from es_saga.core.decide import react
from es_saga.core.definition import Definition
from es_saga.core.errors import ConflictError, CorruptHistory, NotFound, SagaError, Unavailable
from es_saga.core.events import SagaEvent
from es_saga.core.inputs import Input, Reply, Start, Tick
from es_saga.core.messages import CommandKey, Envelope, Outcome, parse_command_id
from es_saga.engine.arrival import Arrival
from es_saga.engine.outgoing import Outgoing, Sender
from es_saga.engine.ports import Append, Clock, Store, Transport
from es_saga.engine.registry import Registry
from es_saga.engine.relay import Relay
from es_saga.engine.timers import Timers

MAX_BATCH = 500
"""Arrivals decided together."""

MAX_INBOX = 20_000
"""Arrivals that may wait; deliveries are bounded by their consumer, requests by this."""

MAX_DECISIONS = 10
"""How often an arrival is decided anew after its saga's version was taken."""

RELAY_PAGE = 1_000
"""Events read at once when the relay starts anew."""

POISON_SECONDS = 60.0
"""How long a saga that cannot be handled is left alone before its timer looks again."""

RECOVERY_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Waits between attempts to get the log back; the last one repeats."""

_log = structlog.get_logger("es_saga.part")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every part of a process manager shares."""

    registry: Registry
    store: Store
    transport: Transport
    clock: Clock
    sender: Sender
    cached: int
    """States remembered per part."""
    refuse_starts: bool
    """During an outage of the log: refuse new starts instead of holding them."""
    committed: Callable[[Sequence[Append]], None]
    """Told of every committed batch, in the part's order."""


@dataclass(slots=True)
class _Draft:
    """What one batch adds to one saga."""

    version: int
    state: SagaState
    definition: Definition
    events: list[SagaEvent] = field(default_factory=list[SagaEvent])


class Part:
    """The owner of one part. Create it, `open` it, then let `run` go until `stop`."""

    def __init__(self, number: int, around: Surroundings) -> None:
        self.number = number
        self._around = around
        self._inbox: deque[Arrival] = deque()
        self._wake = asyncio.Event()
        self._states: dict[str, SagaState] = {}
        self.timers = Timers()
        self.relay = Relay(around.transport, self._undeliverable)
        self.healthy = False
        """Whether the log was within reach when last asked."""
        self._stopping = False
        self._idle = asyncio.Event()

    # ── in ───────────────────────────────────────────────────────────────────────────────────────

    def put(self, arrival: Arrival) -> None:
        """Enqueue; decided at the part's own pace."""
        self._inbox.append(arrival)
        self._wake.set()

    def full(self) -> bool:
        """Whether requests should be turned away for now."""
        return len(self._inbox) >= MAX_INBOX

    def tick(self, now: float) -> None:
        """Look at the sagas that are due."""
        if not self.healthy:
            return
        for saga_id in self.timers.take_due(now, MAX_BATCH):
            self.put(Arrival(saga_id, input=Tick()))

    def _undeliverable(self, envelope: Envelope, why: str) -> None:
        """A command that cannot be sent, ever, has failed for good: nobody got it."""
        assert envelope.commandid is not None
        key: CommandKey = parse_command_id(envelope.commandid)
        _log.error("undeliverable", message=envelope.id, why=why)
        failure = {"error": "Undeliverable", "detail": why}
        reply = Reply(
            key,
            envelope.attempt,
            Outcome.FAILED,
            "Undeliverable",
            failure,
            f"{envelope.id}/undeliverable",
            retry_after=-1.0,
        )
        self.put(Arrival(key.saga_id, input=reply))

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Take the part over: its head, what is due, and what may not have been published.

        Raises:
            Unavailable: the log is out of reach.
        """
        store = self._around.store
        self._states.clear()
        head = await store.claim(self.number)
        for saga_id, due in await store.open_sagas(self.number):
            if due is not None:
                self.timers.arm(saga_id, due)
        await self._publish_again(await store.checkpoint("relay", self.number), head)
        self.healthy = True

    async def _publish_again(self, position: int, head: int) -> None:
        """Publish what is in flight of every saga that moved after `position`."""
        relay, around = self.relay, self._around
        relay.position = max(relay.position, position)
        while position < head:
            page = await around.store.read(self.number, after=position, limit=RELAY_PAGE)
            if not page:
                return
            position = page[-1].position
            messages: list[Outgoing] = []
            for state in (await self._load({event.saga_id for event in page})).values():
                if state.closed is not None:
                    self._notify(state)
                    continue
                try:
                    definition = around.registry.of(state)
                except Unavailable as error:
                    _log.error("unregistered", saga=state.saga_id, error=error.message)
                    continue
                messages += around.sender.open_commands(definition, state)
            relay.send(position, messages)
            await relay.room()

    async def run(self) -> None:
        """React until stopped; what is enqueued by then is still handled."""
        while True:
            if not self._inbox:
                if self._stopping:
                    break
                self._wake.clear()
                await self._wake.wait()
                continue
            arrivals = [self._inbox.popleft() for _ in range(min(MAX_BATCH, len(self._inbox)))]
            try:
                await self._react(arrivals)
            except Unavailable as error:
                _log.warning("log_unavailable", part=self.number, error=error.message)
                await self._recover(arrivals, error)
            await self.relay.room()
        self._idle.set()

    async def stop(self) -> None:
        """Finish what is enqueued, then end."""
        self._stopping = True
        self._wake.set()
        await self._idle.wait()

    async def _recover(self, arrivals: list[Arrival], error: Unavailable) -> None:
        """The log is away, and whether the last batch was committed is unknown: begin anew."""
        self.healthy = False
        kept: list[Arrival] = []
        for arrival in arrivals:
            if self._around.refuse_starts and isinstance(arrival.input, Start):
                arrival.fail(error)
            else:
                kept.append(arrival)
        self._inbox.extendleft(reversed(kept))
        for wait in chain(RECOVERY_SECONDS, repeat(RECOVERY_SECONDS[-1])):
            if self._stopping:
                for arrival in self._inbox:
                    arrival.abandon(error)
                self._inbox.clear()
                return
            await self._around.clock.sleep(wait)
            try:
                await self.open()
            except Unavailable:
                continue
            _log.info("log_available", part=self.number)
            return

    # ── one batch ────────────────────────────────────────────────────────────────────────────────

    async def _react(self, arrivals: Sequence[Arrival]) -> None:
        around = self._around
        now = around.clock.now()
        read = [arrival for arrival in arrivals if arrival.read(around.registry)]
        known = await self._known(read)
        drafts: dict[str, _Draft] = {}
        decided: list[Arrival] = []
        for arrival in read:
            try:
                self._decide(arrival, known, drafts, now)
            except SagaError as error:
                self._refuse(arrival, error, now)
            except Exception as error:  # one poison saga must not stop the others (law L50)
                _log.exception("poison", saga=arrival.saga_id, part=self.number)
                self._refuse(arrival, SagaError(f"{type(error).__name__}: {error}"), now)
            else:
                decided.append(arrival)
        refused = await self._commit(drafts)
        for arrival in decided:
            saga_id = arrival.saga_id
            if saga_id in refused:
                self._again(arrival)
            else:
                draft = drafts.get(saga_id)
                arrival.settle(draft.state if draft else known.get(saga_id), draft is not None)

    def _decide(
        self,
        arrival: Arrival,
        known: dict[str, SagaState],
        drafts: dict[str, _Draft],
        now: float,
    ) -> None:
        input, saga_id = arrival.input, arrival.saga_id
        assert input is not None, "it has been read"
        draft = drafts.get(saga_id)
        state = draft.state if draft is not None else known.get(saga_id)
        definition = self._definition(input, state, arrival)
        events, after = react(definition, state, input, now)
        if isinstance(input, Start) and not events and after.closed is not None:
            self._notify(after, arrival.notify)
        if not events:
            if isinstance(input, Tick) and after.next_due is not None:
                self.timers.arm(saga_id, after.next_due)
            return
        if draft is None:
            draft = drafts[saga_id] = _Draft(state.version if state else 0, after, definition)
        draft.state = after
        draft.events += events

    def _refuse(self, arrival: Arrival, error: SagaError, now: float) -> None:
        arrival.fail(error)
        if isinstance(arrival.input, Tick):
            _log.error("not_handled", saga=arrival.saga_id, error=error.message)
            self.timers.arm(arrival.saga_id, now + POISON_SECONDS)

    def _definition(self, input: Input, state: SagaState | None, arrival: Arrival) -> Definition:
        if state is not None:
            return self._around.registry.of(state)
        if isinstance(input, Start):
            assert arrival.definition is not None, "read with the start"
            return arrival.definition
        raise NotFound(f"There is no saga {arrival.saga_id!r}.")

    async def _commit(self, drafts: dict[str, _Draft]) -> Collection[str]:
        """Append, publish, arm; the sagas whose version was taken."""
        if not drafts:
            return ()
        around = self._around
        batch = [
            Append(saga_id, draft.version, draft.events, draft.state)
            for saga_id, draft in drafts.items()
        ]
        positions = await around.store.append(self.number, batch)
        refused: set[str] = set()
        messages: list[Outgoing] = []
        written: list[Append] = []
        last = 0
        for item, position in zip(batch, positions, strict=True):
            if position is None:
                refused.add(item.saga_id)
                self._states.pop(item.saga_id, None)
                continue
            last = max(last, position)
            written.append(item)
            self._remember(item.state)
            definition = drafts[item.saga_id].definition
            messages += around.sender.commands(definition, item.state, item.events)
        if last:
            self.relay.send(last, messages)
            around.committed(written)
        return refused

    def _remember(self, state: SagaState) -> None:
        states, saga_id = self._states, state.saga_id
        if state.closed is not None:
            states.pop(saga_id, None)
            self._notify(state)
            return
        states.pop(saga_id, None)  # so that it is the youngest
        states[saga_id] = state
        if len(states) > self._around.cached:
            del states[next(iter(states))]
        due = state.next_due
        if due is not None:
            self.timers.arm(saga_id, due)

    def _notify(self, state: SagaState, address: str | None = None) -> None:
        address = address or state.origin.notify
        if address is not None:
            self._around.transport.tell(address, self._around.sender.outcome(state))

    def _again(self, arrival: Arrival) -> None:
        arrival.decisions += 1
        if arrival.decisions < MAX_DECISIONS:
            self._inbox.append(arrival)
        else:
            arrival.fail(ConflictError(f"Saga {arrival.saga_id} is being written by others."))

    # ── states ───────────────────────────────────────────────────────────────────────────────────

    async def _known(self, arrivals: Sequence[Arrival]) -> dict[str, SagaState]:
        """The states of the sagas that arrivals are for; a new saga has none."""
        known: dict[str, SagaState] = {}
        missing: set[str] = set()
        for arrival in arrivals:
            saga_id = arrival.saga_id
            state = self._states.get(saga_id)
            if state is not None:
                known[saga_id] = state
            elif not isinstance(arrival.input, Start) or arrival.decisions:
                # A start is not looked up: if the saga is there, the log refuses the first version.
                missing.add(saga_id)
        if missing:
            known.update(await self._load(missing))
        return known

    async def _load(self, saga_ids: Collection[str]) -> dict[str, SagaState]:
        """Fold sagas out of the log; a corrupt one is left out, and alone."""
        try:
            histories = await self._around.store.load(saga_ids)
            folded = {saga_id: fold(saga_id, events) for saga_id, events in histories.items()}
        except CorruptHistory as error:
            if len(saga_ids) == 1:
                _log.error("corrupt_history", sagas=list(saga_ids), error=error.message)
                return {}
            folded = dict[str, SagaState | None]()
            for saga_id in saga_ids:
                folded.update(await self._load({saga_id}))
        return {saga_id: state for saga_id, state in folded.items() if state is not None}

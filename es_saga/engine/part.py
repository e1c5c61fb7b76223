"""One owned part of the log: everything that reaches its sagas, handled in order.

    deliveries, requests, timers ─► inbox ─► decide ─► append ─► publish ─► acknowledge

Everything that waits is decided together and committed in one transaction; while it commits, the
next ones gather. A part has one owner at a time, but nothing rests on that: a version that is taken
is refused by the log, and then the saga is read again and decided again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat

import structlog

from es_saga.core.aggregate import SagaState
from es_saga.core.compiled import Definition
from es_saga.core.decide import react
from es_saga.core.errors import ConflictError, NotFound, NotYet, SagaError, Unavailable
from es_saga.core.events import SagaEvent
from es_saga.core.inputs import FromParent, Heard, Input, OperatorVerb, Reply, Start, Tick
from es_saga.core.messages import Envelope
from es_saga.engine.arrival import Arrival
from es_saga.engine.inbox import MAX_BATCH, Inbox, abandon
from es_saga.engine.outgoing import Outgoing
from es_saga.engine.ports import Append
from es_saga.engine.preview import preview
from es_saga.engine.publishing import Publisher
from es_saga.engine.relay import Relay
from es_saga.engine.requests import undeliverable
from es_saga.engine.rivals import Rivals
from es_saga.engine.states import States
from es_saga.engine.surroundings import Surroundings
from es_saga.engine.timers import Timers

MAX_DECISIONS = 10
"""How often an arrival is decided anew after its saga's version was taken."""

MAX_WHY_CHARS = 500
"""How much of an unexpected error a refusal tells."""

POISON_SECONDS = 60.0
"""How long a saga that cannot be handled is left alone before its timer looks again."""

HELD_SECONDS = 1.0
"""After a look that changed nothing the next one is no sooner."""

RECOVERY_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Waits between attempts to get the log back; the last one repeats."""

_log = structlog.get_logger("es_saga.part")


@dataclass(slots=True)
class _Draft:
    """What one batch adds to one saga."""

    version: int
    before: SagaState | None
    state: SagaState
    definition: Definition
    events: list[SagaEvent] = field(default_factory=list[SagaEvent])


class Part:
    """The owner of one part. Create it, `open` it, then let `run` go until `stop`."""

    def __init__(self, number: int, around: Surroundings) -> None:
        self.number = number
        self._around = around
        self._inbox = Inbox()
        self._wake = asyncio.Event()
        self._states = States(around.store, around.cached)
        self._look_at_head = False
        self.timers = Timers()
        self._publisher = Publisher(number, around, self._states, self._undeliverable)
        self._rivals = Rivals(
            number, self._states, self.timers, around.clock, publish=self._publisher.moved
        )
        self.healthy = False
        """Whether the log was within reach when last asked."""
        self._stopping = False
        self._idle = asyncio.Event()

    # ── in ───────────────────────────────────────────────────────────────────────────────────────

    def put(self, arrival: Arrival) -> None:
        """Enqueue; decided at the part's own pace."""
        if arrival.starts and self._around.refuse_starts and not self.healthy:
            arrival.fail(Unavailable("The log is out of reach.", retry_after=1.0))
            return
        self._inbox.put(arrival, hold=not self.healthy)
        self._wake.set()

    def full(self) -> bool:
        """Whether requests should be turned away for now."""
        return self._inbox.full

    def tick(self, now: float) -> None:
        """Look at the sagas that are due."""
        if not self.healthy:
            return
        for saga_id in self.timers.take_due(now, MAX_BATCH):
            self.put(Arrival(saga_id, input=Tick()))

    def look_for_rivals(self) -> None:
        """See whether somebody else has written to the part; at the part's own pace."""
        self._look_at_head = True
        self._wake.set()

    @property
    def relay(self) -> Relay:
        """What is on its way to the broker, since the part was opened."""
        return self._publisher.relay

    def _undeliverable(self, envelope: Envelope, why: str) -> None:
        _log.error("undeliverable", message=envelope.id, why=why)
        reply = undeliverable(envelope, why)
        self.put(Arrival(reply.key.saga_id, input=reply))

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Take the part over: its head, what is due, and what may not have been published.

        Raises:
            Unavailable: the log is out of reach.
        """
        store = self._around.store
        self._states.clear()
        self._publisher.begin()
        self._rivals.head = head = await store.claim(self.number)
        unfinished = await store.open_sagas(self.number)
        for saga_id, due in unfinished:
            if due is not None:
                self.timers.arm(saga_id, due)
        if self._around.volatile:
            await self._publisher.in_flight([saga_id for saga_id, _ in unfinished], head)
        else:
            await self._publisher.again(await store.checkpoint("relay", self.number), head)
        self._inbox.begin()
        self.healthy = True

    async def run(self) -> None:
        """React until stopped; what is enqueued by then is still handled."""
        while True:
            if not self._inbox and not self._look_at_head:
                if self._stopping:
                    break
                self._wake.clear()
                await self._wake.wait()
                continue
            arrivals = self._inbox.take()
            try:
                if self._look_at_head:
                    self._look_at_head = False
                    await self._rivals.follow(await self._around.store.head(self.number))
                await self._react(arrivals)
            except asyncio.CancelledError:
                abandon(arrivals)
                raise
            except Unavailable as error:
                _log.warning("log_unavailable", part=self.number, error=error.message)
                self._refuse_starts(arrivals, error)
                await self._recover(arrivals)
            except Exception as error:  # whatever it is, the other arrivals must not suffer
                _log.exception("batch_failed", part=self.number, arrivals=len(arrivals))
                await self._isolate(arrivals, error)
            await self.relay.room()
        self._idle.set()

    async def stop(self) -> None:
        """Finish what is enqueued, then end."""
        self._stopping = True
        self._wake.set()
        await self._idle.wait()

    def abandon(self) -> None:
        """Give up what is still enqueued: nobody will handle it here."""
        self._inbox.abandon()

    async def _isolate(self, arrivals: list[Arrival], error: Exception) -> None:
        """Handle alone what failed together; what fails alone is refused, and delays no other."""
        if len(arrivals) == 1 and not arrivals[0].over:
            why = SagaError(f"{type(error).__name__}: {error}"[:MAX_WHY_CHARS])
            self._refuse(arrivals[0], why, self._around.clock.now())
        await self._recover(arrivals)
        self._inbox.take_alone(sum(not arrival.over for arrival in arrivals))

    def _refuse_starts(self, arrivals: list[Arrival], error: Unavailable) -> None:
        """Where nobody is to wait for the log to begin a saga."""
        if self._around.refuse_starts:
            for arrival in arrivals:
                if arrival.starts and not arrival.over:
                    arrival.fail(error)

    async def _recover(self, arrivals: list[Arrival]) -> None:
        """Whether these were committed is unknown: begin anew, as soon as there is a log."""
        self.healthy = False
        self._inbox.put_back(arrival for arrival in arrivals if not arrival.over)
        for wait in chain(RECOVERY_SECONDS, repeat(RECOVERY_SECONDS[-1])):
            if self._stopping:
                self.abandon()
                return
            await self._around.clock.sleep(wait)
            try:
                await self.open()
            except Unavailable:
                continue
            except Exception:
                _log.exception("not_opened", part=self.number)
                continue
            _log.info("log_available", part=self.number)
            return

    # ── one batch ────────────────────────────────────────────────────────────────────────────────

    async def _react(self, arrivals: Sequence[Arrival]) -> None:
        around = self._around
        now = around.clock.now()
        read = [arrival for arrival in arrivals if arrival.read(around.registry)]
        if not read:
            return
        known = await self._known(read)
        drafts: dict[str, _Draft] = {}
        decided: list[tuple[Arrival, bool]] = []
        unsure: list[Arrival] = []
        for arrival in read:
            try:
                changed = self._decide(arrival, known, drafts, now)
            except SagaError as error:
                if self._may_be_stale(arrival):
                    unsure.append(arrival)
                else:
                    self._refuse(arrival, error, now)
            except Exception as error:  # one poison saga must not stop the others (law L50)
                _log.exception("poison", saga=arrival.saga_id, part=self.number)
                self._refuse(arrival, SagaError(f"{type(error).__name__}: {error}"), now)
            else:
                decided.append((arrival, changed))
        refused = await self._commit(drafts)
        for arrival, changed in decided:
            saga_id = arrival.saga_id
            if saga_id in refused or (saga_id not in drafts and self._may_be_stale(arrival)):
                self._again(arrival, now)
            else:
                draft = drafts.get(saga_id)
                arrival.settle(draft.state if draft else known.get(saga_id), changed)
        for arrival in unsure:
            self._again(arrival, now)

    def _may_be_stale(self, arrival: Arrival) -> bool:
        """What leads to nothing may lead to something for the saga as the log has it by now.

        As long as two owners believe in themselves, either may get the answer to what the other
        one asked, or refuse a verb for what is over by now; and where nothing is appended, the log
        does not object. Such arrivals are rare: reading the saga anew costs next to nothing.
        """
        stale = isinstance(arrival.input, Reply | Heard | OperatorVerb) and not arrival.decisions
        stale = stale and arrival.saga_id in self._states
        if stale:
            self._states.forget((arrival.saga_id,))
        return stale

    def _decide(
        self,
        arrival: Arrival,
        known: dict[str, SagaState],
        drafts: dict[str, _Draft],
        now: float,
    ) -> bool:
        """Add what it leads to to its saga's draft; whether it led to anything."""
        input, saga_id = arrival.input, arrival.saga_id
        assert input is not None, "it has been read"
        draft = drafts.get(saga_id)
        state = draft.state if draft is not None else known.get(saga_id)
        definition = self._definition(input, state, arrival)
        events, after = react(definition, state, input, now)
        if arrival.dry_run:
            arrival.preview = preview(self._around.sender, definition, events, after)
            return False
        if isinstance(input, Start) and not events and after.closed is not None:
            self._publisher.notify(after, arrival.notify)
        if not events:
            if isinstance(input, Tick) and after.next_due is not None:
                # What is due and yet waits for something else must not be looked at all the time.
                held = after.next_due <= now
                self.timers.arm(saga_id, now + HELD_SECONDS if held else after.next_due)
            return False
        if draft is None:
            draft = drafts[saga_id] = _Draft(
                state.version if state else 0, state, after, definition
            )
        draft.state = after
        draft.events += events
        return True

    def _refuse(self, arrival: Arrival, error: SagaError, now: float) -> None:
        if isinstance(error, NotYet) and self._inbox.postpone(arrival):
            return
        arrival.fail(error)
        if isinstance(arrival.input, Tick):
            _log.error("not_handled", saga=arrival.saga_id, error=error.message)
            self.timers.arm(arrival.saga_id, now + POISON_SECONDS)

    def _definition(self, input: Input, state: SagaState | None, arrival: Arrival) -> Definition:
        own = None if state is None else self._around.registry.of(state)
        if isinstance(input, Start) or (own is None and isinstance(input, Heard | FromParent)):
            assert arrival.definition is not None, "read with what begins it"
            return arrival.definition  # which also knows what a start that is repeated asked for
        if own is not None:
            return own
        raise NotFound(f"There is no saga {arrival.saga_id!r}.", hint="`es-saga list` shows them.")

    async def _commit(self, drafts: dict[str, _Draft]) -> Collection[str]:
        """Append, publish, arm; the sagas whose version was taken."""
        if not drafts:
            return ()
        around = self._around
        batch = [
            Append(saga_id, draft.version, draft.events, draft.state, draft.before)
            for saga_id, draft in drafts.items()
        ]
        positions = await around.store.append(self.number, batch)
        refused: set[str] = set()
        messages: list[Outgoing] = []
        written: list[Append] = []
        last = added = 0
        for item, position in zip(batch, positions, strict=True):
            if position is None:
                refused.add(item.saga_id)
                continue
            last = max(last, position)
            added += len(item.events)
            written.append(item)
            self._remember(item.state)
            definition = drafts[item.saga_id].definition
            messages += around.sender.commands(definition, item.state, item.events)
        self._states.forget(refused)
        if last:
            await self._rivals.follow(last - added)
            self._rivals.head = max(self._rivals.head, last)
            self.relay.send(last, messages)
            around.committed(written)
        return refused

    def _remember(self, state: SagaState) -> None:
        self._states.remember(state)
        if state.closed is not None:
            self._publisher.notify(state)
        elif state.next_due is not None:
            self.timers.arm(state.saga_id, state.next_due)

    def _again(self, arrival: Arrival, now: float) -> None:
        arrival.decisions += 1
        if arrival.decisions < MAX_DECISIONS:
            self._inbox.put(arrival)
        else:
            why = ConflictError(f"Saga {arrival.saga_id} is being written by others.")
            self._refuse(arrival, why, now)

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
            # What we do not remember a rival may have moved, and died before it published.
            await self._rivals.follow(await self._around.store.head(self.number))
            known.update(await self._states.load(missing))
        return known

"""What a part publishes: its log is the outbox, and a relay has what is on its way.

What was just committed goes straight to the relay. Here is also what has to be published although
somebody else committed it, who may have died before the broker had it: a former owner of the part,
or a rival. Where that publishes something twice no harm is done, for the message ids are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from es_saga.core.aggregate import SagaState
from es_saga.core.compiled import Definition
from es_saga.core.errors import Unavailable
from es_saga.core.messages import Envelope
from es_saga.engine.outgoing import Outgoing
from es_saga.engine.relay import Relay
from es_saga.engine.states import PAGE, Moved, States
from es_saga.engine.surroundings import Surroundings

_log = structlog.get_logger("es_saga.part")


class Publisher:
    """Publishes for one part; `undeliverable` is told of what the broker will never take."""

    def __init__(
        self,
        part: int,
        around: Surroundings,
        states: States,
        undeliverable: Callable[[Envelope, str], None],
    ) -> None:
        self._part = part
        self._around = around
        self._states = states
        self._undeliverable = undeliverable
        self.begin()

    def begin(self) -> None:
        """Begin anew: what is on its way is no longer waited for."""
        self.relay = Relay(self._around.transport, self._undeliverable)

    async def again(self, position: int, head: int) -> None:
        """Publish what was committed after `position`, as far as it is in flight.

        Raises:
            Unavailable: the log is out of reach.
        """
        self.relay.position = position
        async for moved in self._states.moved(self._part, position, head):
            self.moved(moved)
            await self.relay.room()

    async def in_flight(self, saga_ids: Sequence[str], head: int) -> None:
        """Publish whatever an answer is awaited to: nobody else has kept it.

        Raises:
            Unavailable: the log is out of reach.
        """
        for start in range(0, len(saga_ids), PAGE):
            states = await self._states.load(saga_ids[start : start + PAGE])
            messages: list[Outgoing] = []
            for state in states.values():
                definition = self._registered(state)
                if definition is not None:
                    messages += self._around.sender.in_flight(definition, state)
            self.relay.send(head, messages)
            await self.relay.room()

    def moved(self, moved: Moved) -> None:
        """Publish what was committed, as it was or should have been published before.

        In the order of the events (law L45); who waits for the end is told of it once more.
        """
        definitions: dict[str, Definition | None] = {}
        for saga_id, state in moved.states.items():
            if state.closed is not None:
                self.notify(state)
                definitions[saga_id] = None  # nothing is in flight: only its parent is answered
            elif (definition := self._registered(state)) is not None:
                definitions[saga_id] = definition
            else:
                self.relay.leave()
        messages: list[Outgoing] = []
        for recorded in moved.events:
            if recorded.saga_id in definitions:
                definition, state = definitions[recorded.saga_id], moved.states[recorded.saga_id]
                messages += self._around.sender.commands(definition, state, (recorded.event,))
        self.relay.send(moved.position, messages)

    def notify(self, state: SagaState, address: str | None = None) -> None:
        """Tell of a saga's end, there or where its start asked for it."""
        address = address or state.origin.notify
        if address is not None:
            self._around.transport.tell(address, self._around.sender.outcome(state))

    def _registered(self, state: SagaState) -> Definition | None:
        try:
            return self._around.registry.of(state)
        except Unavailable as error:
            _log.error("unregistered", saga=state.saga_id, error=error.message)
            return None

"""The relay for a pipe that dies with its process: it keeps an event until it has been handled.

    outbox ─► read in order ─► publish ─► wait until all who hear it are done with it ─► delete

A broker keeps what it has confirmed; a pipe in memory (`es_saga.InProcess`) keeps nothing. So what
was on its way when the process was killed is still in the outbox, and published again by the next
one, under the same id: who had handled it knows it.
"""

from __future__ import annotations

from typing import Protocol

import sqlalchemy as sa

from es_saga.engine.ports import Transport
from es_saga.participant.backlog import Published
from es_saga.participant.relay import BATCH, PollingRelay

MAX_HELD = 2_000
"""Events of a service that may be on their way at a time. What comes before the saga that waits for
it may be so for an hour."""


class HoldingPipe(Transport, Protocol):
    """A pipe that knows what has been handled."""

    def holds(self, event: str) -> bool:
        """Whether somebody is not done with the event of this id."""
        ...


class HoldingRelay(PollingRelay):
    """Publishes the rows of an outbox, and deletes each once it is handled.

    Start it after all who hear its events: what nobody hears is done with.
    """

    def __init__(
        self,
        service: str,
        database: sa.Engine | sa.URL | str,
        pipe: HoldingPipe,
        *,
        tenant: str = "main",
    ) -> None:
        super().__init__(service, database, pipe, tenant=tenant)
        self._pipe = pipe
        self._held: dict[int, str] = {}
        """By position in the outbox, the ids of events that are on their way."""

    async def _publish_oldest(self, *, before: float | None = None) -> int:
        """Publish what is new; how many rows that were. Delete what has been handled."""
        most = min(MAX_HELD, len(self._held) + BATCH)
        rows = await self._in_thread(self._backlog.oldest, most, before=before)
        new = [row for row in rows if row.position not in self._held]
        published = await self._publisher.publish(new)
        sent = set(published.positions)
        self._held |= {row.position: row.id for row in new if row.position in sent}
        over = [position for position, id in self._held.items() if not self._pipe.holds(id)]
        if over or published.faults:
            await self._in_thread(self._backlog.settle, Published(over, published.faults))
        for position in over:
            del self._held[position]
        return len(new)

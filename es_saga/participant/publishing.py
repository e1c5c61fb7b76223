"""Publishing an outbox: an aggregate's rows one after the other, the aggregates side by side."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

import structlog

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Subjects
from es_saga.engine.ports import Transport
from es_saga.participant.backlog import Published
from es_saga.participant.outbox import Row

_log = structlog.get_logger("es_saga.outbox")


class Publisher:
    """Sends a service's events as `saga.v1.<tenant>.evt.<service>.<aggregate id>.<event>`.

    The row's id is the message's: the broker drops what it has had within its duplicate window.
    """

    def __init__(self, service: str, transport: Transport, *, tenant: str) -> None:
        self.service = service
        self._transport = transport
        self._subjects = Subjects(tenant)

    async def publish(self, rows: Iterable[Row]) -> Published:
        """Send them; done when the broker has all of them, however long that takes.

        Raises:
            Unavailable: the transport is closed.
        """
        queues: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            queues[row.aggregate].append(row)
        faults: dict[int, str] = {}
        sent: list[int] = []
        sending = [self._one_by_one(queue, sent, faults) for queue in queues.values()]
        for failed in await asyncio.gather(*sending, return_exceptions=True):
            if failed is not None:
                raise failed
        return Published(sent, faults)

    async def _one_by_one(
        self, rows: Sequence[Row], sent: list[int], faults: dict[int, str]
    ) -> None:
        for row in rows:
            try:
                envelope = row.envelope()
                subject = self._subjects.event(self.service, row.aggregate_id, row.type)
                await self._transport.publish(subject, envelope)
            except InvalidInput as error:
                faults[row.position] = str(error)
                _log.error("event_put_aside", service=self.service, id=row.id, why=str(error))
            else:
                sent.append(row.position)

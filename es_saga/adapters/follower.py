"""One view on its way through the log: reads what comes next, writes what the view makes of it.

The events of a part are taken in in order, those of different parts in any. What is written, and
the checkpoint, are in one transaction, and the checkpoint is moved only from where it stood when
the events were read: no event is taken in twice, and none is left out, whoever else moves the view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from es_saga.adapters.codec import decode
from es_saga.adapters.definitions import KnownFields
from es_saga.adapters.past import states_at
from es_saga.adapters.statements import Span, Standing, Statements, Stored
from es_saga.adapters.trouble import Trouble, trouble
from es_saga.core.aggregate import SagaState
from es_saga.core.errors import CorruptHistory, Unavailable
from es_saga.core.messages import PARTS
from es_saga.engine.following import Undigested
from es_saga.engine.ports import Recorded
from es_saga.projections.view import Batch, View

MAX_EVENTS: Final = 1_000
"""Events in one transaction of a view."""

MAX_PAGES: Final = 50
"""Pages that begin with the same part; then the next one has its turn."""

MAX_STATES: Final = 5_000
"""Open sagas that are remembered for each view, in each of two generations."""


class Overtaken(Exception):
    """Somebody else has moved the view on meanwhile: the transaction must be rolled back."""


@dataclass(frozen=True, slots=True)
class Page:
    """What comes next."""

    spans: Sequence[Span]
    batch: Batch
    left: int
    """Events that there are besides."""


class Follower:
    """A view, and the sagas as it has last seen them.

    Args:
        upto: go no further than these positions, by part; None: as far as there are events.
    """

    def __init__(
        self,
        statements: Statements,
        view: View,
        fields: KnownFields,
        *,
        upto: Mapping[int, int] | None = None,
    ) -> None:
        self.view = view
        self._statements = statements
        self._fields = fields
        self._upto = upto
        self._first = 0
        """The part that is read first."""
        self._pages = 0
        """How many have begun with it."""
        self._states = _States()

    def read(self, connection: sa.Connection, limit: int = MAX_EVENTS) -> Page | None:
        """What comes next, in the caller's transaction; None: nothing.

        Raises:
            Undigested: an event cannot be read.
        """
        standings = self._statements.standings(connection, self.view.name)
        spans, left = self._spans(standings, limit)
        if not spans:
            return None
        stored = self._statements.page(connection, spans)
        count = sum(span.upto - span.after for span in spans)
        try:
            if len(stored) != count:
                raise CorruptHistory("the log has gaps: events are missing.")
            batch = self._batch(connection, stored)
        except CorruptHistory as error:
            raise Undigested(count, spans[0].part, spans[0].after + 1) from error
        return Page(spans, batch, left)

    def write(self, connection: sa.Connection, page: Page) -> None:
        """Have the view take the page in, and move its checkpoint.

        Raises:
            Undigested: the view raised.
            Overtaken: its checkpoint is not where it was.
        """
        moves = [(self.view.name, span) for span in page.spans]
        # First, so that two that move the same view wait for each other here and nowhere else.
        if not self._statements.move(connection, sorted(moves)):
            raise Overtaken
        try:
            self.view.apply(connection, page.batch)
        except Unavailable:
            raise
        except Exception as error:
            if trouble(error) is not Trouble.FAULT:
                raise
            first = page.batch.events[0]
            raise Undigested(len(page.batch.events), first.part, first.position) from error

    def _spans(self, standings: Sequence[Standing], limit: int) -> tuple[list[Span], int]:
        """What to read, and how many events are left besides.

        With many events before it a view reads one part for a while: going from part to part, it
        would have forgotten their sagas whenever it came back.
        """
        queue: list[Span] = []
        for part, position, head in standings:
            end = head if self._upto is None else min(head, self._upto.get(part, 0))
            if end > position:
                queue.append(Span(part, position, end))
        queue.sort(key=lambda span: (span.part - self._first) % PARTS)
        spans: list[Span] = []
        room = limit
        for span in queue:
            if not room:
                break
            upto = min(span.upto, span.after + room)
            room -= upto - span.after
            spans.append(span._replace(upto=upto))
            if upto < span.upto:
                self._pages = self._pages + 1 if span.part == self._first else 0
                self._first = (span.part + (self._pages >= MAX_PAGES)) % PARTS
        left = sum(span.upto - span.after for span in queue) - (limit - room)
        return sorted(spans), left

    def _batch(self, connection: sa.Connection, stored: Sequence[Stored]) -> Batch:
        """The events, with every saga as it was then, and not as it is by now."""
        events = [
            Recorded(part, position, saga_id, version, decode(topic, payload), payload, topic)
            for part, position, saga_id, version, topic, payload in stored
        ]
        before: dict[str, SagaState] = {}
        unknown: dict[str, int] = {}
        seen: set[str] = set()
        for recorded in events:
            saga_id = recorded.saga_id
            if saga_id in seen:
                continue
            seen.add(saga_id)
            if recorded.version > 1:
                state = self._states.get(saga_id)
                if state is not None and state.version == recorded.version - 1:
                    before[saga_id] = state
                else:
                    unknown[saga_id] = recorded.version - 1
        if unknown:
            before |= states_at(self._statements, connection, unknown)
        batch = Batch.following(events, before)
        self._states.keep(batch.states)
        return batch.hidden(self._fields.on(connection))


class _States:
    """Open sagas as they were last seen: two generations, the older one is dropped.

    A saga that was seen further along than is now asked for is read again; it does no harm.
    """

    def __init__(self) -> None:
        self._young: dict[str, SagaState] = {}
        self._old: dict[str, SagaState] = {}

    def get(self, saga_id: str) -> SagaState | None:
        return self._young.get(saga_id) or self._old.get(saga_id)

    def keep(self, states: Mapping[str, SagaState]) -> None:
        young = self._young
        for saga_id, state in states.items():
            if state.closed is None:
                young[saga_id] = state
            else:
                young.pop(saga_id, None)
                self._old.pop(saga_id, None)
        if len(young) > MAX_STATES:
            self._old, self._young = young, {}

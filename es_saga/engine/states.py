"""The sagas of one part as they are by now: the youngest from memory, the others from the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import structlog

from es_saga.core.aggregate import SagaState, fold
from es_saga.core.errors import CorruptHistory
from es_saga.engine.ports import Recorded, Store

PAGE = 1_000
"""Events read at once to see which sagas moved."""

_log = structlog.get_logger("es_saga.states")


class Moved(NamedTuple):
    """A page of the log."""

    position: int
    """Of its last event."""
    events: Sequence[Recorded]
    states: Mapping[str, SagaState]
    """The sagas of these events as they are by now; what is corrupt is left out."""


class States:
    """Remembers up to `limit` open sagas; what is remembered may be behind the log."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._known: dict[str, SagaState] = {}

    def __contains__(self, saga_id: str) -> bool:
        return saga_id in self._known

    def get(self, saga_id: str) -> SagaState | None:
        """What is remembered of a saga."""
        return self._known.get(saga_id)

    def remember(self, state: SagaState) -> None:
        """Keep it as the youngest; a closed saga is forgotten, since little can happen to it."""
        known, saga_id = self._known, state.saga_id
        known.pop(saga_id, None)
        if state.closed is not None:
            return
        known[saga_id] = state
        if len(known) > self._limit:
            del known[next(iter(known))]

    def forget(self, saga_ids: Iterable[str]) -> None:
        """Have these read from the log when they are asked for next."""
        for saga_id in saga_ids:
            self._known.pop(saga_id, None)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()

    async def load(self, saga_ids: Collection[str]) -> dict[str, SagaState]:
        """Fold sagas out of the log; a corrupt one is left out, and alone.

        Raises:
            Unavailable: the log is out of reach.
        """
        try:
            histories = await self._store.load(saga_ids)
            folded = {saga_id: fold(saga_id, events) for saga_id, events in histories.items()}
        except CorruptHistory as error:
            if len(saga_ids) == 1:
                _log.error("corrupt_history", sagas=list(saga_ids), error=error.message)
                return {}
            folded = dict[str, SagaState | None]()
            for saga_id in saga_ids:
                folded.update(await self.load({saga_id}))
        return {saga_id: state for saga_id, state in folded.items() if state is not None}

    async def moved(self, part: int, after: int, upto: int) -> AsyncIterator[Moved]:
        """What was committed after one position and up to another, and the sagas it concerns.

        An event that cannot be read is stepped over: its saga is in trouble, the others are not.

        Raises:
            Unavailable: the log is out of reach.
        """
        limit = PAGE
        while after < upto:
            try:
                page = await self._store.read(part, after=after, limit=min(limit, upto - after))
            except CorruptHistory as error:
                if limit > 1:
                    limit //= 2
                    continue
                _log.error("corrupt_event", part=part, position=after + 1, error=error.message)
                after, limit = after + 1, PAGE
                continue
            if not page:
                return
            after = page[-1].position
            sagas = {event.saga_id for event in page}
            self.forget(sagas)
            yield Moved(after, page, await self.load(sagas))

"""The saga log inside one process: the same contract as a database, gone with the process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from es_saga.adapters.codec import encode
from es_saga.core.aggregate import SagaState
from es_saga.core.errors import Unavailable
from es_saga.core.events import SagaEvent
from es_saga.engine.ports import Append, Recorded


class MemoryStore:
    """A `Store` inside one process, see `es_saga.engine.ports`. Several managers may share one.

    Opened `beside` another one it is over the same data, as a second process would open it, and
    outlives the other. Events are kept as they are, so their size has no limit.
    """

    def __init__(self, *, beside: MemoryStore | None = None) -> None:
        self._parts: defaultdict[int, list[tuple[str, int, SagaEvent]]] = defaultdict(list)
        self._histories: dict[str, list[SagaEvent]] = {}
        self._open: defaultdict[int, dict[str, SagaState]] = defaultdict(dict)
        self._checkpoints: dict[tuple[str, int], int] = {}
        if beside is not None:
            self._parts, self._histories = beside._parts, beside._histories
            self._open, self._checkpoints = beside._open, beside._checkpoints
        self._closed = False

    def _check(self) -> None:
        if self._closed:
            raise Unavailable("The store is closed.")

    def append(self, part: int, batch: Sequence[Append]) -> asyncio.Future[list[int | None]]:
        """Append at once, see `Store.append`."""
        done: asyncio.Future[list[int | None]] = asyncio.get_running_loop().create_future()
        if self._closed:
            done.set_exception(Unavailable("The store is closed."))
        else:
            done.set_result([self._append(part, item) for item in batch])
        return done

    def _append(self, part: int, item: Append) -> int | None:
        history = self._histories.get(item.saga_id)
        if item.version != (len(history) if history is not None else 0):
            return None
        if history is None:
            history = self._histories[item.saga_id] = []
        log = self._parts[part]
        for version, event in enumerate(item.events, item.version + 1):
            log.append((item.saga_id, version, event))
        history.extend(item.events)
        if item.state.closed is None:
            self._open[part][item.saga_id] = item.state
        else:
            self._open[part].pop(item.saga_id, None)
        return len(log)

    async def load(self, saga_ids: Collection[str]) -> Mapping[str, Sequence[SagaEvent]]:
        """Whole histories, see `Store.load`."""
        self._check()
        found = ((saga_id, self._histories.get(saga_id)) for saga_id in saga_ids)
        return {saga_id: tuple(history) for saga_id, history in found if history is not None}

    async def read(self, part: int, *, after: int, limit: int) -> Sequence[Recorded]:
        """Events of a part in order, see `Store.read`."""
        self._check()
        after = max(0, after)
        events = self._parts[part][after : after + max(0, limit)]
        return [
            Recorded(part, position, saga_id, version, event, encode(event)[1])
            for position, (saga_id, version, event) in enumerate(events, after + 1)
        ]

    async def head(self, part: int) -> int:
        """Position of the part's last event, see `Store.head`."""
        self._check()
        return len(self._parts[part])

    async def claim(self, part: int) -> int:
        """Nothing is remembered that could be wrong; the part's head."""
        self._check()
        return len(self._parts[part])

    async def open_sagas(self, part: int) -> Sequence[tuple[str, float | None]]:
        """Every saga that is not closed, see `Store.open_sagas`."""
        self._check()
        return [(saga_id, state.next_due) for saga_id, state in self._open[part].items()]

    async def checkpoint(self, name: str, part: int) -> int:
        """How far a reader has come, see `Store.checkpoint`."""
        self._check()
        return self._checkpoints.get((name, part), 0)

    async def advance(self, name: str, positions: Mapping[int, int]) -> None:
        """Move a reader forward, see `Store.advance`."""
        self._check()
        for part, position in positions.items():
            known = self._checkpoints.get((name, part), 0)
            self._checkpoints[name, part] = max(known, position)

    async def close(self) -> None:
        """Take no more."""
        self._closed = True

"""When time alone will change a saga: a heap of due times, one entry a saga.

An entry is a hint to look, not an order to act: `decide` compares the saga's own due times with the
clock (law L49), so an entry that came too early, twice, or after the end does nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator


class Timers:
    """The sagas of one part by their next due time, in seconds since the epoch."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._armed: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._armed)

    def arm(self, saga_id: str, due: float) -> None:
        """Look at the saga at `due`, unless it will be looked at earlier anyway."""
        armed = self._armed.get(saga_id)
        if armed is not None and armed <= due:
            return
        self._armed[saga_id] = due
        heapq.heappush(self._heap, (due, saga_id))

    @property
    def next_due(self) -> float | None:
        """Nothing is due before this."""
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float, limit: int) -> Iterator[str]:
        """Up to `limit` sagas to look at now; each is disarmed."""
        heap = self._heap
        while heap and heap[0][0] <= now and limit > 0:
            due, saga_id = heapq.heappop(heap)
            if self._armed.get(saga_id) == due:
                del self._armed[saga_id]
                limit -= 1
                yield saga_id

"""A log that can be taken away and given back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from es_saga.core.errors import Unavailable
from es_saga.engine.ports import Append, Store


class Outages:
    """Over another store, which stays within reach of the test. `store` is what a manager gets."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = False
        """Nothing is written, nothing is read."""
        self.deaf = False
        """What is appended is committed, but the answer is lost."""
        self.failed = 0
        """Calls that were told that the log is out of reach."""
        self.left: int | None = None
        """So many calls go well, then it is away; None: as `away` says."""

    @property
    def store(self) -> Store:
        """The same, as the port: what is not written out below passes through `__getattr__`."""
        return cast(Store, self)

    def append(self, part: int, batch: Sequence[Append]) -> asyncio.Future[list[int | None]]:
        return asyncio.ensure_future(self._append(part, batch))

    async def _append(self, part: int, batch: Sequence[Append]) -> list[int | None]:
        if self.away:
            raise self._error()
        positions = await self._store.append(part, batch)
        if self.deaf:
            raise self._error()
        return positions

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method: Callable[..., Awaitable[Any]] = getattr(self._store, name)

        async def guarded(*arguments: Any, **named: Any) -> Any:
            if self.left is not None:
                self.left -= 1
                self.away = self.left < 0
            if self.away:
                raise self._error()
            return await method(*arguments, **named)

        return guarded

    def _error(self) -> Unavailable:
        self.failed += 1
        return Unavailable("The log has been taken away.", retry_after=0.1)

"""Ownership where there is nothing to share."""

from __future__ import annotations

from collections.abc import Iterable

from es_saga.core.messages import PARTS


class SoleOwner:
    """One process owns every part: the lease of an embedded log."""

    def __init__(self, parts: Iterable[int] = range(PARTS)) -> None:
        self._parts = frozenset(parts)

    async def held(self) -> frozenset[int]:
        """All of them, always."""
        return self._parts

    async def release(self, parts: Iterable[int]) -> None:
        """Nobody else is waiting."""

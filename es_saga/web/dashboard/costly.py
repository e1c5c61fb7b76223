"""Answers that take long, asked for by many: one question for all of them, and not too often.

What takes as long as there are sagas is asked again only after a multiple of the time that it took,
so that it never keeps the database busy for more than a small share; meanwhile everybody gets the
last answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

SHARE: Final = 0.05
"""Of the time, at most, that one question keeps a reader busy."""


class Costly(Generic[T]):
    """One question and its last answer."""

    def __init__(self, question: Callable[[], Awaitable[T]]) -> None:
        self._question = question
        self._asked: asyncio.Future[T] | None = None
        self._good_until = 0.0

    async def answer(self) -> T:
        """The last answer if it is good still, else a new one.

        Raises:
            Exception: whatever the question raises; the next one asks anew.
        """
        clock = asyncio.get_running_loop().time
        asked = self._asked
        if asked is None or (asked.done() and (clock() >= self._good_until or _failed(asked))):
            asked = self._asked = asyncio.ensure_future(self._ask(clock))
        # Whoever hangs up must not take the answer from the others.
        return await asyncio.shield(asked)

    async def _ask(self, clock: Callable[[], float]) -> T:
        began = clock()
        answer = await self._question()
        self._good_until = clock() + (clock() - began) / SHARE
        return answer


def _failed(asked: asyncio.Future[Any]) -> bool:
    return asked.cancelled() or asked.exception() is not None

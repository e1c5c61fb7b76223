"""Asks participants how they are, again and again; what needs a human becomes an alert."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final

import structlog

from es_saga.core.errors import Unavailable
from es_saga.engine.alerting import AlertLog
from es_saga.engine.condition import conditions_of
from es_saga.engine.ports import Clock, Questions

ROUND_SECONDS: Final = 15.0
"""How often they are asked."""

ANSWER_SECONDS: Final = 2.0
"""How long each may take to answer."""

_log = structlog.get_logger("es_saga.alerts")


class Rounds:
    """Makes its rounds until stopped, as long as this process owns the first part of the log.

    Who does not answer is passed over, and its alerts stay as they are: that a participant is
    away is seen by the sagas that wait for it.
    """

    def __init__(
        self,
        participants: Sequence[str],
        questions: Questions,
        log: AlertLog,
        clock: Clock,
        parts: Callable[[], Collection[int]],
        *,
        tenant: str = "main",
    ) -> None:
        self._participants = tuple(participants)
        self._questions = questions
        self._log = log
        self._clock = clock
        self._parts = parts
        self._tenant = tenant
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Rounds:
        """Begin."""
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop where it is."""
        assert self._task is not None, "it was entered"
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> int:
        """Make one round; how many alerts were opened or closed.

        Raises:
            Unavailable: the log's database is out of reach.
        """
        found = await conditions_of(
            self._participants, self._questions, tenant=self._tenant, within=ANSWER_SECONDS
        )
        said = {name: list(condition.complaints()) for name, condition in found.items()}
        return await self._log.reported(said, self._clock.now()) if said else 0

    async def _serve(self) -> None:
        while True:
            try:
                if 0 in self._parts():
                    await self.look()
            except Unavailable as error:
                _log.warning("unavailable", doing="rounds", error=error.message)
            except Exception:  # a fault of ours must not end what has to go on for ever
                _log.exception("failed", doing="rounds")
            await self._clock.sleep(ROUND_SECONDS)

"""Looks after what a participant holds: releases it when it has expired."""

from __future__ import annotations

import math
from typing import Final

import structlog

from es_saga.engine.condition import IN_DOUBT_SECONDS
from es_saga.participant.outage import Trouble, trouble_of
from es_saga.participant.runner import Runner

LOOK_SECONDS: Final = 5.0
"""Longest time between two looks for what has expired: another process may have held it."""

_log = structlog.get_logger("es_saga.participant")


class Keeper:
    """A worker's chore: call it between batches. `look_seconds` may be infinite where nobody else
    holds anything in this database."""

    def __init__(self, runner: Runner, look_seconds: float = LOOK_SECONDS) -> None:
        self._runner = runner
        self._look_seconds = look_seconds
        self._look_at = -math.inf
        self._told: set[str] = set()

    def _recover(self) -> None:
        """Settle what a crash has left prepared, and tell of what is in doubt for too long."""
        late = {one.gid: one for one in self._runner.recover() if one.age > IN_DOUBT_SECONDS}
        for gid, found in late.items():
            if gid not in self._told:
                _log.warning("transaction_in_doubt", gid=gid, hold=found.hold, seconds=found.age)
        self._told = set(late)

    async def __call__(self) -> float | None:
        """Release what has expired; the seconds until there is more to do, None for never."""
        runner = self._runner
        now = runner.now()
        if now >= min(runner.expires_at, self._look_at):
            try:
                await runner.release_expired()
                self._recover()
            except Exception as error:
                if trouble_of(error) is Trouble.MISTAKE:  # of ours: it must not end the thread
                    _log.exception("batch_failed", size=0)
                runner.disconnect()
            self._look_at = now + self._look_seconds
        rest = min(runner.expires_at, self._look_at) - now
        return None if math.isinf(rest) else max(rest, 0.0)

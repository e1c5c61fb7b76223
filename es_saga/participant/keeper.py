"""Looks after what a participant holds: releases it when it has expired."""

from __future__ import annotations

import math
from typing import Final

import structlog

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

    async def __call__(self) -> float | None:
        """Release what has expired; the seconds until there is more to do, None for never."""
        runner = self._runner
        now = runner.now()
        if now >= min(runner.expires_at, self._look_at):
            try:
                await runner.release_expired()
            except Exception:  # a fault of ours must not end the thread
                _log.exception("batch_failed", size=0)
                runner.disconnect()
            self._look_at = now + self._look_seconds
        rest = min(runner.expires_at, self._look_at) - now
        return None if math.isinf(rest) else max(rest, 0.0)

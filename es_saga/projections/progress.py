"""How far views have come in the log, and how true they are: position, lag, errors, as data.

    progress = Progresses(engine)
    [board] = progress.of(["order_board"])
    board.behind, board.seconds_behind, board.error

A view that follows behind is soon up to date, not at once. Whoever has to read what was just
written waits until the view has taken that very event in:

    await progress.wait("order_board", saga_id, version, timeout=2.0)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from es_saga.core.errors import NotFound, Unavailable
from es_saga.core.messages import PARTS, check_id
from es_saga.database import READ_ONLY

POLL_SECONDS: Final = 0.005
"""How soon `wait` looks again, at first; then less and less often."""

MAX_POLL_SECONDS: Final = 0.25

_EVENTS = sa.table(
    "es_events",
    sa.column("part", sa.Integer),
    sa.column("position", sa.BigInteger),
    sa.column("originator_id", sa.Text),
    sa.column("originator_version", sa.Integer),
    sa.column("recorded_at", sa.Double),
)
_TRACKING = sa.table(
    "es_tracking",
    sa.column("name", sa.Text),
    sa.column("part", sa.Integer),
    sa.column("position", sa.BigInteger),
)
_PROJECTIONS = sa.table(
    "es_projections",
    sa.column("name", sa.Text),
    sa.column("failures", sa.Integer),
    sa.column("error", sa.Text),
    sa.column("part", sa.Integer),
    sa.column("position", sa.BigInteger),
    sa.column("updated", sa.Double),
)

_HEADS = sa.union_all(
    *(
        sa.select(
            sa.literal(part).label("part"),
            sa.func.coalesce(sa.func.max(_EVENTS.c.position), 0).label("head"),
        ).where(_EVENTS.c.part == part)
        for part in range(PARTS)
    )
)
_RECORDED = sa.select(_EVENTS.c.recorded_at).where(
    _EVENTS.c.part == sa.bindparam("part"), _EVENTS.c.position == sa.bindparam("position")
)
_CHECKPOINTS = sa.select(_TRACKING.c.name, _TRACKING.c.part, _TRACKING.c.position).where(
    _TRACKING.c.name.in_(sa.bindparam("names", expanding=True))
)
_TROUBLES = sa.select(_PROJECTIONS).where(
    _PROJECTIONS.c.name.in_(sa.bindparam("names", expanding=True))
)
_PLACE = sa.select(_EVENTS.c.part, _EVENTS.c.position).where(
    _EVENTS.c.originator_id == sa.bindparam("saga"),
    _EVENTS.c.originator_version == sa.bindparam("version"),
)
_CHECKPOINT = sa.select(_TRACKING.c.position).where(
    _TRACKING.c.name == sa.bindparam("name"), _TRACKING.c.part == sa.bindparam("part")
)


@dataclass(frozen=True, slots=True)
class PartProgress:
    """How far a view has come in one part of the log."""

    part: int
    position: int
    """Of the last event that it has taken in."""
    head: int
    """Of the last event there is."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a view has come, and why it does not go on if it does not."""

    name: str
    position: int
    """Events that it has taken in, of all parts."""
    head: int
    """Events there are."""
    behind: int
    """Events that it has not taken in yet."""
    seconds_behind: float
    """Age of the oldest of these; 0 if there is none."""
    error: str | None
    """Why it stands still; None if it does not."""
    error_part: int | None
    error_position: int | None
    """Of the very event that it cannot take in, once that is known."""
    failures: int
    """In a row."""
    error_at: float | None
    """When it failed last, in seconds since the epoch."""
    parts: tuple[PartProgress, ...]


class Progresses:
    """Asks the database of one log how its views are doing; from any process."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(**{READ_ONLY: True})

    def of(self, names: Sequence[str]) -> list[Progress]:
        """How these views are doing; one that has not begun stands at the beginning.

        Raises:
            Unavailable: the database is out of reach.
        """
        try:
            with self._engine.connect() as connection:
                return _progress(connection, names, time.time())
        except OperationalError as error:
            raise _out_of_reach() from error

    async def wait(self, name: str, saga_id: str, version: int, *, timeout: float) -> bool:
        """Whether a view has taken in a saga's event by then; as soon as it has.

        Raises:
            NotFound: there is no such event.
            Unavailable: the database is out of reach.
        """
        end = time.monotonic() + timeout
        pause = POLL_SECONDS
        while not await asyncio.to_thread(self.reached, name, saga_id, version):
            left = end - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, MAX_POLL_SECONDS)
        return True

    def reached(self, name: str, saga_id: str, version: int) -> bool:
        """Whether a view has taken in a saga's event. Raises as `wait` does."""
        try:
            with self._engine.connect() as connection:
                return reached(connection, name, saga_id, version)
        except OperationalError as error:
            raise _out_of_reach() from error


def reached(connection: sa.Connection, name: str, saga_id: str, version: int) -> bool:
    """Whether a view has taken in a saga's event.

    Raises:
        NotFound: there is no such event.
    """
    which = {"saga": check_id(saga_id), "version": version}
    place = connection.execute(_PLACE, which).first()
    if place is None:
        raise NotFound(f"Saga {saga_id!r} has no event {version}.")
    position = connection.scalar(_CHECKPOINT, {"name": name, "part": place.part})
    return position is not None and position >= place.position


def _progress(connection: sa.Connection, names: Sequence[str], now: float) -> list[Progress]:
    asked = {"names": list(names)}
    # The checkpoints first: read before the heads, none of them can be beyond its head.
    checkpoints = {
        (row.name, row.part): row.position for row in connection.execute(_CHECKPOINTS, asked)
    }
    heads = {row.part: row.head for row in connection.execute(_HEADS)}
    troubles = {row.name: row for row in connection.execute(_TROUBLES, asked)}
    found: list[Progress] = []
    for name in names:
        parts = tuple(
            PartProgress(part, checkpoints.get((name, part), 0), head)
            for part, head in sorted(heads.items())
        )
        position, head = sum(one.position for one in parts), sum(one.head for one in parts)
        trouble = troubles.get(name)
        found.append(
            Progress(
                name=name,
                position=position,
                head=head,
                behind=head - position,
                seconds_behind=_seconds_behind(connection, parts, now),
                error=trouble.error if trouble else None,
                error_part=trouble.part if trouble else None,
                error_position=trouble.position if trouble else None,
                failures=trouble.failures if trouble else 0,
                error_at=trouble.updated if trouble else None,
                parts=parts,
            )
        )
    return found


def _seconds_behind(connection: sa.Connection, parts: Sequence[PartProgress], now: float) -> float:
    oldest = [
        connection.scalar(_RECORDED, {"part": one.part, "position": one.position + 1})
        for one in parts
        if one.head > one.position
    ]
    return max((max(0.0, now - at) for at in oldest if at is not None), default=0.0)


def _out_of_reach() -> Unavailable:
    return Unavailable(
        "The database of the log is out of reach, or has no such tables.",
        hint="Check the URL, then `es-saga migrate status`.",
    )

"""What is new in the log: the events behind given positions, in the order of each part.

Whoever follows the log keeps a position for each of its parts; together they say exactly what has
been seen, so that one may go on from there without loss and without repetition.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from es_saga.core.errors import InvalidInput, Unavailable
from es_saga.core.messages import PARTS, part_of
from es_saga.database import READ_ONLY
from es_saga.projections.audit import AUDIT
from es_saga.projections.status import STATUS

MAX_NEWS: Final = 1_000
"""Events in one answer."""

_EVENTS = sa.table(
    "es_events",
    sa.column("part", sa.Integer),
    sa.column("position", sa.BigInteger),
    sa.column("originator_id", sa.Text),
    sa.column("originator_version", sa.Integer),
    sa.column("topic", sa.Text),
)
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_WRITTEN = re.compile(r"[0-9a-z]{1,12}(?:\.[0-9a-z]{1,12}){15}")
MAX_POSITION: Final = 2**62
"""Beyond what a log will ever hold, and within what every database can compare."""


class Positions(NamedTuple):
    """How far somebody has come in each part of the log."""

    of: tuple[int, ...]

    @classmethod
    def read(cls, text: str) -> Positions:
        """Positions out of their written form.

        >>> Positions.read(".".join(["0"] * 15 + ["z"])).of[15]
        35

        Raises:
            InvalidInput: these are none.
        """
        if not _WRITTEN.fullmatch(text):
            raise InvalidInput(
                "That is no place in the log.", hint="Give back an id that the stream gave you."
            )
        found = cls(tuple(int(number, 36) for number in text.split(".")))
        if max(found.of) > MAX_POSITION:
            raise InvalidInput("That is no place in the log: it is beyond its end.")
        return found

    def written(self) -> str:
        """As the id of an event in a stream: sixteen numbers to the base 36.

        >>> Positions((35,) * 16).written()[:5]
        'z.z.z'
        """
        return ".".join(map(_base36, self.of))

    def covers(self, other: Positions) -> bool:
        """Whether everything that `other` has seen is seen here too."""
        return all(own >= theirs for own, theirs in zip(self.of, other.of, strict=True))

    def after(self, part: int, position: int) -> Positions:
        """The same with one part further on; never further back."""
        if self.of[part] >= position:
            return self
        return Positions((*self.of[:part], position, *self.of[part + 1 :]))


class Happening(NamedTuple):
    """One event, in a few words. `status` is the saga's now, which may be later than the event."""

    part: int
    position: int
    saga_id: str
    version: int
    kind: str
    step: str | None
    at: float
    saga_type: str
    status: str


class Page(NamedTuple):
    """Some of the news, and how far one has come with them."""

    happenings: tuple[Happening, ...]
    positions: Positions


class News:
    """Reads what is new; blocking."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(**{READ_ONLY: True})
        ends = [
            sa.select(sa.func.max(_EVENTS.c.position))
            .where(_EVENTS.c.part == part)
            .scalar_subquery()
            .label(f"p{part}")
            for part in range(PARTS)
        ]
        self._ends = sa.select(*ends)

    def end(self) -> Positions:
        """Where the log ends now.

        Raises:
            Unavailable: the database is out of reach.
        """
        (row,) = self._rows([self._ends])
        return Positions(tuple(found or 0 for found in row[0]))

    def after(
        self,
        seen: Positions,
        *,
        saga_id: str | None = None,
        saga_type: str | None = None,
        limit: int = MAX_NEWS,
    ) -> Page:
        """Up to `limit` events behind `seen`, those of one saga or one type where one is named.

        Raises:
            InvalidInput: `seen` is beyond the log's end: it was another log's.
            Unavailable: the database is out of reach.
        """
        if not 1 <= limit <= MAX_NEWS:
            raise InvalidInput(f"News come {MAX_NEWS} at a time at most.")
        end = self.end()
        if not end.covers(seen):
            raise InvalidInput(
                "That place is beyond the log's end.", hint="Begin anew, without an id."
            )
        parts = range(PARTS) if saga_id is None else [part_of(saga_id)]
        waiting = [part for part in parts if end.of[part] > seen.of[part]]
        share = max(1, limit // max(1, len(waiting)))
        found = self._rows(
            [self._of_part(part, seen, end, saga_id, saga_type, share) for part in waiting]
        )
        positions = list(seen.of) if saga_id is None else list(end.of)
        lanes: list[list[Happening]] = []
        for part, rows in zip(waiting, found, strict=True):
            lanes.append([Happening._make((part, *row)) for row in rows])
            positions[part] = lanes[-1][-1].position if len(rows) == share else end.of[part]
        merged = heapq.merge(*lanes, key=lambda one: one.at)
        return Page(tuple(merged), Positions(tuple(positions)))

    @staticmethod
    def _of_part(
        part: int,
        seen: Positions,
        end: Positions,
        saga_id: str | None,
        saga_type: str | None,
        limit: int,
    ) -> sa.Executable:
        query = (
            sa.select(
                _EVENTS.c.position,
                _EVENTS.c.originator_id,
                _EVENTS.c.originator_version,
                _EVENTS.c.topic,
                AUDIT.c.step,
                AUDIT.c.at,
                STATUS.c.type,
                STATUS.c.status,
            )
            .join(
                AUDIT,
                sa.and_(
                    AUDIT.c.saga_id == _EVENTS.c.originator_id,
                    AUDIT.c.version == _EVENTS.c.originator_version,
                ),
            )
            .join(STATUS, STATUS.c.saga_id == _EVENTS.c.originator_id)
            .where(
                _EVENTS.c.part == part,
                _EVENTS.c.position > seen.of[part],
                _EVENTS.c.position <= end.of[part],
            )
            .order_by(_EVENTS.c.position)
            .limit(limit)
        )
        if saga_id is not None:
            query = query.where(_EVENTS.c.originator_id == saga_id)
        if saga_type is not None:
            query = query.where(STATUS.c.type == saga_type)
        return query

    def _rows(self, queries: Sequence[sa.Executable]) -> list[Sequence[sa.Row[Any]]]:
        try:
            with self._engine.connect() as connection:
                return [connection.execute(query).all() for query in queries]
        except OperationalError as error:
            raise Unavailable(
                "The database of the log is out of reach, or has no such tables.",
                hint="Check the URL, then `es-saga migrate status`.",
            ) from error


def _base36(number: int) -> str:
    return "".join(_digits(number)) or "0"


def _digits(number: int) -> Iterator[str]:
    found: list[str] = []
    while number:
        number, digit = divmod(number, 36)
        found.append(_DIGITS[digit])
    return reversed(found)

"""Lists of sagas: any mix of filters, the most recently changed first, a page at a time.

A page is bounded by what is read for it, not only by what is found. Filters on status, type, id and
business id go by an index. The others look through the sagas these leave, at most MAX_LOOKED of
them; then the page ends early, and says how far back it has looked and how to go on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput
from es_saga.projections.status import STATUS

MAX_PAGE: Final = 1_000
"""Rows in one answer."""

MAX_COUNT: Final = 1_000
"""Sagas are counted up to here; beyond, it is "more than that"."""

MAX_LOOKED: Final = 2_000
"""Sagas looked through for one page where no index leads to what is wanted."""

MAX_TEXT: Final = 200
"""Characters in one filter."""

_FEW: Final = 500
"""As many sagas that begin with a text are looked up by their ids; of more, the latest first."""

STATUSES: Final = (
    "running",
    "waiting",
    "compensating",
    "stuck",
    "completed",
    "compensated",
    "compensated-with-exceptions",
)

OPEN: Final = STATUSES[:4]
"""Statuses of sagas that are not closed."""

FAILING: Final = tuple(status for status in STATUSES if status != "completed")
"""Statuses in which a saga may have a reason: what completed has none."""

_END_OF_PREFIX: Final = "\U0010ffff"
_CURSOR: Final = re.compile(r"([0-9.e+-]{1,32})~([A-Za-z0-9_-]{0,64})")

T = TypeVar("T")
AnySelect: TypeAlias = "sa.Select[*tuple[Any, ...]]"
AnyRow: TypeAlias = "sa.Row[*tuple[Any, ...]]"


class Cursor(NamedTuple):
    """Where a page ends, and so where the next one begins: behind this saga, changed then."""

    updated: float
    saga_id: str

    @classmethod
    def read(cls, text: str) -> Cursor:
        """A cursor out of its written form.

        >>> Cursor.read("1700000000.25~order-1")
        Cursor(updated=1700000000.25, saga_id='order-1')

        Raises:
            InvalidInput: it is none.
        """
        match = _CURSOR.fullmatch(text)
        try:
            updated = float(match[1]) if match else math.nan
        except ValueError:
            updated = math.nan
        if match is None or not math.isfinite(updated):
            raise InvalidInput(
                f"{text[:80]!r} is no place in the list.", hint="Give back what a page gave you."
            )
        return cls(updated, match[2])

    def written(self) -> str:
        """As part of a URL.

        >>> Cursor(1700000000.25, "order-1").written()
        '1700000000.25~order-1'
        """
        return f"{self.updated!r}~{self.saga_id}"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows, and where to go on."""

    rows: tuple[T, ...]
    next: Cursor | None = None
    """None: there is nothing more."""
    looked_back_to: float | None = None
    """The page ended early: everything that changed since then was looked at, nothing older."""


class Count(NamedTuple):
    """How many there are."""

    number: int
    more: bool
    """There are at least as many, but more were not counted."""

    def __str__(self) -> str:
        return f"{self.number:,}+" if self.more else f"{self.number:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaFilter:
    """Which sagas. What is not given does not matter; what is given must hold all together.

    Raises:
        InvalidInput: an unknown status, a text that is empty or too long, a time that is none.
    """

    status: tuple[str, ...] = ()
    """Any of these."""
    type: str | None = None
    business_id: str | None = None
    step: str | None = None
    """In progress at this step, or stuck at it; as it was written, it is any of its items too."""
    reason: str | None = None
    """Part of the reason, in small letters or large."""
    since: float | None = None
    """Changed at this time or later; seconds since the epoch, as all of these."""
    until: float | None = None
    """Changed before this time."""
    created_since: float | None = None
    created_until: float | None = None
    search: str | None = None
    """How the saga's id or its business id begins."""

    def __post_init__(self) -> None:
        for status in self.status:
            if status not in STATUSES:
                raise InvalidInput(
                    f"{status[:80]!r} is no status.", hint=f"One of: {', '.join(STATUSES)}."
                )
        for name in ("type", "business_id", "step", "reason", "search"):
            value = getattr(self, name)
            if value is not None:
                check_text(value, name)
        for name in ("since", "until", "created_since", "created_until"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise InvalidInput(f"{name} is no time: {value}.")

    @property
    def statuses(self) -> tuple[str, ...]:
        """Those that a saga which fits may have, each once."""
        wanted = [status for status in STATUSES if not self.status or status in self.status]
        if self.step is not None:
            wanted = [status for status in wanted if status in OPEN]
        if self.reason is not None:
            wanted = [status for status in wanted if status in FAILING]
        return tuple(wanted)


def check_text(value: str, what: str) -> str:
    """`value` itself if it can be looked for.

    Raises:
        InvalidInput: it is empty, too long, or not what a database can compare.
    """
    if not 1 <= len(value) <= MAX_TEXT or "\0" in value or not value.isprintable():
        raise InvalidInput(f"{what} takes 1 to {MAX_TEXT} printable characters.")
    return value


def find(
    connection: sa.Connection, wanted: SagaFilter, *, after: Cursor | None, limit: int
) -> tuple[list[sa.RowMapping], Cursor | None, float | None]:
    """Rows of the status view; where the next page begins; how far back was looked.

    Raises:
        InvalidInput: a limit out of range.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"A page has 1 to {MAX_PAGE} rows, not {limit}.")
    lanes, looked = _lanes(connection, wanted, after)
    if not lanes:
        return [], None, None
    rows = list(connection.execute(_merged(lanes, limit + 1)).mappings())
    if len(rows) > limit:
        last = rows[limit - 1]
        return rows[:limit], Cursor(last["updated"], last["saga_id"]), None
    # Everything that changed at the very time of `looked` was looked at, too.
    return rows, None if looked is None else Cursor(looked, ""), looked


def count(connection: sa.Connection, wanted: SagaFilter) -> Count:
    """How many sagas fit, as far as they are counted."""
    lanes, looked = _lanes(connection, wanted, None)
    if not lanes:
        return Count(0, more=False)
    # In order, so that the index is read, and not whatever comes first in the table.
    ids = [
        _ordered(sa.select(STATUS.c.saga_id).where(*lane), STATUS.c).limit(MAX_COUNT + 1)
        for lane in lanes
    ]
    some = sa.union_all(*(sa.select(one.subquery()) for one in ids)).limit(MAX_COUNT + 1)
    found = connection.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()
    return Count(min(found, MAX_COUNT), more=found > MAX_COUNT or looked is not None)


Lane = Sequence[sa.ColumnElement[bool]]
"""Conditions that one index leads to in order; the lanes of a list have no saga in common."""


def _lanes(
    connection: sa.Connection, wanted: SagaFilter, after: Cursor | None
) -> tuple[list[Lane], float | None]:
    """What to read for a list, and where it has to end before everything was looked at."""
    since, until = _since(wanted), [*_until(wanted, after)]
    exact = [*_exact(wanted)]
    by_id = _by_id(connection, wanted)
    if by_id is not None:
        statuses = STATUS.c.status.in_(wanted.statuses)
        return [[by_id, statuses, *_of_type(wanted), *exact, *_from(since), *until]], None
    lanes = [[STATUS.c.status == status, *_of_type(wanted)] for status in wanted.statuses]
    looked = None
    if exact and lanes:
        looked = _far_enough(connection, [[*lane, *_from(since), *until] for lane in lanes])
    # One lower bound, not two: the database goes by one of them, and it may not be the better one.
    begin = since if looked is None else looked
    return [[*lane, *_from(begin), *until, *exact] for lane in lanes], looked


def _of_type(wanted: SagaFilter) -> Iterator[sa.ColumnElement[bool]]:
    if wanted.type is not None:
        yield STATUS.c.type == wanted.type


def _since(wanted: SagaFilter) -> float | None:
    """Where the list begins; what began since then has changed since then."""
    times = [time for time in (wanted.since, wanted.created_since) if time is not None]
    return max(times) if times else None


def _from(since: float | None) -> Iterator[sa.ColumnElement[bool]]:
    if since is not None:
        yield STATUS.c.updated >= since


def _until(wanted: SagaFilter, after: Cursor | None) -> Iterator[sa.ColumnElement[bool]]:
    """Where the list ends."""
    if wanted.until is not None:
        yield STATUS.c.updated < wanted.until
    if after is not None:
        key = sa.tuple_(STATUS.c.updated, STATUS.c.saga_id)
        yield key < sa.tuple_(*map(sa.literal, after))


def _exact(wanted: SagaFilter) -> Iterator[sa.ColumnElement[bool]]:
    """What no index knows."""
    if wanted.step is not None:
        at_it = sa.literal(",") + STATUS.c.reason_step + sa.literal(",")
        yield is_at(wanted.step) | sa.and_(STATUS.c.status == "stuck", _names(at_it, wanted.step))
    if wanted.reason is not None:
        yield STATUS.c.reason.icontains(wanted.reason, autoescape=True)
    if wanted.created_since is not None:
        yield STATUS.c.created >= wanted.created_since
    if wanted.created_until is not None:
        yield STATUS.c.created < wanted.created_until
    if wanted.search is not None:
        yield _has_prefix(STATUS.c.saga_id, wanted.search) | _has_prefix(
            STATUS.c.business_id, wanted.search
        )


def is_at(step: str) -> sa.ColumnElement[bool]:
    """Of a row of the status view: the step is in progress, or one that stands for it."""
    return _names(sa.literal(",") + STATUS.c.current + sa.literal(","), step)


def _names(listed: sa.ColumnElement[Any], step: str) -> sa.ColumnElement[bool]:
    """Whether a list between commas has a step, one of its items, or the step on another way."""
    ends = (",", *(f"{mark}{digit}" for mark in "-." for digit in range(1, 10)))
    return sa.or_(*(listed.contains(f",{step}{end}", autoescape=True) for end in ends))


def _has_prefix(column: sa.ColumnElement[Any], text: str) -> sa.ColumnElement[bool]:
    """Said so that no index is used for it: the list is in another one's order."""
    return sa.func.substr(column, 1, len(text)) == text


def _begins(column: sa.ColumnElement[Any], text: str) -> sa.ColumnElement[bool]:
    """Said so that the index on the column leads to it."""
    return sa.and_(column >= text, column < text + _END_OF_PREFIX)


def _by_id(connection: sa.Connection, wanted: SagaFilter) -> sa.ColumnElement[bool] | None:
    """A condition that leaves few sagas, if ids are given that do."""
    if wanted.business_id is not None:
        return STATUS.c.business_id == wanted.business_id
    if wanted.search is None:
        return None
    found: set[str] = set()
    for column in (STATUS.c.saga_id, STATUS.c.business_id):
        query = sa.select(STATUS.c.saga_id).where(_begins(column, wanted.search)).order_by(column)
        found.update(connection.execute(query.limit(_FEW + 1)).scalars())
        if len(found) > _FEW:
            return None
    return STATUS.c.saga_id.in_(sorted(found)) if found else sa.false()


def _far_enough(connection: sa.Connection, lanes: Sequence[Lane]) -> float | None:
    """A time so that no more than MAX_LOOKED sagas changed since; None: there are no more."""
    share = MAX_LOOKED // len(lanes)
    ends = [
        sa.select(STATUS.c.updated)
        .where(*lane)
        .order_by(STATUS.c.updated.desc())
        .offset(share)
        .limit(1)
        for lane in lanes
    ]
    every = sa.union_all(*(sa.select(end.subquery()) for end in ends)).subquery()
    found: float | None = connection.execute(sa.select(sa.func.max(every.c[0]))).scalar_one()
    return found


def _merged(lanes: Sequence[Lane], limit: int) -> AnySelect:
    """The first rows of all lanes together: their keys are merged, then the rows looked up."""
    keys = (STATUS.c.updated, STATUS.c.saga_id)
    firsts = [_ordered(sa.select(*keys).where(*lane), STATUS.c).limit(limit) for lane in lanes]
    every = sa.union_all(*(sa.select(first.subquery()) for first in firsts)).subquery()
    some = _ordered(sa.select(every.c.saga_id), every.c).limit(limit).subquery()
    found = sa.select(STATUS).join(some, STATUS.c.saga_id == some.c.saga_id)
    return _ordered(found, STATUS.c)


def _ordered(query: AnySelect, columns: Any) -> AnySelect:
    return query.order_by(columns.updated.desc(), columns.saga_id.desc())

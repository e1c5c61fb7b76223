"""Invariants of the participants' data: what must be true of all their databases together.

    def nothing_is_lost(books: Books, sagas: Sagas) -> None:
        shelves = books["stock"].scalar(sa.text("SELECT sum(on_hand + reserved) FROM stock"))
        assert shelves == 100

    check_saga(order, participants=[stock, payments], invariant=nothing_is_lost)

One is asked when a world is settled: every saga has ended or is stuck, and no message is on its
way. As `always=` it is asked after each transaction, too, in the middle of everything. It is a
view: what it writes is rolled back.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput
from es_saga.core.state import SagaState, SagaStatus
from es_saga.participant.kit import Participant
from es_saga.testing.simulation.databases import Database, Row

Books = Mapping[str, sa.Connection]
"""A connection to the database of each participant that is served by its handlers, by name."""

Sagas = Mapping[str, SagaState]
"""Where each saga stands, by id."""

Invariant = Callable[[Books, Sagas], None]
"""Raises AssertionError where something is not as it must be."""

Total = Callable[[Books], int]
"""What must never change, whatever happens: reserved + available + consumed, say (law L75)."""

MAX_ROWS_TOLD: Final = 3
"""So many rows that came and went are told of each table."""


F = TypeVar("F", bound=Callable[..., object])


def as_many(given: F | Sequence[F]) -> tuple[F, ...]:
    """One or several, as a tuple."""
    return (given,) if callable(given) else tuple(given)


def objections(
    invariants: Sequence[Invariant], databases: Mapping[str, Database], sagas: Sagas
) -> Iterator[str]:
    """What they have to object to."""
    books = {name: database.connection for name, database in databases.items()}
    for invariant in invariants:
        try:
            invariant(books, sagas)
        except AssertionError as error:
            yield f"{invariant.__name__}: {_said(error)}"
        except Exception as error:  # it is the user's; nothing else can be said of the world
            yield f"{invariant.__name__} cannot be asked: {type(error).__name__}: {error}"
        finally:
            for book in books.values():
                book.rollback()


def _said(error: AssertionError) -> str:
    """The first line of the message; for want of one, the line that says what was expected."""
    said = str(error).strip().partition("\n")[0]
    return said or traceback.extract_tb(error.__traceback__)[-1].line or "it does not hold"


# ── as if nothing had happened ───────────────────────────────────────────────────────────────────


def check_residue(residue: Collection[str], participants: Iterable[Participant]) -> None:
    """Look whether what may stay behind is something that exists.

    Raises:
        InvalidInput: there is no such table or column.
    """
    tables = [table for one in participants if one.tables for table in one.tables.sorted_tables]
    known = {table.name for table in tables}
    known |= {f"{table.name}.{column.name}" for table in tables for column in table.columns}
    for one in residue:
        if one not in known:
            raise InvalidInput(
                f"residue: there is no {one!r}.", hint="Write 'table' or 'table.column'."
            )


def left_behind(
    residue: Collection[str], databases: Mapping[str, Database], sagas: Sagas
) -> Iterator[str]:
    """What is not as it was in the beginning, where every saga was undone (law L58)."""
    if {state.status for state in sagas.values()} != {SagaStatus.COMPENSATED}:
        return
    for name, database in databases.items():
        before, after = database.first_rows, database.rows()
        for table in database.tables.values():
            if table.name in residue:
                continue
            kept = [
                number
                for number, column in enumerate(table.columns)
                if f"{table.name}.{column.name}" not in residue
            ]
            was, now = (_only(kept, rows[table.name]) for rows in (before, after))
            if was != now:
                gone = [f"- {row}" for row in (was - now).elements()]
                come = [f"+ {row}" for row in (now - was).elements()]
                told = " ".join([*gone[:MAX_ROWS_TOLD], *come[:MAX_ROWS_TOLD]])
                yield f"every saga was undone, and {table.name} of {name} is not as it was: {told}"


def _only(columns: Sequence[int], rows: Iterable[Row]) -> Counter[Row]:
    return Counter(tuple(row[column] for column in columns) for row in rows)

"""Laws of the data that several sagas share, judged in the participants' own databases.

They look at what the countermeasures of the participant kit keep there, and apply where those are
used: in a world whose participants are played by their handlers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from es_saga.core.state import SagaState
from es_saga.participant.accesses import ACCESSES
from es_saga.participant.semantic_lock import LOCKS, WAITS, circle_through
from es_saga.testing.anomalies import Access, anomalies
from es_saga.testing.laws.law import Law, law


class Data(NamedTuple):
    """One participant's database, between two transactions."""

    participant: str
    book: sa.Connection
    tables: frozenset[str]
    """Those that the participant declares."""
    sagas: Mapping[str, SagaState]


DataLaw = Law[Data, str]


def locks_used(data: Data) -> object:
    """The participant has semantic locks."""
    return LOCKS in data.tables


@law("L63", locks_used)
def no_lock_outlives_its_saga(data: Data) -> Iterator[str]:
    """A pending flag set by a saga is cleared in every ending (FZ)."""
    for record, saga in data.book.execute(sa.text(f"SELECT record, saga FROM {LOCKS}")):
        state = data.sagas.get(saga)
        if state is None or state.closed is not None:
            yield f"{record} is still locked by {saga}, which is over"


@law("L64", locks_used)
def no_circle_of_waiting_stays(data: Data) -> Iterator[str]:
    """No waits-for cycle among semantic locks stays undetected (FZ).

    It was there to be seen by everybody in it who has asked again since it closed.
    """
    rows = data.book.execute(sa.text(f"SELECT saga, holder, since, looked FROM {WAITS}")).all()
    waits: dict[str, set[str]] = {}
    for saga, holder, _, _ in rows:
        waits.setdefault(saga, set()).add(holder)
    for saga in waits:
        circle = circle_through(saga, waits)
        edges = [row for row in rows if row[0] in circle and row[1] in circle]
        closed = max((since for _, _, since, _ in edges), default=0)
        if circle and all(looked > closed for _, _, _, looked in edges):
            yield f"{', '.join(sorted(circle))} wait for each other, and nobody gives way"
            return


def accesses_declared(data: Data) -> object:
    """The participant declares what sagas read and write."""
    return ACCESSES in data.tables


@law("L70", accesses_declared)
def what_sagas_do_to_each_other_is_told(data: Data) -> Iterator[str]:
    """Every lost update, dirty read and fuzzy read is either absent or reported (FZ)."""
    query = sa.text(f"SELECT saga, kind, record FROM {ACCESSES} ORDER BY number")
    for anomaly in anomalies(Access(*row) for row in data.book.execute(query)):
        yield str(anomaly)

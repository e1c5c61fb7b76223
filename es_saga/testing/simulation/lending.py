"""Databases for worlds: lent for as long as one lasts, and kept for the next one."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager

from es_saga.participant.kit import Participant
from es_saga.testing.simulation.databases import Database
from es_saga.testing.simulation.in_memory import InMemory
from es_saga.testing.simulation.on_postgres import OnPostgres

_spare: weakref.WeakKeyDictionary[Participant, list[Database]] = weakref.WeakKeyDictionary()
"""Databases that are not in use: making one takes as long as many a world."""

_one_at_a_time = threading.RLock()
"""For worlds that prepare: in one server no two transactions are prepared under one name, and ids
of holds are alike from world to world."""


@contextmanager
def opened(participants: Iterable[Participant]) -> Generator[Mapping[str, Database]]:
    """A database as new for each participant, by name."""
    given = list(participants)
    lent: list[tuple[list[Database], Database]] = []
    databases: dict[str, Database] = {}
    with ExitStack() as stack:
        if any(participant.prepares_holds for participant in given):
            stack.enter_context(_one_at_a_time)
        for participant in given:
            spare = _spare.setdefault(participant, [])
            database = spare.pop() if spare else _made(participant)
            stack.callback(database.give_up)
            database.renew()
            lent.append((spare, database))
            databases[participant.name] = database
        yield databases
    for spare, database in lent:  # after an error they may be in use for ever
        spare.append(database)


def _made(participant: Participant) -> Database:
    return OnPostgres(participant) if participant.prepares_holds else InMemory(participant)

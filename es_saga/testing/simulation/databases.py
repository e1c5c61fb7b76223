"""What a world asks of the databases of participants that are played: one each, as new every time.

A database is made by the participant kit's `create_tables`, hooks of its tables included, and from
then on restored. It belongs to no process: a process that dies takes its connection with it, and
what was not committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import sqlalchemy as sa

from es_saga.participant.kit import Participant
from es_saga.participant.work import Desk, Statements
from es_saga.testing.simulation.doubts import Doubts

Row = tuple[Any, ...]


class Database(Protocol):
    """One participant's database."""

    engine: sa.Engine
    statements: Statements
    connection: sa.Connection
    """For those who look at it."""
    tables: Mapping[str, sa.Table]
    """Those that the participant declares."""
    first_rows: Mapping[str, list[Row]]
    """What they held when it was made."""

    @property
    def doubts(self) -> Doubts | None:
        """What is prepared in it; None: nothing ever is."""
        ...

    def rows(self) -> Mapping[str, list[Row]]:
        """What they hold now."""
        ...

    def renew(self) -> None:
        """Make it as it was when it was made."""
        ...

    def give_up(self) -> None:
        """Give up what is neither committed nor rolled back, when its world is at an end."""
        ...

    def changes(self, desk: Desk) -> int:
        """A number that grows with every row that a desk's open transaction changes."""
        ...

    def in_transaction(self, desk: Desk) -> bool:
        """Whether a desk has a transaction open."""
        ...


def tables_of(participant: Participant) -> Mapping[str, sa.Table]:
    """The tables that it declares, by name."""
    if participant.tables is None:
        return {}
    return {table.name: table for table in participant.tables.sorted_tables}

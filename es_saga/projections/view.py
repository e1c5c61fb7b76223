"""What a read model is to the log: told of every event, inside the transaction that writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import sqlalchemy as sa

from es_saga.core.aggregate import SagaState
from es_saga.engine.ports import Recorded


class View(Protocol):
    """A read model that is kept in step with the log.

    Its writes, its checkpoint and the events commit together, so whoever sees an event sees the
    view after it. A view that raises holds up the events it was told of: it must be total.
    """

    @property
    def name(self) -> str:
        """Under which its checkpoint stands in `es_tracking`; for ever."""
        ...

    @property
    def metadata(self) -> sa.MetaData:
        """Its tables, so that it can be built anew beside the one in use."""
        ...

    def apply(
        self, connection: sa.Connection, events: Sequence[Recorded], states: Mapping[str, SagaState]
    ) -> None:
        """Take in new events.

        Args:
            connection: in a transaction that somebody else commits, on a thread of its own.
            events: in the order of each part; parts may alternate.
            states: every saga the events touch, as it is after them.
        """
        ...

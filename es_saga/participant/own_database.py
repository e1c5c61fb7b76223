"""A service's own database, as those that work on it have it: opened, made ready, let go."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from es_saga.core.errors import SagaError, Unavailable
from es_saga.database import create_missing, make_engine
from es_saga.participant import fence, holds, inbox, outbox
from es_saga.participant.kit import Participant


class NotPrepared(SagaError):
    """The service's database lacks a table that is needed. Create it by a migration."""

    code = "not-prepared"

    def __init__(self, service: str, table: str) -> None:
        super().__init__(
            f"The database of {service} has no table `{table}`.",
            hint=f"See `es_saga.participant.{table.removeprefix('es_')}`.",
        )


class OwnDatabase:
    """The database of `service`: somebody's engine, or a URL, of which we make one and end it."""

    def __init__(
        self, service: str, database: sa.Engine | sa.URL | str, *, connections: int = 2
    ) -> None:
        self._service = service
        self._is_ours = not isinstance(database, sa.Engine)
        self.engine = (
            database
            if isinstance(database, sa.Engine)
            else make_engine(database, pool_size=connections)
        )

    @contextmanager
    def within_reach(self) -> Generator[None, None, None]:
        """Look at it, at the start.

        Raises:
            Unavailable: it is out of reach.
        """
        try:
            yield
        except SQLAlchemyError as error:
            raise Unavailable(
                f"The database of {self._service} is out of reach: {error}",
                hint="Check its URL, and that it is running.",
            ) from error

    def require(self, table: sa.Table) -> None:
        """Look whether it is there.

        Raises:
            NotPrepared: it is not.
        """
        if not sa.inspect(self.engine).has_table(table.name):
            raise NotPrepared(self._service, table.name)

    def let_go(self) -> None:
        """It is not needed any more."""
        if self._is_ours:
            self.engine.dispose()


def create_tables(participant: Participant, engine: sa.Engine) -> None:
    """Create the participant's tables and ours where they are missing: for demos and tests."""
    tables = [fence.metadata]
    if participant.tables is not None:
        tables.append(participant.tables)
    if participant.outbox is not None:
        tables.append(outbox.metadata)
    if participant.reactions:
        tables.append(inbox.metadata)
    if participant.has_holds:
        tables.append(holds.metadata)
    with engine.begin() as connection:
        create_missing(connection, *tables)

"""Where the handlers of one worker work: a connection, kept, and a guard on its transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from es_saga.participant.kit import Participant
from es_saga.participant.outage import Unreachable
from es_saga.participant.work import Desk, Statements

RECONNECT_SECONDS = 1.0
"""After a failed connect, this long passes before the next."""

_log = structlog.get_logger("es_saga.participant")

_TRIGGERS_OR_RULES = """
SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger WHERE NOT tgisinternal)
    OR EXISTS (SELECT 1 FROM pg_catalog.pg_rules
               WHERE schemaname NOT IN ('pg_catalog', 'information_schema'))
"""


class TransactionMisuse(RuntimeError):
    """A handler tried to end the transaction. Return or raise instead: the kit ends it."""


class Workplace:
    """One connection to a participant's database, made on demand; `clock` tells seconds that pass.

    While `handling` is set, whoever ends the transaction is refused, and `misused` remembers it.
    """

    def __init__(
        self, engine: sa.Engine, participant: Participant, clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._who = participant.name
        self._outbox = participant.outbox
        self._clock = clock
        self.statements = Statements(engine.dialect)
        self._desk: Desk | None = None
        self._connect_after = 0.0
        self._reachable = True
        self.handling = False
        self.misused = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection; it may be stale."""
        return self._desk is not None

    def connect(self) -> Desk:
        """The connection.

        Raises:
            Unreachable: one could not be had a moment ago.
            SQLAlchemyError: it cannot be had.
        """
        if self._desk is not None:
            return self._desk
        if self._clock() < self._connect_after:
            raise Unreachable(Unreachable.__doc__)
        self.misused = False
        try:
            connection = self._engine.connect().execution_options(preserve_rowcount=True)
            counts_prove = _counts_prove(connection)
        except SQLAlchemyError:
            self._connect_after = self._clock() + RECONNECT_SECONDS
            raise
        for moment in ("commit", "rollback"):
            event.listen(connection, moment, self._guard)
        self._desk = Desk(connection, self.statements, counts_prove, self._outbox)
        return self._desk

    def disconnect(self) -> None:
        """Let go of the connection, whatever state it is in."""
        desk, self._desk = self._desk, None
        if desk is not None:
            with suppress(SQLAlchemyError):
                desk.connection.invalidate()
                desk.connection.close()

    def roll_back(self, transaction: sa.RootTransaction) -> None:
        """Undo the transaction."""
        try:
            transaction.rollback()
        except SQLAlchemyError:
            self.disconnect()
        if self.misused:  # SQLAlchemy no longer knows what state the transaction is in
            self.disconnect()

    def note_outage(self, error: Exception) -> None:
        """The database is out of reach: let go, and tell it once."""
        self.disconnect()
        if self._reachable:
            self._reachable = False
            _log.error("database_unreachable", participant=self._who, error=str(error))

    def note_reachable(self) -> None:
        """The database is within reach: tell it, if it was not."""
        if not self._reachable:
            self._reachable = True
            # As loud as the outage: whoever saw that one wants to see its end.
            _log.warning("database_back", participant=self._who)

    def _guard(self, _connection: sa.Connection) -> None:
        """Refuse that a handler ends the transaction: it holds the work of others."""
        if self.handling:
            self.misused = True
            raise TransactionMisuse(TransactionMisuse.__doc__)


def wait_for_locks(connection: sa.Connection, seconds: float) -> None:
    """Have this transaction wait no longer for a lock, where the database can be told so."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{1e3 * seconds:g}ms'")


def _counts_prove(connection: sa.Connection) -> bool:
    """Whether a statement that changed no row, by its count, certainly changed none."""
    if connection.dialect.name == "sqlite":
        return True  # it counts what triggers change, too: see `Desk.changes`
    try:
        with connection.begin():
            return not connection.exec_driver_sql(_TRIGGERS_OR_RULES).scalar()
    except SQLAlchemyError:
        connection.close()
        raise

"""One run of one handler: what it executes, and whether that may have changed anything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from es_saga.core.errors import DefinitionError
from es_saga.core.messages import Envelope, Event
from es_saga.participant.fence import Record
from es_saga.participant.outbox import Outbox, es_outbox

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    Rows = sa.CursorResult[*tuple[Any, ...]]

MAX_STATEMENTS = 1_000
"""How many statements given as strings are kept compiled, for each worker."""

_ADD = sa.insert(es_outbox)

Parameters = Mapping[str, object] | Sequence[Mapping[str, object]]


class Effect(Enum):
    """What a statement can do to the database, judged by its text."""

    READS = 1
    WRITES_ROWS = 2
    """A plain INSERT, UPDATE or DELETE: its row count says whether it changed anything."""
    UNCLEAR = 3


_LEADING_NOISE = re.compile(r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*", re.DOTALL)
_FIRST_WORD = re.compile(r"[A-Za-z]*")
_INTO = re.compile(r"\bINTO\b", re.IGNORECASE)


def effect_of(sql: str) -> Effect:
    """Conservative: READS and WRITES_ROWS only where the text leaves no doubt.

    >>> effect_of("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone")
    <Effect.UNCLEAR: 3>
    """
    noise = _LEADING_NOISE.match(sql)
    word = _FIRST_WORD.match(sql, noise.end() if noise else 0)
    first = word.group().upper() if word else ""
    if first == "SELECT":
        return Effect.UNCLEAR if _INTO.search(sql) else Effect.READS
    return Effect.WRITES_ROWS if first in ("INSERT", "UPDATE", "DELETE") else Effect.UNCLEAR


class Statement(NamedTuple):
    """A string statement, ready for the driver."""

    sql: str
    positions: tuple[str, ...] | None
    """Names of the parameters in the driver's order; None where it takes names."""
    effect: Effect

    def arguments(self, parameters: Parameters | None) -> Any:
        """The parameters in the driver's shape."""
        if parameters is None:
            return ()
        if not isinstance(parameters, Mapping):
            return [self.arguments(row) for row in parameters]
        if self.positions is None:
            return parameters
        try:
            return tuple([parameters[name] for name in self.positions])
        except KeyError as error:
            raise TypeError(f"{self.sql!r} needs a parameter {error}") from None


class Statements:
    """String statements of one worker, each compiled once for its dialect."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        self._known: dict[str, Statement] = {}

    def of(self, text: str) -> Statement:
        found = self._known.get(text)
        return found if found is not None else self._compile(text)

    def _compile(self, text: str) -> Statement:
        compiled: Any = sa.text(text).compile(dialect=self._dialect)
        positions: Sequence[str] | None = compiled.positiontup if compiled.positional else None
        made = Statement(
            sql=str(compiled),
            positions=None if positions is None else tuple(positions),
            effect=effect_of(text),
        )
        if len(self._known) >= MAX_STATEMENTS:
            self._known.clear()
        self._known[text] = made
        return made


class Desk:
    """What the handlers of one worker work with: its connection and what is known about it."""

    __slots__ = ("connection", "counts_prove", "driver", "outbox", "statements")

    def __init__(
        self,
        connection: sa.Connection,
        statements: Statements,
        counts_prove: bool,
        outbox: Outbox | None,
    ) -> None:
        self.connection = connection
        self.statements = statements
        self.outbox = outbox
        """Where the participant's events go, if it publishes any."""
        self.counts_prove = counts_prove
        """A row count of 0 proves that nothing was written: no trigger or rule can have."""
        self.driver: Any = connection.connection.dbapi_connection

    def changes(self) -> int:
        """A number that grows with every row changed, on SQLite, triggers included; else 0."""
        return getattr(self.driver, "total_changes", 0)


class Work:
    """One run of one handler: its part of the transaction."""

    __slots__ = ("_changes", "_desk", "_session", "_wrote", "envelope", "forward", "kept")

    def __init__(self, desk: Desk, envelope: Envelope, forward: Record | None) -> None:
        self._desk = desk
        self.envelope = envelope
        self.forward = forward
        """The record of the command that this one undoes."""
        self.kept: list[tuple[str, Mapping[str, object]]] = []
        """See `keep`."""
        self._wrote = False
        self._changes = desk.changes()
        self._session: Session | None = None

    def publish(self, event: Event, correlation_id: str | None) -> None:
        """Add an event to the outbox.

        Raises:
            DefinitionError: the participant does not say that it publishes such events.
            InvalidInput: see `Outbox.add`.
        """
        outbox = self._desk.outbox
        if outbox is None or type(event) not in outbox.events:
            name = type(event).__name__
            fault = f"it publishes {name}, and does not say so: Participant(publishes=[{name}])"
            raise DefinitionError(outbox.service if outbox else "", [fault], kind="participant")
        row = outbox.row(event, cause=self.envelope, correlation_id=correlation_id)
        self.run(_ADD, row, reading=False)

    def session(self) -> Session:
        """The handler's ORM session, the same one on every call."""
        from sqlalchemy.orm import Session  # not every participant needs the ORM

        if self._session is None:
            self.touch()
            self._session = Session(
                bind=self._desk.connection, join_transaction_mode="create_savepoint"
            )
        return self._session

    def touch(self) -> sa.Connection:
        """The connection, out of our sight from now on."""
        self._wrote = True
        return self._desk.connection

    def keep(self, statement: str, parameters: Mapping[str, object]) -> None:
        """Have this executed if the command fails or is refused: its own writes are rolled back."""
        self.kept.append((statement, parameters))

    def has_written(self) -> bool:
        """Whether it may have changed the database; in doubt, yes."""
        return self._wrote or self._desk.changes() != self._changes

    def finish(self) -> None:
        """Flush and close the session, if there is one."""
        if self._session is not None:
            self._session.commit()
            self._session.close()

    def abandon(self) -> None:
        """Close the session, if there is one, with what it holds."""
        if self._session is not None:
            self._session.close()

    def run(
        self, statement: str | sa.Executable, parameters: Parameters | None, *, reading: bool
    ) -> Rows:
        """Execute, and note whether anything may have been written."""
        wrote, self._wrote = self._wrote, True  # and so it stays, should this raise
        connection = self._desk.connection
        if isinstance(statement, str):
            known = self._desk.statements.of(statement)
            result = connection.exec_driver_sql(known.sql, known.arguments(parameters))
            effect = known.effect
        else:
            result = connection.execute(statement, parameters)
            effect = effect_of(result.context.statement)  # its SQL, by then
        if effect is Effect.READS:
            harmless = reading
        else:
            no_row = effect is Effect.WRITES_ROWS and result.rowcount == 0
            harmless = no_row and self._desk.counts_prove
        if harmless:
            self._wrote = wrote
        return result

    def changed(self, statement: str | sa.Executable, parameters: Parameters | None) -> int:
        result = self.run(statement, parameters, reading=False)
        result.close()
        return max(result.rowcount, 0)

"""`Tx`: a handler's own SQL, inside the transaction that also holds the fence's record.

`Tx` is for `async def` handlers, `SyncTx` for plain ones; both speak to one synchronous SQLAlchemy
connection that belongs to the worker thread the handler runs in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import sqlalchemy as sa

from es_saga.core.messages import Event, Message
from es_saga.participant.work import Parameters, Work

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

M = TypeVar("M", bound=Message)


class Received(NamedTuple):
    """The facts on a command's envelope, or on an event's."""

    id: str
    """The idempotency key; the same on every attempt."""
    attempt: int
    direction: Literal["REQUEST", "CANCEL"]
    """CANCEL: it undoes another command (requirement R075)."""
    saga_id: str | None
    step: str | None
    deadline: float | None
    """Seconds since the epoch after which the sender no longer waits for this attempt."""
    undoes: str | None
    """On a CANCEL: the id of the forward command."""


class Transaction:
    """What both flavours of `tx` have.

    Statements are strings with `:name` parameters, or SQLAlchemy Core constructs. They run at once,
    on the worker's thread. Values for strings go to the driver as they are. Errors of the database
    are SQLAlchemy's. Commands that arrive together share the transaction: what one handler leaves
    in it, the next one sees.

    A refusal is rolled back if it may have written (requirement R034), and nothing but a plain
    SELECT, or an INSERT, UPDATE or DELETE that changed no row, is known not to have. A SELECT
    counts as reading in `scalar`, `first` and `all` only: run one whose functions write with
    `execute`.
    """

    __slots__ = ("_work",)

    def __init__(self, work: Work) -> None:
        self._work = work

    @property
    def command(self) -> Received:
        """The facts on the command's envelope."""
        envelope = self._work.envelope
        return Received(
            id=envelope.commandid or envelope.id,
            attempt=envelope.attempt,
            direction=envelope.direction or "REQUEST",
            saga_id=envelope.sagaid,
            step=envelope.step,
            deadline=envelope.deadline,
            undoes=envelope.undoes,
        )

    @property
    def connection(self) -> sa.Connection:
        """The connection itself, for whatever `execute` does not offer.

        Its `commit` and `rollback` raise: the transaction is not the handler's alone. A refusal
        after the connection was used counts as one that may have written.
        """
        return self._work.touch()

    def session(self) -> Session:
        """An ORM session in this transaction, the same one on every call.

        It is flushed and closed when the handler returns; its `commit` and `rollback` end a
        savepoint of its own. It is synchronous in async handlers too. A refusal after it was used
        counts as one that may have written.
        """
        return self._work.session()

    def publish(self, event: Event, *, correlation_id: str | None = None) -> None:
        """Publish a domain event of the participant once the transaction has committed.

        It goes into the outbox; nothing is to be awaited, in async handlers neither. A handler that
        refuses, or raises, has published nothing. `correlation_id`: see `Outbox.add`.

        Raises:
            DefinitionError: the participant does not say that it publishes such events.
            InvalidInput: the aggregate's id cannot be one, or the event is too large.
        """
        self._work.publish(event, correlation_id)

    def undoes(self, reply: type[M]) -> M | None:
        """In the handler of an undo: what the command that it undoes answered.

        None where that command answered with nothing, or this one undoes none. An undo whose
        forward command never ran does not get as far as its handler.

        Raises:
            ValidationError: the answer was of another type.
        """
        forward = self._work.forward
        if forward is None or forward.reply is None:
            return None
        return reply.model_validate_json(forward.reply)


def work_of(tx: Transaction) -> Work:
    """For helpers of the kit, which serve handlers of both flavours."""
    return tx._work  # pyright: ignore[reportPrivateUsage]


class Tx(Transaction):
    """A handler's transaction, for `async def` handlers.

    Awaiting a statement never lets another command in between.
    """

    __slots__ = ()

    async def execute(
        self, statement: str | sa.Executable, parameters: Parameters | None = None
    ) -> int:
        """Run it; the number of rows it changed. A list of parameters: run it for each."""
        return self._work.changed(statement, parameters)

    async def scalar(
        self, statement: str | sa.Executable, parameters: Parameters | None = None
    ) -> Any:
        """The first column of the first row; None where there is no row."""
        return self._work.run(statement, parameters, reading=True).scalar()

    async def first(
        self, statement: str | sa.Executable, parameters: Parameters | None = None
    ) -> sa.Row[*tuple[Any, ...]] | None:
        """The first row, if there is one."""
        return self._work.run(statement, parameters, reading=True).first()

    async def all(
        self, statement: str | sa.Executable, parameters: Parameters | None = None
    ) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """Every row."""
        return self._work.run(statement, parameters, reading=True).all()


class SyncTx(Transaction):
    """A handler's transaction, for plain `def` handlers: `Tx` without the `await`."""

    __slots__ = ()

    def execute(self, statement: str | sa.Executable, parameters: Parameters | None = None) -> int:
        """Run it; the number of rows it changed. A list of parameters: run it for each."""
        return self._work.changed(statement, parameters)

    def scalar(self, statement: str | sa.Executable, parameters: Parameters | None = None) -> Any:
        """The first column of the first row; None where there is no row."""
        return self._work.run(statement, parameters, reading=True).scalar()

    def first(
        self, statement: str | sa.Executable, parameters: Parameters | None = None
    ) -> sa.Row[*tuple[Any, ...]] | None:
        """The first row, if there is one."""
        return self._work.run(statement, parameters, reading=True).first()

    def all(
        self, statement: str | sa.Executable, parameters: Parameters | None = None
    ) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """Every row."""
        return self._work.run(statement, parameters, reading=True).all()

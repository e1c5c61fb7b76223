"""A whole system in one process, without a broker: for a monolith, or a test.

    async with InProcess(app, database="sqlite:///shop.db") as sagas: ...

Process manager, relay, timers and participants are those of `es-saga run --participants`, with the
fence of every participant; only the pipe between them is in memory. What it held when the process
died is in the log as well, or in an outbox: whoever comes next publishes it again, and the fences
and inboxes see to it that nothing acts twice. Settings come from the environment and the files, as
everywhere; `relay` means nothing here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import sqlalchemy as sa

from es_saga.adapters.memory import MemoryTransport
from es_saga.app import App
from es_saga.cli.compose import conducting, log_engine, serving
from es_saga.cli.running import sole_conductor
from es_saga.config import Settings, load
from es_saga.core.aggregate import SagaState, SagaStatus
from es_saga.core.definition import Saga
from es_saga.core.errors import ConflictError, InvalidInput
from es_saga.core.messages import PARTS, Message, Query
from es_saga.database import normalise
from es_saga.engine.client import Client
from es_saga.engine.composition import COMPOSE_SECONDS, Composition, Question, compose
from es_saga.engine.manager import ProcessManager
from es_saga.engine.ports import Append
from es_saga.projections.ending import Outcome, outcome
from es_saga.projections.queries import Queries

OWNED_SECONDS: Final = 10.0
"""How long the database may take to notice that the process before this one is gone."""

LOOK_SECONDS: Final = 0.05

WAIT_SECONDS: Final = 30.0
"""How long `wait` waits, by default."""


class InProcess:
    """Conducts an app's sagas and serves its participants, in this process alone.

    Args:
        app: its sagas and its participants.
        database: URL of the log; a file for SQLite.
        participants: URL of the participants' databases, `{name}` in it stands for each one's
            name; by default all of them share the log's.

    Raises:
        InvalidInput: the URL names a database that is gone with its connection, or two participants
            in one database have a table of the same name.
    """

    def __init__(self, app: App, *, database: str, participants: str | None = None) -> None:
        url = normalise(database)
        if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
            raise InvalidInput(
                "A log in memory would not be seen by all who read it.",
                hint="Write sqlite:///file.db.",
            )
        theirs = database if participants is None else participants
        if "{name}" not in theirs:
            _check_tables(app)
        self._app = app
        self._settings: Settings = load(database=database, participant_database=theirs)
        self._stack = AsyncExitStack()
        self._waiting: dict[str, list[asyncio.Event]] = {}

    async def __aenter__(self) -> InProcess:
        """Take the log over, go on with what is unfinished, and serve.

        Raises:
            DefinitionError: a definition cannot be run, or differs from what the log knows.
            ConflictError: another process conducts this log.
            Unavailable: a database is out of reach.
        """
        async with AsyncExitStack() as stack:
            settings, app = self._settings, self._app
            stack.enter_context(sole_conductor(settings))
            engine = log_engine(settings)
            stack.callback(engine.dispose)
            if engine.dialect.name == "postgresql":
                lock = stack.enter_context(engine.connect())
                await self._until(lambda: _locked(lock, app.name))
            self._pipe = pipe = MemoryTransport(tenant=settings.tenant)
            stack.push_async_callback(pipe.close)
            self.manager: ProcessManager = await stack.enter_async_context(
                conducting(settings, app, pipe, migrate=True, volatile=True)
            )
            """For operators' verbs: `manager.operate`."""
            await self._until(lambda: len(self.manager.owned) == PARTS)
            self.manager.listen(self._wake)
            await stack.enter_async_context(serving(settings, app, pipe, (), pipe, holding=pipe))
            self.queries = Queries(engine)
            """What can be asked about the sagas; blocking."""
            self.client = Client(pipe, app.name, tenant=settings.tenant)
            """For code that talks to a process manager wherever that is."""
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what is being carried out; the rest goes on when the log is opened again."""
        await self._stack.aclose()

    async def start(
        self, saga: Saga[Any] | str, data: Message | dict[str, Any], *, key: str | None = None
    ) -> SagaState:
        """Start a saga; its state once that is committed. The same key is the same saga.

        Raises:
            InvalidInput: the input does not fit, is too large, or the id is malformed.
            NotFound: no such saga type.
            ConflictError: the key was used with another input.
            Unavailable: the log is out of reach, or too much is waiting.
        """
        return (await self.manager.begin(saga, data, key=key))[0]

    async def signal(self, saga_id: str, message: Message) -> None:
        """Tell a saga what it waits for, or will wait for; the same type twice counts once.

        Raises:
            NotFound: there is no such saga, or it never waits for that.
            IllegalOperation: it is closed.
            InvalidInput: the message does not fit.
            Unavailable: the log is out of reach; it may still be heard, once.
        """
        (await self.client.signal(saga_id, type(message).__name__, message)).result()

    async def wait(self, saga_id: str, timeout: float = WAIT_SECONDS) -> Outcome:
        """How a saga ended; if it has not within `timeout` seconds, its ending is `pending`.

        One that is stuck has `failed`, until an operator helps it on.

        Raises:
            NotFound: there is no such saga.
        """
        moved = asyncio.Event()
        self._waiting.setdefault(saga_id, []).append(moved)
        try:
            row = await asyncio.to_thread(self.queries.status, saga_id)
            if row.closed is None and row.status != SagaStatus.STUCK:
                try:
                    async with asyncio.timeout(timeout):
                        await moved.wait()
                except TimeoutError:
                    pass
                row = await asyncio.to_thread(self.queries.status, saga_id)
            return outcome(row)
        finally:
            self._waiting[saga_id].remove(moved)
            if not self._waiting[saga_id]:
                del self._waiting[saga_id]

    async def compose(
        self,
        saga_id: str,
        questions: Mapping[str, Question | Query[Any]],
        *,
        within: float = COMPOSE_SECONDS,
    ) -> Composition[Outcome]:
        """A saga's outcome beside what participants answer; see `es_saga.engine.composition`."""
        return await compose(
            self.wait(saga_id, 0.0),
            self._pipe,
            questions,
            tenant=self._settings.tenant,
            within=within,
        )

    def _wake(self, written: Sequence[Append]) -> None:
        """Tell those who wait for the sagas that have just ended."""
        for item in written:
            if item.state.closed is not None or item.state.status is SagaStatus.STUCK:
                for moved in self._waiting.get(item.saga_id, ()):
                    moved.set()

    async def _until(self, ours: Callable[[], bool]) -> None:
        """Wait until the log is ours: another process could not be told of what is started here."""
        for _ in range(round(OWNED_SECONDS / LOOK_SECONDS)):
            if ours():
                return
            await asyncio.sleep(LOOK_SECONDS)
        raise ConflictError(
            f"Another process conducts the sagas of {self._app.name!r} on this log.",
            hint="Stop that one; several processes need a broker: `es-saga run`.",
        )


def _locked(connection: sa.Connection, app: str) -> bool:
    """Take the lock that two of us would share, so that the second does not disturb the first."""
    key = sa.func.hashtextextended(f"es_saga/in_process/{app}", 0)
    taken: bool = connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar_one()
    connection.commit()  # the lock is the session's
    return taken


def _check_tables(app: App) -> None:
    named = Counter(
        table
        for participant in app.participants.values()
        if participant.tables is not None
        for table in participant.tables.tables
    )
    twice = sorted(table for table, count in named.items() if count > 1)
    if twice:
        raise InvalidInput(
            f"Several participants have tables of the same names: {', '.join(twice)}.",
            hint="Give each a database of its own: participants='sqlite:///{name}.db'.",
        )

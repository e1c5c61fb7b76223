"""Answers a participant's queries from its own database, in threads of its own.

A query changes nothing, so it needs neither fence nor log: it is asked, and answered or not. What
asks much does not hold up commands, for it has other connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
import structlog
from pydantic import ValidationError
from pydantic_core import from_json, to_json
from sqlalchemy import event

from es_saga.core.errors import InvalidInput, SagaError, Terminal, Unavailable
from es_saga.core.messages import Envelope, Query, Subjects
from es_saga.core.sensitive import HIDDEN, changed, sensitive_paths
from es_saga.database import READ_ONLY, make_engine
from es_saga.engine.condition import CONDITION
from es_saga.engine.ports import Endpoint, Questions, Subscription
from es_saga.participant import condition
from es_saga.participant.job import faults_of
from es_saga.participant.kit import Asked, Participant
from es_saga.participant.reply import BadReply
from es_saga.participant.tailing import MAX_RETAINED_BYTES
from es_saga.participant.tx import SyncTx, Tx
from es_saga.participant.work import Desk, Statements, Work

READERS: Final = 2
"""Threads that answer, each with a connection."""

MAX_WAITING: Final = 64
"""Questions that are being answered or wait; beyond, whoever asks is told to come back."""

ANSWER_SECONDS: Final = 10.0
"""How long an async function may take for one answer."""

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Largest answer, in bytes of JSON."""

BUSY_SECONDS: Final = 1.0

_log = structlog.get_logger("es_saga.participant")


class Answering:
    """Answers what a participant is asked, and how it is; an async context manager.

    Args:
        database: URL of the participant's database.
        questions: where it is asked.
        slot_limit: bytes of its log that the server may keep for the participant's slot.
    """

    def __init__(
        self,
        participant: Participant,
        database: sa.URL | str,
        questions: Questions,
        *,
        tenant: str = "main",
        slot_limit: int = MAX_RETAINED_BYTES,
    ) -> None:
        self._participant = participant
        self._slot_limit = slot_limit
        self._questions = questions
        engine = make_engine(database, pool_size=READERS)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _only_read)
        self._engine = engine.execution_options(**{READ_ONLY: True})
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix=f"{participant.name}-answer")
        self._statements = Statements(engine.dialect)
        self._asked = 0
        subjects = Subjects(tenant)
        self._endpoints = [
            Endpoint(name, subjects.query(participant.name, name), partial(self._answer, asked))
            for name, asked in participant.queries.items()
        ]
        own = subjects.query(participant.name, CONDITION)
        self._endpoints.append(Endpoint(CONDITION, own, self._tell_condition))
        self._serving: Subscription | None = None

    async def __aenter__(self) -> Answering:
        """Begin to answer.

        Raises:
            Unavailable: the broker is out of reach.
        """
        self._serving = await self._questions.serve(self._participant.name, self._endpoints)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer what was asked, then no more."""
        if self._serving is not None:
            await self._serving.stop()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._engine.dispose()

    async def _answer(self, asked: Asked, question: bytes) -> bytes:
        try:
            query = asked.query.model_validate_json(question)
        except ValidationError as error:
            raise InvalidInput(f"That is no {asked.query.__name__}: {faults_of(error)}.") from error
        return await self._in_thread(asked.query.__name__, partial(self._read, asked, query))

    async def _tell_condition(self, _question: bytes) -> bytes:
        return await self._in_thread(CONDITION, self._look)

    async def _in_thread(self, name: str, read: Callable[[], bytes]) -> bytes:
        if self._asked >= MAX_WAITING:
            busy = f"{self._participant.name} is asked too much at once."
            raise Unavailable(busy, retry_after=BUSY_SECONDS)
        self._asked += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, read)
        running.add_done_callback(self._done)
        try:
            return await running
        except SagaError:
            raise
        except Exception as error:
            _log.exception("query_failed", participant=self._participant.name, query=name)
            raise SagaError(f"{name} came to grief: {type(error).__name__}.") from error

    def _done(self, _running: object) -> None:
        self._asked -= 1

    def _look(self) -> bytes:
        """In a thread: how the participant is, as JSON."""
        with self._engine.connect() as connection:
            found = condition.look(self._participant, connection, slot_limit=self._slot_limit)
        return found.model_dump_json().encode()

    def _read(self, asked: Asked, query: Query[Any]) -> bytes:
        """In a thread: the function's answer, as JSON; whatever it wrote is rolled back."""
        with self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
            transaction = connection.begin()
            envelope = Envelope(id=type(query).__name__, source="query", type=type(query).__name__)
            work = Work(Desk(connection, self._statements, True, None), envelope, None)
            try:
                if asked.is_async:
                    reply = asyncio.run(_within(asked, query, Tx(work)))
                else:
                    reply = asked.fn(query, SyncTx(work))
            finally:
                work.abandon()
                transaction.rollback()
        return _shown(asked, reply)


async def _within(asked: Asked, query: Query[Any], tx: Tx) -> object:
    async with asyncio.timeout(ANSWER_SECONDS):
        return await asked.fn(query, tx)


def _shown(asked: Asked, reply: object) -> bytes:
    """The answer as JSON, with what is sensitive hidden."""
    if not isinstance(reply, asked.reply):
        raise BadReply(
            f"What answers {asked.query.__name__} returned {type(reply).__name__}, "
            f"not {asked.reply.__name__}."
        )
    json = reply.model_dump_json().encode()
    paths = sensitive_paths(asked.reply)
    if paths:
        json = to_json(changed(from_json(json), paths, lambda _: HIDDEN))
    if len(json) > MAX_ANSWER_BYTES:
        raise Terminal(f"The answer has {len(json)} bytes; {MAX_ANSWER_BYTES} are allowed.")
    return json


def _only_read(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA query_only=ON").close()

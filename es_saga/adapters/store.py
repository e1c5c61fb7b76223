"""The saga log in a database: SQLite or PostgreSQL behind `es_saga.engine.ports.Store`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from es_saga.adapters.codec import decode, encode
from es_saga.adapters.jobs import AdvanceJob, AppendJob, ClaimJob, Item
from es_saga.adapters.sealing import Sealing, refuse_sealed
from es_saga.adapters.statements import MAX_IDS, History, statements_for
from es_saga.adapters.tables import EVENTS, REVISION_TABLE, SCHEMA_REVISION, TRACKING
from es_saga.adapters.trouble import RETRY_AFTER_SECONDS, Trouble, trouble, unavailable
from es_saga.adapters.writer import Writer
from es_saga.core.errors import CorruptHistory, InvalidInput, SagaError, Unavailable
from es_saga.core.events import SagaEvent
from es_saga.database import READ_ONLY, make_engine
from es_saga.engine.ports import Append, Recorded
from es_saga.projections.view import View

READERS = 2
"""Threads that read; each has a connection while it does."""

MAX_PAGE = 10_000
"""Most events that one `read` returns."""

MAX_WAITING_EVENTS = 200_000
"""Events that may wait for the writer; more are refused as Unavailable until it has caught up."""

MAX_BATCH_EVENTS = 10_000
"""Events in one `append`, which is one transaction."""

_OPEN_SAGAS = sa.text(
    "SELECT saga_id, next_due FROM es_status WHERE part = :part AND closed IS NULL"
)
_PAGE = (
    sa.select(
        EVENTS.c.position,
        EVENTS.c.originator_id,
        EVENTS.c.originator_version,
        EVENTS.c.topic,
        EVENTS.c.state,
    )
    .where(EVENTS.c.part == sa.bindparam("part"), EVENTS.c.position > sa.bindparam("after"))
    .order_by(EVENTS.c.position)
    .limit(sa.bindparam("limit"))
)
_HEAD = sa.select(sa.func.max(EVENTS.c.position)).where(EVENTS.c.part == sa.bindparam("part"))
_CHECKPOINT = sa.select(TRACKING.c.position).where(
    TRACKING.c.name == sa.bindparam("name"), TRACKING.c.part == sa.bindparam("part")
)

T = TypeVar("T")


class SqlStore:
    """The log, and the views that are kept in step with it, in one database.

    Belongs to one event loop. Writes go through one thread (`es_saga.adapters.writer`), reads
    through a few others, so the loop never waits for the database. Several processes may share the
    database; the log's keys keep them apart.

    An item is refused when its version is taken, and also when the saga has not come that far: what
    was decided on top of something that was refused or lost must not leave a gap.
    """

    def __init__(
        self, engine: sa.Engine, *, views: Sequence[View] = (), sealing: Sealing | None = None
    ) -> None:
        if isinstance(engine.pool, StaticPool):
            raise InvalidInput(
                "SQLite in memory cannot hold the log: its threads would share one connection.",
                hint="Give a file, or use the memory store.",
            )
        self._engine = engine
        self._statements = statements_for(engine)
        postgres = engine.dialect.name == "postgresql"
        # A reader asks one question: on PostgreSQL that needs no transaction around it.
        options = {"isolation_level": "AUTOCOMMIT"} if postgres else {READ_ONLY: True}
        self._reading = engine.execution_options(**options)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="es-saga-reader")
        self._sealing = sealing
        self._writer = Writer(engine, self._statements, views, sealing)
        self._closed = False

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def append(self, part: int, batch: Sequence[Append]) -> asyncio.Future[list[int | None]]:
        """See `Store.append`. Also raises InvalidInput, through the future: an event is too large.

        Such a batch is refused whole.
        """
        future: asyncio.Future[list[int | None]] = asyncio.get_running_loop().create_future()
        try:
            items = [Item(item, [encode(event) for event in item.events]) for item in batch]
            size = sum(len(item.stored) for item in items)
            self._check_room(size)
        except SagaError as error:
            future.set_exception(error)
            return future
        assert all(item.stored for item in items), "an item without events has no position"
        self._writer.submit(AppendJob(future, part, items, size))
        return future

    async def advance(self, name: str, positions: Mapping[int, int]) -> None:
        """See `Store.advance`. Shares a transaction with whatever else is written."""
        if not positions:
            return
        self._check_room(len(positions))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        marks = [(name, part, position) for part, position in positions.items()]
        self._writer.submit(AdvanceJob(future, marks))
        await future

    async def claim(self, part: int) -> int:
        """See `Store.claim`. Comes after what was appended before it."""
        self._check_room(1)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._writer.submit(ClaimJob(future, part))
        return await future

    def _check_room(self, size: int) -> None:
        if self._closed:
            raise Unavailable("The log is closed.")
        if size > MAX_BATCH_EVENTS:
            raise InvalidInput(f"{size} events in one batch; {MAX_BATCH_EVENTS} are allowed.")
        if self._writer.waiting + size > MAX_WAITING_EVENTS:
            raise Unavailable(
                "The database does not keep up with what is written.",
                retry_after=RETRY_AFTER_SECONDS,
            )

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    async def load(self, saga_ids: Collection[str]) -> Mapping[str, Sequence[SagaEvent]]:
        """See `Store.load`."""
        ids = list(dict.fromkeys(saga_ids))
        histories: dict[str, list[SagaEvent]] = {}
        for start in range(0, len(ids), MAX_IDS):
            some = ids[start : start + MAX_IDS]
            histories |= await self._read(partial(self._fold, ids=some))
        return histories

    def _fold(self, connection: sa.Connection, *, ids: list[str]) -> dict[str, list[SagaEvent]]:
        rows = self._statements.histories(connection, ids)
        if self._sealing is None:
            return _histories(rows)
        rows = list(rows)
        opened = self._sealing.opened(connection, [(row.originator_id, row.state) for row in rows])
        return _histories(
            row._replace(state=payload) for row, payload in zip(rows, opened, strict=True)
        )

    async def read(self, part: int, *, after: int, limit: int) -> Sequence[Recorded]:
        """See `Store.read`. `limit` is at most MAX_PAGE."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"A page has 1 to {MAX_PAGE} events, not {limit}.")
        bounds = {"part": part, "after": after, "limit": limit}
        return await self._read(partial(self._recorded, part=part, bounds=bounds))

    def _recorded(
        self, connection: sa.Connection, *, part: int, bounds: dict[str, int]
    ) -> list[Recorded]:
        rows = connection.execute(_PAGE, bounds).all()
        payloads: Sequence[bytes] = [row.state for row in rows]
        if self._sealing is not None:
            ids = (row.originator_id for row in rows)
            payloads = self._sealing.opened(connection, list(zip(ids, payloads, strict=True)))
        return [
            _recorded(
                part, row.position, row.originator_id, row.originator_version, row.topic, payload
            )
            for row, payload in zip(rows, payloads, strict=True)
        ]

    async def head(self, part: int) -> int:
        """See `Store.head`."""
        return await self._read(
            lambda connection: connection.execute(_HEAD, {"part": part}).scalar() or 0
        )

    async def open_sagas(self, part: int) -> Sequence[tuple[str, float | None]]:
        """See `Store.open_sagas`. As the status view tells it, which has to be among the views."""
        return await self._read(
            lambda connection: [
                (saga_id, next_due)
                for saga_id, next_due in connection.execute(_OPEN_SAGAS, {"part": part})
            ]
        )

    async def checkpoint(self, name: str, part: int) -> int:
        """See `Store.checkpoint`."""
        which = {"name": name, "part": part}
        return await self._read(
            lambda connection: connection.execute(_CHECKPOINT, which).scalar() or 0
        )

    async def _read(self, question: Callable[[sa.Connection], T]) -> T:
        if self._closed:
            raise Unavailable("The log is closed.")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._ask, question)

    def _ask(self, question: Callable[[sa.Connection], T]) -> T:
        lost: Exception | None = None
        # A server that restarted has cut every pooled connection; each is met once at most.
        for _ in range(READERS + 2):
            try:
                connection = self._reading.connect()
            except Exception as error:
                lost = error
                break
            with connection:
                try:
                    return question(connection)
                except Exception as error:
                    if trouble(error) is not Trouble.OUTAGE:
                        raise
                    lost = error
                    # The driver raised past SQLAlchemy: it must be told not to pool it again.
                    connection.invalidate()
        assert lost is not None
        if trouble(lost) is Trouble.OUTAGE:
            raise unavailable(lost) from lost
        raise lost

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    async def close(self) -> None:
        """See `Store.close`. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._writer.finish()
        await asyncio.to_thread(self._writer.join)
        self._readers.shutdown(wait=False)
        self._engine.dispose()


def connect(
    url: str | sa.URL,
    *,
    views: Sequence[View] = (),
    migrate: bool = False,
    master: bytes | None = None,
) -> SqlStore:
    """Open the log. Blocks until the database has answered.

    Args:
        migrate: bring the schema up to date first; for embedded databases that are ours alone.
        master: the key that the keys of sagas are encrypted with; see `es_saga.adapters.sealing`.

    Raises:
        InvalidInput: the URL is of no database that we know.
        Unavailable: it does not answer, or has not the schema that this release needs.
    """
    engine = make_engine(url)
    try:
        if migrate:
            # alembic takes longer to import than all the rest; only this needs it.
            from es_saga.adapters.migrate import upgrade

            upgrade(engine)
        check_schema(engine)
        if master is None:
            refuse_sealed(engine)
            return SqlStore(engine, views=views)
        return SqlStore(engine, views=views, sealing=Sealing(master))
    except BaseException:
        engine.dispose()
        raise


def check_schema(engine: sa.Engine) -> None:
    """Make sure that the database has the schema that this release needs.

    Raises:
        Unavailable: it has not, or is out of reach.
    """
    try:
        with engine.execution_options(**{READ_ONLY: True}).connect() as connection:
            found = None
            if sa.inspect(connection).has_table(REVISION_TABLE):
                found = connection.scalar(sa.text(f"SELECT version_num FROM {REVISION_TABLE}"))
    except DBAPIError as error:
        raise unavailable(error) from error
    if found == SCHEMA_REVISION:
        return
    known = found is None or found < SCHEMA_REVISION
    raise Unavailable(
        f"The database is at schema {found or 'none'}; this release needs {SCHEMA_REVISION}.",
        hint="Run `es-saga migrate up`." if known else "Install the release that migrated it.",
    )


def _recorded(
    part: int, position: int, saga_id: str, version: int, topic: str, payload: bytes
) -> Recorded:
    try:
        event = decode(topic, payload)
    except CorruptHistory as error:
        raise _corrupt(saga_id, version, error) from error
    return Recorded(part, position, saga_id, version, event, payload)


def _histories(rows: Iterable[History]) -> dict[str, list[SagaEvent]]:
    """Rows in order of saga and version, as events by saga."""
    histories: dict[str, list[SagaEvent]] = {}
    current: str | None = None
    events: list[SagaEvent] = []
    for saga_id, version, topic, payload in rows:
        if saga_id != current:
            current, events = saga_id, []
            histories[saga_id] = events
        if version != len(events) + 1:
            raise CorruptHistory(
                f"saga {saga_id!r}: event {len(events) + 1} is missing, {version} comes next."
            )
        try:
            events.append(decode(topic, payload))
        except CorruptHistory as error:
            raise _corrupt(saga_id, version, error) from error
    return histories


def _corrupt(saga_id: str, version: int, error: CorruptHistory) -> CorruptHistory:
    return CorruptHistory(f"saga {saga_id!r}, event {version}: {error.message}", hint=error.hint)

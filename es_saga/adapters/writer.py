"""The one thread that writes to the log: what waits together is committed together.

While one transaction is on its way to the disk, the next batches gather; so the more there is to
do, the less each costs.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

import sqlalchemy as sa

from es_saga.adapters.definitions import KnownFields
from es_saga.adapters.follower import Follower, Overtaken
from es_saga.adapters.jobs import AdvanceJob, AppendJob, ClaimJob, Item, Job, settle, size_of
from es_saga.adapters.log_end import LogEnd
from es_saga.adapters.past import states_at
from es_saga.adapters.sealing import Sealing, Stored
from es_saga.adapters.statements import Mark, Row, Span, Statements
from es_saga.adapters.trouble import RETRY_AFTER_SECONDS, Trouble, trouble, unavailable
from es_saga.core.aggregate import SagaState
from es_saga.core.errors import Unavailable
from es_saga.engine.ports import Append, Recorded
from es_saga.projections.view import Batch, Remembering, View

MAX_EVENTS = 1_000
"""Events in one transaction; the batch that reaches the limit is still taken whole."""

MAX_ATTEMPTS = 20
"""How often a transaction is tried again after another writer took its positions."""

_Results = list[list[int | None] | None]


@dataclass(slots=True)
class _Draft:
    """One transaction in the making."""

    heads: dict[int, int]
    versions: dict[str, int]
    rows: list[Row]
    recorded: list[Recorded]
    appends: list[Append]
    states: dict[str, SagaState]
    spans: list[Span]
    """What is added to each part."""
    marks: list[Mark]
    results: _Results


class Writer:
    """Owns the thread, its connection, and what is remembered of the log's end."""

    def __init__(
        self,
        engine: sa.Engine,
        statements: Statements,
        views: Sequence[View],
        sealing: Sealing | None = None,
    ) -> None:
        self._engine = engine
        self._sealing = sealing
        self._fields = KnownFields()
        self._statements = statements
        self._views = tuple(views)
        self._gathered: list[Job] = []
        """Submitted in this turn of the loop."""
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._connection: sa.Connection | None = None
        self._end = LogEnd(statements)
        # Each counted by one thread alone, so that neither needs a lock.
        self._submitted = 0
        self._taken = 0
        self._thread = threading.Thread(target=self._run, name="es-saga-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events submitted and not yet in a transaction; a job of another kind counts as one."""
        return self._submitted - self._taken

    def submit(self, job: Job) -> None:
        """Have it written; its future is resolved in its own loop. Never blocks.

        What is submitted in one turn of the loop is handed over together: the thread would else
        begin a transaction with the first job of many.
        """
        self._submitted += size_of(job)
        self._gathered.append(job)
        if len(self._gathered) == 1:
            job.future.get_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        for job in gathered:
            self._queue.put(job)

    def finish(self) -> None:
        """Take nothing more; end once what was submitted is written. Never blocks."""
        self._hand_over()
        self._queue.put(None)

    def join(self) -> None:
        """Block until it has ended."""
        self._thread.join()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        open_ = True
        while open_:
            jobs, open_ = self._gather()
            self._taken += sum(map(size_of, jobs))
            together: list[AppendJob | AdvanceJob] = []
            for job in jobs:
                if isinstance(job, ClaimJob):
                    self._commit(together)
                    together = []
                    self._claim(job)
                else:
                    together.append(job)
            self._commit(together)
        self._disconnect()

    def _gather(self) -> tuple[list[Job], bool]:
        """What waits, up to the limit; blocks for the first. False when there will be no more."""
        jobs: list[Job] = []
        size = 0
        take: Callable[[], Job | None] = self._queue.get
        while size < MAX_EVENTS:
            try:
                job = take()
            except Empty:
                break
            if job is None:
                return jobs, False
            jobs.append(job)
            size += size_of(job)
            take = self._queue.get_nowait
        return jobs, True

    def _claim(self, job: ClaimJob) -> None:
        self._end.forget(job.part)
        try:
            connection = self._connect()
            with connection.begin():
                heads = self._statements.heads(connection, (job.part,))
        except Exception as error:
            self._disconnect()
            settle([(job.future, _reason(error))])
            return
        self._end.keep(heads)
        settle([(job.future, heads[job.part])])

    def _commit(self, jobs: Sequence[AppendJob | AdvanceJob]) -> None:
        """Write jobs in one transaction, and tell those who wait."""
        if not jobs:
            return
        problem: Exception | None = None
        for attempt in range(MAX_ATTEMPTS):
            try:
                if isinstance(problem, Overtaken):
                    self._catch_up()
                results = self._transact(jobs, certain=attempt > 0)
            except Exception as error:
                self._forget(jobs)
                kind = trouble(error)
                problem = error
                if kind is Trouble.COLLISION or isinstance(error, Overtaken):
                    continue
                if kind is Trouble.OUTAGE:
                    self._disconnect()
                elif len(jobs) > 1:
                    # One of them is at fault; it must not take the others down.
                    for job in jobs:
                        self._commit([job])
                    return
                break
            settle([(job.future, result) for job, result in zip(jobs, results, strict=True)])
            return
        assert problem is not None
        settle([(job.future, _reason(problem)) for job in jobs])

    def _transact(self, jobs: Sequence[AppendJob | AdvanceJob], *, certain: bool) -> _Results:
        """One transaction. `certain`: trust nothing that is remembered."""
        connection = self._connect()
        with connection.begin():
            draft = self._draft(connection, jobs, certain=certain)
            if draft.rows:
                self._statements.insert(connection, draft.rows)
                self._move_views(connection, draft.spans)
                batch = Batch(
                    draft.recorded, draft.states, partial(self._before, connection, draft.appends)
                )
                batch = batch.hidden(self._fields.on(connection))
                for view in self._views:
                    view.apply(connection, batch)
            if draft.marks:
                self._statements.mark(connection, draft.marks)
        self._end.keep(draft.heads, draft.versions)
        return draft.results

    def _draft(
        self, connection: sa.Connection, jobs: Sequence[AppendJob | AdvanceJob], *, certain: bool
    ) -> _Draft:
        """Give every event its place; refuse the items that are stale."""
        appends = [job for job in jobs if isinstance(job, AppendJob)]
        draft = _Draft(
            heads=self._end.heads(connection, {job.part for job in appends}),
            versions=self._end.versions(connection, appends, certain=certain),
            rows=[],
            recorded=[],
            appends=[],
            states={},
            spans=[],
            marks=[],
            results=[],
        )
        now = time.time()
        before = dict(draft.heads)
        for job in jobs:
            if isinstance(job, AdvanceJob):
                draft.marks += job.marks
                draft.results.append(None)
                continue
            draft.results.append(self._place(connection, job, draft, now))
        draft.spans = [
            Span(part, before[part], head)
            for part, head in sorted(draft.heads.items())
            if head > before[part]
        ]
        draft.marks = _furthest(draft.marks)
        return draft

    def _sealed(self, connection: sa.Connection, item: Item) -> Sequence[Stored]:
        """What is stored, with its sensitive values encrypted where there is a key."""
        append, stored = item
        if self._sealing is None:
            return stored
        origin = append.state.origin
        fields = self._fields.on(connection)(origin.saga_type, origin.definition)
        if not fields:
            return stored
        begins = append.version == 0
        return self._sealing.seal(connection, origin.saga_id, fields, stored, begins=begins)

    def _place(
        self, connection: sa.Connection, job: AppendJob, draft: _Draft, now: float
    ) -> list[int | None]:
        part, versions, rows, recorded = job.part, draft.versions, draft.rows, draft.recorded
        position = draft.heads[part]
        result: list[int | None] = []
        for item in job.items:
            append = item.append
            saga_id, version, events, state, _ = append
            if versions[saga_id] != version:
                # Taken; or it follows on something that was refused, and would leave a gap.
                result.append(None)
                continue
            stored = self._sealed(connection, item)
            for (topic, payload), event in zip(stored, events, strict=True):
                position += 1
                version += 1
                rows.append((part, position, saga_id, version, topic, payload, now))
                recorded.append(Recorded(part, position, saga_id, version, event, payload))
            versions[saga_id] = version
            result.append(position)
            draft.states[saga_id] = state
            draft.appends.append(append)
        draft.heads[part] = position
        return result

    def _before(
        self, connection: sa.Connection, appends: Sequence[Append], versions: Mapping[str, int]
    ) -> dict[str, SagaState]:
        """Sagas as they were when they had so many events: what `Batch` asks for."""
        states = {
            append.saga_id: append.before
            for append in appends
            if append.before is not None and versions.get(append.saga_id) == append.version
        }
        missing = {saga_id: n for saga_id, n in versions.items() if saga_id not in states}
        return states | states_at(self._statements, connection, missing) if missing else states

    def _move_views(self, connection: sa.Connection, spans: Sequence[Span]) -> None:
        """Over what is written now, if they have taken in everything before it.

        Raises:
            Overtaken: one has not: another process wrote to the part, and did not know of it.
        """
        moves = sorted((view.name, span) for view in self._views for span in spans)
        if moves and not self._statements.move(connection, moves):
            raise Overtaken

    def _catch_up(self) -> None:
        """Have the views take in what they have missed, a bounded transaction at a time."""
        connection = self._connect()
        for view in self._views:
            follower = Follower(self._statements, view, self._fields)
            missing = True
            while missing:
                with connection.begin():
                    page = follower.read(connection)
                    if page is not None:
                        follower.write(connection, page)
                    missing = page is not None and page.left > 0

    # ── what is remembered ───────────────────────────────────────────────────────────────────────

    def _forget(self, jobs: Sequence[AppendJob | AdvanceJob]) -> None:
        for job in jobs:
            if isinstance(job, AppendJob):
                ids = [item.append.saga_id for item in job.items]
                self._end.forget(job.part, ids)
                if self._sealing is not None:
                    self._sealing.forget(ids)
                for view in self._views:
                    if isinstance(view, Remembering):
                        view.forget(ids)

    # ── the connection ───────────────────────────────────────────────────────────────────────────

    def _connect(self) -> sa.Connection:
        if self._connection is None:
            connection = self._engine.connect()
            self._statements.prepare(connection)
            if self._views:
                with connection.begin():
                    self._statements.enrol(connection, [view.name for view in self._views])
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # It may be broken, which is why it goes.
        with contextlib.suppress(Exception):
            connection.invalidate()
            connection.close()


def _furthest(marks: Sequence[Mark]) -> list[Mark]:
    """One mark a reader and part: PostgreSQL updates no row twice in one statement."""
    furthest: dict[tuple[str, int], int] = {}
    for name, part, position in marks:
        key = (name, part)
        furthest[key] = max(position, furthest.get(key, 0))
    return [(name, part, position) for (name, part), position in furthest.items()]


def _reason(error: Exception) -> Exception:
    """What the waiting ones are told."""
    kind = trouble(error)
    if kind is Trouble.COLLISION:
        return Unavailable(
            "Another process keeps writing to the same part of the log.",
            retry_after=RETRY_AFTER_SECONDS,
            hint="Is it still the owner, too?",
        )
    return unavailable(error) if kind is Trouble.OUTAGE else error

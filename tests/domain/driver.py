"""A process manager small enough to read: the core, the participants, and a clock that jumps.

No broker and no log: commands are taken out of what `react` decides and handed to the server of
each participant, on a SQLite database of its own. What is to go wrong is scripted per command.
"""

from __future__ import annotations

import random
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from es_saga import App, InvalidInput, Message, Saga
from es_saga.core.aggregate import CLOSED, SagaState, SagaStatus
from es_saga.core.compiled import Definition
from es_saga.core.decide import react
from es_saga.core.events import CompensationIssued, SagaEvent, StepRetried, StepStarted
from es_saga.core.inputs import Input, Reply, Start, Tick
from es_saga.core.messages import Direction, Envelope, Outcome, command_id, parse_command_id
from es_saga.database import make_engine
from es_saga.participant import Server

MAX_INPUTS = 500
"""A saga that needs more than these is going in circles."""


class Mishap(Enum):
    """What can befall one attempt of a command."""

    LOST_COMMAND = "it does not arrive, until everything is over"
    LOST_REPLY = "it is carried out, and the answer is lost"
    FAILURE = "the participant reports a technical error, and has done nothing"


@dataclass(frozen=True)
class Trouble:
    """A mishap, and how many attempts it befalls."""

    mishap: Mishap
    attempts: int = 1_000


Script = Mapping[str, Trouble]
"""By `step/do` or `step/undo`."""

Tables = dict[str, list[tuple[Any, ...]]]
"""Rows by table, those of every participant together."""


@dataclass
class Run:
    """One saga under way."""

    definition: Definition
    saga_id: str
    script: Script
    copies: int
    shuffled: random.Random | None
    now: float
    state: SagaState | None = None
    events: list[SagaEvent] = field(default_factory=list[SagaEvent])
    to_send: deque[Envelope] = field(default_factory=deque[Envelope])
    held_back: list[Envelope] = field(default_factory=list[Envelope])
    sent: list[Envelope] = field(default_factory=list[Envelope])

    @property
    def status(self) -> SagaStatus:
        assert self.state is not None
        return self.state.status

    @property
    def undone(self) -> list[str]:
        """Steps in the order in which their undos were first issued."""
        issued = (e.step for e in self.events if isinstance(e, CompensationIssued))
        return list(dict.fromkeys(issued))

    def react(self, given: Input) -> None:
        decided = react(self.definition, self.state, given, self.now)
        self.state = decided.state
        self.events += decided.events
        for new in decided.events:
            if isinstance(new, (StepStarted, StepRetried, CompensationIssued)):
                self.to_send.append(self._envelope(new))

    def _envelope(self, asked: StepStarted | StepRetried | CompensationIssued) -> Envelope:
        undo = isinstance(asked, CompensationIssued)
        assert self.state is not None
        if isinstance(asked, StepRetried):
            sent = self.state.steps[asked.step].do.sent
            assert sent is not None, "what is sent again is still known"
            name, data = sent.type, sent.data
        else:
            name, data = asked.command_type, asked.command
        step = self.definition.steps[asked.step]
        return Envelope(
            id=f"{asked.command_id}/{asked.attempt}",
            source="tests",
            type=name,
            sagaid=self.saga_id,
            sagatype=self.definition.name,
            step=asked.step,
            commandid=asked.command_id,
            undoes=command_id(self.saga_id, asked.step, Direction.DO) if undo else None,
            confirms=step.confirms and command_id(self.saga_id, step.confirms, Direction.DO),
            expires=None if undo else step.expires,
            attempt=asked.attempt,
            deadline=asked.due,
            direction="CANCEL" if undo else "REQUEST",
            data=data,
        )

    def next_to_send(self) -> Envelope:
        if self.shuffled is not None:
            self.to_send.rotate(self.shuffled.randrange(len(self.to_send)))
        return self.to_send.popleft()

    def trouble_of(self, envelope: Envelope) -> Mishap | None:
        key = parse_command_id(envelope.commandid or "")
        trouble = self.script.get(f"{key.step}/{key.direction.value}")
        if trouble is None or envelope.attempt > trouble.attempts:
            return None
        return trouble.mishap


class World:
    """An app's participants, and sagas run against them.

    Each has a SQLite database of its own in `folder`, unless all are to share the one at `url`.
    """

    def __init__(self, app: App, folder: Path, *, url: str | None = None) -> None:
        self.app = app
        self.now = 1_700_000_000.0
        self.engines = {
            name: make_engine(url) if url else _engine(folder / f"{name}.db")
            for name in app.participants
        }
        self.servers = {
            name: Server(participant, self.engines[name], create_tables=True)
            for name, participant in app.participants.items()
        }
        self._runs = 0

    async def __aenter__(self) -> World:
        for server in self.servers.values():
            await server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self.servers.values():
            await server.stop()
        for engine in self.engines.values():
            engine.dispose()

    async def run(
        self,
        saga: Saga[Any],
        data: Message,
        script: Script | None = None,
        *,
        copies: int = 1,
        seed: int | None = None,
    ) -> Run:
        """Start a saga and go on until it is closed or stuck; then let in what was held back."""
        run = self.start(saga, data, script, copies=copies, seed=seed)
        await self.go_on(run)
        return run

    def start(
        self,
        saga: Saga[Any],
        data: Message,
        script: Script | None = None,
        *,
        copies: int = 1,
        seed: int | None = None,
    ) -> Run:
        """Start a saga; nothing is sent yet."""
        self._runs += 1
        definition = saga.definition
        run = Run(
            definition=definition,
            saga_id=f"{saga.name}-{self._runs}",
            script=script or {},
            copies=copies,
            shuffled=None if seed is None else random.Random(seed),
            now=self.now,
        )
        run.react(Start(run.saga_id, definition.check_input(data.model_dump(mode="json"))))
        return run

    async def go_on(self, run: Run, *, until: Callable[[Run], bool] | None = None) -> None:
        """Send, answer and let time pass, until the saga is closed or stuck, or as told."""
        for _ in range(MAX_INPUTS):
            assert run.state is not None
            if until is not None and until(run):
                break
            if run.to_send:
                await self._send(run, run.next_to_send())
            elif run.state.next_due is not None:
                run.now = run.state.next_due
                run.react(Tick())
            else:
                break
        else:
            raise AssertionError(f"{run.saga_id} does not come to an end")
        self.now = run.now
        if run.status in CLOSED:
            await self._let_in(run)

    async def _let_in(self, run: Run) -> None:
        """Deliver what was held back: too late, so it must change nothing."""
        late, run.held_back = run.held_back, []
        for envelope in late:
            await self._deliver(run, envelope)

    async def _send(self, run: Run, envelope: Envelope) -> None:
        run.sent.append(envelope)
        mishap = run.trouble_of(envelope)
        if mishap is Mishap.LOST_COMMAND:
            run.held_back.append(envelope)
        elif mishap is Mishap.LOST_REPLY:
            await self.call(envelope, copies=run.copies)
        elif mishap is Mishap.FAILURE:
            run.react(_failure(envelope))
        else:
            await self._deliver(run, envelope)

    async def _deliver(self, run: Run, envelope: Envelope) -> None:
        answer = await self.call(envelope, copies=run.copies)
        with suppress(InvalidInput):  # nobody can read it: the manager makes a dead letter of it
            run.react(_reply(answer))

    async def call(self, envelope: Envelope, *, copies: int = 1) -> Envelope:
        """Have a participant carry out a command that arrives `copies` times; one answer."""
        server = next(s for s in self.servers.values() if envelope.type in s.participant.commands)
        answers = [await server.call(envelope) for _ in range(copies)]
        assert all(answer == answers[0] for answer in answers), "a repeat is answered the same"
        return answers[0]

    def tables(self) -> Tables:
        """Every row of every participant; the fences left out."""
        found: Tables = {}
        for name, participant in self.app.participants.items():
            assert participant.tables is not None
            with self.engines[name].connect() as connection:
                for table in participant.tables.sorted_tables:
                    rows = connection.execute(sa.select(table)).all()
                    found[table.name] = sorted(tuple(row) for row in rows)
        return found


def _engine(path: Path) -> sa.Engine:
    engine = make_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def hurry(connection: sqlite3.Connection, _record: object) -> None:
        # No power cut is under test here, and every test begins with new databases.
        connection.execute("PRAGMA synchronous=OFF").close()

    return engine


def _reply(answer: Envelope) -> Reply:
    assert answer.outcome is not None
    return Reply(
        key=parse_command_id(answer.commandid or ""),
        attempt=answer.attempt,
        outcome=answer.outcome,
        type=answer.type,
        data=answer.data,
        message_id=answer.id,
        retry_after=answer.retryafter,
    )


def _failure(envelope: Envelope) -> Reply:
    return Reply(
        key=parse_command_id(envelope.commandid or ""),
        attempt=envelope.attempt,
        outcome=Outcome.FAILED,
        type="OSError",
        data={"error": "OSError", "detail": "The roof is leaking."},
        message_id=f"{envelope.id}/r",
    )

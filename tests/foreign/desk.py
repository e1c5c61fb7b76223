"""The desk that these sagas ask: a participant made with the kit, on a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from es_saga import Participant, Refusal, Saga, SyncTx
from es_saga.core.decide import react
from es_saga.core.events import SagaEvent
from es_saga.core.inputs import Input, Start, Tick
from es_saga.core.messages import Envelope, Subjects
from es_saga.core.state import SagaState
from es_saga.database import make_engine
from es_saga.engine.outgoing import Sender
from es_saga.engine.requests import read_reply
from es_saga.participant import Server
from es_saga.testing import Scene, Story
from es_saga.testing.stage import NOON
from es_saga.testing.timeline import timeline
from tests.core.sagas import Do, Done, Trip, Undo
from tests.foreign.path import SAGA_ID

Trouble = Mapping[str, Refusal | Exception]
"""By act and attempt, as in `-hotel/1`: what the desk answers or raises, after it has written."""

MAX_ROUNDS: Final = 100
"""Rounds of commands and of waiting that one saga may take."""

SENDER: Final = Sender("foreign", Subjects())
_TABLES = sa.MetaData()
_ACTS = sa.Table("acts", _TABLES, sa.Column("act", sa.Text, nullable=False))


class Desk:
    """It writes down what it does: `hotel`, `-hotel`."""

    def __init__(self, server: Server, engine: sa.Engine, runner: asyncio.Runner) -> None:
        self._server = server
        self._engine = engine
        self._runner = runner

    def call(self, *envelopes: Envelope) -> list[Envelope]:
        """Have these carried out; they arrive together."""

        async def together() -> list[Envelope]:
            return await asyncio.gather(*map(self._server.call, envelopes))

        return self._runner.run(together())

    @property
    def acts(self) -> list[str]:
        """All that was done and stayed so, in order."""
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(_ACTS.c.act)))


@contextmanager
def desk(folder: Path, trouble: Trouble | None = None) -> Generator[Desk]:
    """An open desk, with nothing done yet."""
    participant = Participant("desk", tables=_TABLES)

    def act(name: str, tx: SyncTx) -> Refusal | None:
        tx.execute("INSERT INTO acts VALUES (:act)", {"act": name})
        found = (trouble or {}).get(f"{name}/{tx.command.attempt}")
        if isinstance(found, Exception):
            raise found
        return found

    @participant.handles(Do)
    def do(cmd: Do, tx: SyncTx) -> Done | Refusal:
        return act(cmd.step, tx) or Done(by="desk")

    @participant.handles(Undo)
    def undo(cmd: Undo, tx: SyncTx) -> Refusal | None:
        return act(f"-{cmd.step}", tx)

    engine = make_engine(f"sqlite:///{folder / 'desk.db'}")
    server = Server(participant, engine, create_tables=True)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        try:
            yield Desk(server, engine, runner)
        finally:
            runner.run(server.stop())
            engine.dispose()


def conduct(saga: Saga[Trip], desk: Desk) -> Story:
    """Run a saga at the desk, in virtual time, until it is closed or stuck."""
    definition, now = saga.definition, NOON
    history: list[SagaEvent] = []

    def follow(state: SagaState | None, given: Input) -> SagaState:
        decided = react(definition, state, given, now)
        history.extend(decided.events)
        return decided.state

    state = follow(None, Start(SAGA_ID, Trip().model_dump(mode="json")))
    for _ in range(MAX_ROUNDS):
        if state.closed is not None or state.stuck is not None:
            return Story(definition, SAGA_ID, history)
        asked = [sent.envelope for sent in SENDER.commands(definition, state, history)]
        for answer in desk.call(*asked):
            state = follow(state, read_reply(answer))
        if not asked:
            assert state.next_due is not None, "it waits for nothing"
            now = state.next_due
            state = follow(state, Tick())
    raise AssertionError(f"it goes in circles:\n{timeline(history)}")


def in_flight(scene: Scene) -> Envelope:
    """The one command that is in flight, as the engine sends it."""
    story = scene.story
    (sent,) = SENDER.commands(story.definition, scene.state, story.history)
    return sent.envelope

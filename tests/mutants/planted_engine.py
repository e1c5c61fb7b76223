"""Mistakes of a process manager, between the interpreter and the world around it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import pytest
from pydantic_core import from_json

from es_saga.adapters import codec
from es_saga.adapters.memory_store import MemoryStore
from es_saga.core import aggregate, decide
from es_saga.core import reaction as reactions
from es_saga.core.compiled import Definition
from es_saga.core.errors import SagaError, Unavailable
from es_saga.core.events import SagaEvent, StepStarted, StepSucceeded, StepTimedOut
from es_saga.core.reaction import Reaction
from es_saga.core.state import SagaState
from es_saga.engine.alerts import Alert
from es_saga.engine.arrival import Arrival
from es_saga.engine.manager import ProcessManager
from es_saga.engine.monitor import Monitor
from es_saga.engine.outgoing import Outgoing, Sender
from es_saga.engine.part import Part
from es_saga.engine.ports import Append, Recorded
from es_saga.engine.publishing import Publisher
from es_saga.engine.registry import Registry
from es_saga.engine.states import States
from es_saga.projections.audit import AuditView, Row

# ── the log and the broker ───────────────────────────────────────────────────────────────────────


def publishes_before_it_commits(patch: pytest.MonkeyPatch) -> None:
    real = vars(Part)["_commit"]

    async def commit(self: Any, drafts: dict[str, Any]) -> Collection[str]:
        around = self._around
        for draft in drafts.values():
            for sent in around.sender.commands(draft.definition, draft.state, draft.events):
                around.transport.publish(*sent[:2], ttl=sent.ttl)
        refused: Collection[str] = await real(self, drafts)
        return refused

    patch.setattr(Part, "_commit", commit)


def forgets_what_it_had_not_published(patch: pytest.MonkeyPatch) -> None:
    async def again(self: Publisher, position: int, head: int) -> None:
        self.relay.position = head

    patch.setattr(Publisher, "again", again)


def sends_again_under_the_same_message_id(patch: pytest.MonkeyPatch) -> None:
    real = vars(Sender)["_command"]

    def command(self: Sender, *of: Any) -> Outgoing:
        sent: Outgoing = real(self, *of)
        alike = sent.envelope.model_copy(update={"id": sent.envelope.commandid})
        return sent._replace(envelope=alike)

    patch.setattr(Sender, "_command", command)


def sends_again_on_replay(patch: pytest.MonkeyPatch) -> None:
    async def again(self: Any, position: int, head: int) -> None:
        around = self._around
        rows = await around.store.read(self._part, after=0, limit=head)
        histories = await around.store.load({row.saga_id for row in rows})
        for saga_id, history in histories.items():
            for length in range(1, len(history) + 1):
                state = aggregate.fold(saga_id, history[:length])
                assert state is not None
                definition = around.registry.of(state)
                last = history[length - 1 : length]
                self.relay.send(position, around.sender.commands(definition, state, last))

    patch.setattr(Publisher, "again", again)


def overwrites_what_a_rival_wrote(patch: pytest.MonkeyPatch) -> None:
    """Versions are counted, and not compared: who writes last is right."""
    real = vars(MemoryStore)["_append"]

    def append(self: MemoryStore, part: int, item: Append) -> int | None:
        history = vars(self)["_histories"].get(item.saga_id, [])
        del history[item.version :]
        position: int | None = real(self, part, item)
        return position

    patch.setattr(MemoryStore, "_append", append)


def keeps_what_was_done_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    async def load(self: States, saga_ids: Collection[str]) -> dict[str, SagaState]:
        return {}

    patch.setattr(States, "load", load)


def dies_of_what_it_cannot_read(patch: pytest.MonkeyPatch) -> None:
    """The error is nobody's, and ends the loop of its part."""
    real = Arrival.fail

    def fail(self: Arrival, error: SagaError) -> None:
        if self.input is None and not isinstance(error, Unavailable):
            raise error
        real(self, error)

    async def isolate(self: Part, arrivals: list[Arrival], error: Exception) -> None:
        raise error

    patch.setattr(Arrival, "fail", fail)
    patch.setattr(Part, "_isolate", isolate)


def goes_on_under_the_newest_version(patch: pytest.MonkeyPatch) -> None:
    def of(self: Registry, state: SagaState) -> Definition:
        return self.latest(state.origin.saga_type)

    patch.setattr(Registry, "of", of)


def gives_a_field_another_default(patch: pytest.MonkeyPatch) -> None:
    """What was written before leaves the field out: it had the old one."""

    def read(payload: bytes) -> StepStarted:
        return StepStarted.model_validate({"attempt": 0, **from_json(payload)})

    patch.setitem(vars(codec)["_READERS"], "StepStarted", read)


def forgets_to_write_an_answer(patch: pytest.MonkeyPatch) -> None:
    topic, real = vars(codec)["_WRITERS"][StepSucceeded]
    write = partial(real, exclude={"reply"})
    patch.setitem(vars(codec)["_WRITERS"], StepSucceeded, (topic, write))


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


def never_looks_at_its_timers(patch: pytest.MonkeyPatch) -> None:
    async def tick(self: ProcessManager) -> None:
        """Nothing."""

    patch.setattr(ProcessManager, "_tick", tick)


def fires_a_timer_after_the_end(patch: pytest.MonkeyPatch) -> None:
    """A timer looks at what is due, and not whether the saga is over."""
    real_pass, real_evolve = vars(decide)["_pass_time"], aggregate.evolve

    def pass_time(reaction: Reaction) -> None:
        closed, reaction.state = reaction.state.closed, reaction.state._replace(closed=None)
        real_pass(reaction)
        reaction.state = reaction.state._replace(closed=closed)

    def evolve(state: SagaState, event: SagaEvent) -> SagaState:
        after = real_evolve(state._replace(closed=None), event)
        return after._replace(closed=after.closed or state.closed)

    patch.setattr(decide, "_pass_time", pass_time)
    patch.setattr(aggregate, "evolve", evolve)
    patch.setattr(reactions, "evolve", evolve)


# ── what operations are told ─────────────────────────────────────────────────────────────────────


def alerts_at_every_event_while_it_is_stuck(patch: pytest.MonkeyPatch) -> None:
    real = vars(Monitor)["_look"]

    def look(self: Monitor, state: SagaState) -> None:
        self.open.pop(state.saga_id, None)
        real(self, state)

    patch.setattr(Monitor, "_look", look)


def never_closes_an_alert(patch: pytest.MonkeyPatch) -> None:
    real = vars(Monitor)["_tell"]

    def tell(self: Monitor, alert: Alert) -> None:
        if alert.opened:
            real(self, alert)

    patch.setattr(Monitor, "_tell", tell)


def leaves_timeouts_out_of_the_audit(patch: pytest.MonkeyPatch) -> None:
    real = AuditView.rows

    def rows(self: AuditView, events: Sequence[Recorded]) -> list[Row]:
        return real(self, [one for one in events if type(one.event) is not StepTimedOut])

    patch.setattr(AuditView, "rows", rows)

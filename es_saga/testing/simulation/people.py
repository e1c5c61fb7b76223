"""Those who start sagas, and the operators who meddle with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic_core import from_json

from es_saga.core.compiled import Definition
from es_saga.core.events import Json
from es_saga.core.messages import Direction, Envelope, Message, Outcome, Subjects, command_id
from es_saga.core.nested import order_of
from es_saga.core.state import GIVEN_UP, SagaState
from es_saga.engine.requests import SIGNAL_TYPE, START_TYPE, VERB_TYPE, VerbRequest
from es_saga.testing.begin import Begin
from es_saga.testing.faults import Fault, Kind
from es_saga.testing.simulation.listeners import ListenerService
from es_saga.testing.simulation.log import Log
from es_saga.testing.simulation.network import Network
from es_saga.testing.simulation.services import Screen, made_up
from es_saga.testing.simulation.tellers import Teller, event_of, subject_of

APP: Final = "simulated"
"""The app of every simulated world."""

HEARD_SECONDS: Final = 0.5
"""What a saga waits for is told it so long after it has begun to wait."""

TURN_SECONDS: Final = 0.5
"""Who looks at a saga leaves it to another operator who has acted on it so recently."""

PATIENCE_SECONDS: Final = 10.0
"""Who has started a saga and does not find it asks again after this long."""

__all__ = ["APP", "Begin", "People"]


class People:
    """Everybody who sends messages to the process managers, apart from participants."""

    def __init__(
        self,
        network: Network,
        log: Log,
        types: Mapping[str, Definition],
        services: Mapping[str, Screen],
        tellers: Mapping[str, Teller | ListenerService],
    ) -> None:
        self.busy = 0
        """Interferences that are still to come."""
        self._network = network
        self._log = log
        log.awaited = self.hear
        self._types = types
        self._services = services
        self._tellers = tellers
        self._subjects = Subjects()
        self._acts: Counter[str] = Counter()
        self._acted: dict[str, float] = {}
        """When somebody last did, by saga."""

    # ── starting ─────────────────────────────────────────────────────────────────────────────────

    def begin(self, begin: Begin, words: Sequence[Json]) -> None:
        """Start a saga when it is time, and again until it is there, with one input or another."""
        self._network.loop.after(begin.after, self._ask, begin, words, 1)

    def _ask(self, begin: Begin, words: Sequence[Json], times: int) -> None:
        if begin.saga_id in self._log.states:
            return
        suffix = "" if times == 1 else f"/{times}"
        asked = begin._replace(data=words[(times - 1) % len(words)])
        self._start(asked, f"{begin.saga_id}/start{suffix}")
        self._network.loop.after(PATIENCE_SECONDS, self._ask, begin, words, times + 1)

    def _start(self, begin: Begin, message_id: str) -> None:
        flow = self._types[begin.saga_type]
        if not flow.conducted:
            (by, _), *_ = flow.openings
            self._tellers[by].begin(begin.saga_type, begin.saga_id, begin.data, message_id)
            return
        request = {"saga_type": begin.saga_type, "data": begin.data}
        self._send("client", begin.saga_id, message_id, START_TYPE, request)

    def _send(self, who: str, saga_id: str, message_id: str, kind: str, data: Any) -> None:
        envelope = Envelope(id=message_id, source=who, type=kind, sagaid=saga_id, data=data)
        self._network.carry(who, self._subjects.inbox(APP, saga_id), envelope)

    # ── the world outside ────────────────────────────────────────────────────────────────────────

    def hear(self, state: SagaState, step: str) -> None:
        """Somebody knows what a saga has begun to wait for."""
        attempt = state.steps[step].do.attempt
        planned = self._log.definition_of(state).steps[step]
        if planned.reply is None:
            return  # it sleeps
        # Named like the answer to a command, so that the same faults befall it.
        message_id = f"{command_id(state.saga_id, step, Direction.DO)}/{attempt}/r"
        if (event := self._event(state, planned.reply, message_id)) is not None:
            tell = ("outside", subject_of(event), event)
            self._network.loop.after(HEARD_SECONDS, self._network.carry, *tell)
            return
        signal = {"type": planned.asks, "data": made_up(planned.reply).model_dump(mode="json")}
        send = ("outside", state.saga_id, message_id, SIGNAL_TYPE, signal)
        self._network.loop.after(HEARD_SECONDS, self._send, *send)

    def _event(self, state: SagaState, message: type[Message], id: str) -> Envelope | None:
        """What it waits for, if that is an event of a service which can name it."""
        saga_type, saga_id = state.origin.saga_type, state.saga_id
        listening = self._log.definition_of(state).correlations
        found = next((one for one in listening.values() if one.event is message), None)
        if found is None or not saga_id.startswith(f"{saga_type}-"):
            return None
        return event_of(found, saga_type, saga_id, id)

    # ── operating ────────────────────────────────────────────────────────────────────────────────

    def act(self, fault: Fault, saga_id: str) -> None:
        """Have somebody interfere with a saga, in a while."""
        self.busy += 1
        self._network.loop.after(fault.seconds, self._act, fault.kind, saga_id)

    def _act(self, kind: Kind, saga_id: str) -> None:
        self.busy -= 1
        self._acts[saga_id] += 1
        number = self._acts[saga_id]
        if kind is Kind.STARTED_AGAIN:
            origin = self._log.states[saga_id].origin
            begin = Begin(saga_id, origin.saga_type, origin.data)  # of a child: it is refused
            self._start(begin, f"{saga_id}/start/again-{number}")
            return
        now = self._network.loop.now
        if kind is Kind.RESOLVED and now < self._acted.get(saga_id, 0.0) + TURN_SECONDS:
            kind = Kind.RETRIED  # who does by hand what another one has asked for does it twice
        self._acted[saga_id] = now
        request = self._request(kind, self._log.states[saga_id])
        message_id = f"{saga_id}/{request.verb}/{number}"
        data = request.model_dump(mode="json", exclude_none=True)
        self._send("operator", saga_id, message_id, VERB_TYPE, data)

    def _request(self, kind: Kind, state: SagaState) -> VerbRequest:
        last = [*state.steps][-1] if state.steps else None
        step = state.stuck.step if state.stuck is not None else last
        if kind is Kind.CANCELLED:
            return VerbRequest(verb="cancel", actor="ann", reason="changed her mind")
        if kind is Kind.COMPENSATED:
            return VerbRequest(verb="compensate", actor="eve", reason="it leads nowhere")
        if kind is Kind.RESUMED:
            return VerbRequest(verb="resume", actor="eve", reason="it is up again")
        if kind is Kind.RESENT:
            return VerbRequest(verb="resend", actor="eve", reason="it may be lost")
        if kind is Kind.RETRIED or step is None:
            return VerbRequest(verb="retry", actor="ann", reason="it is up again")
        if kind is Kind.SKIPPED:
            return VerbRequest(verb="skip", actor="bob", reason="never mind", step=step)
        return self._settle(state, step)

    def _settle(self, state: SagaState, step: str) -> VerbRequest:
        """Find out, or do by hand, what became of the work; then tell the saga."""
        definition = self._log.definition_of(state)
        planned = definition.steps[step]
        own = state.steps.get(step)
        work = None if own is None else own.undo or own.do
        if own is None or work is None or work.status not in GIVEN_UP or order_of(planned.command):
            return VerbRequest(verb="retry", actor="bob", reason="it is mended")
        if planned.wait is not None:
            told = None if planned.reply is None else made_up(planned.reply).model_dump(mode="json")
            return _resolved(step, Direction.DO, Outcome.SUCCEEDED, told)
        saga_id, undo = state.saga_id, own.undo is not None
        forward = command_id(saga_id, step, Direction.DO, own.do.round)
        command = planned.undo.command if undo and planned.undo is not None else planned.command
        direction = Direction.UNDO if undo else Direction.DO
        screens: Mapping[str, Screen] = self._services if definition.conducted else self._tellers
        found = screens[command.to].settle_by_hand(
            command_id(saga_id, step, direction, work.round),
            command.__name__,
            undoes=forward if undo else None,
            do=undo or planned.after_pivot,
        )
        if found is None:
            return VerbRequest(verb="retry", actor="bob", reason="it is mended")
        told = None if undo or not found.done or found.reply is None else from_json(found.reply)
        outcome = Outcome.SUCCEEDED if found.done else Outcome.REFUSED
        return _resolved(step, direction, outcome, told)


def _resolved(step: str, direction: Direction, outcome: Outcome, reply: Json | None) -> VerbRequest:
    return VerbRequest(
        verb="resolve",
        actor="bob",
        reason="looked it up",
        step=step,
        direction=direction,
        outcome=outcome,
        reply=reply,
    )

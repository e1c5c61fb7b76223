"""Something that reached a saga: where it came from decides how it is settled."""

from __future__ import annotations

import asyncio

import structlog

from es_saga.core.aggregate import SagaState
from es_saga.core.compiled import Definition
from es_saga.core.errors import InvalidInput, NotFound, SagaError, Unavailable
from es_saga.core.inputs import Input, Start
from es_saga.core.messages import Envelope, Outcome, check_id
from es_saga.engine.nested import read_request, refusing, replying
from es_saga.engine.outgoing import summary
from es_saga.engine.ports import Delivery, Transport
from es_saga.engine.preview import Preview
from es_saga.engine.registry import Registry
from es_saga.engine.requests import (
    ANSWER_TYPE,
    HEARD_TYPE,
    SIGNAL_TYPE,
    START_TYPE,
    VERB_TYPE,
    Answer,
    failed,
    read_heard,
    read_reply,
    read_signal,
    read_start,
    read_verb,
    verb_input,
)

_log = structlog.get_logger("es_saga.arrival")

UNREADY_SECONDS = 5.0
"""When a delivery that could not be handled for now is delivered again."""

EARLY_SECONDS = (0.05, 0.2, 1.0, 5.0, 30.0)
"""When an event that came before what has to come first is delivered again, and then again, …"""

EARLY_DELIVERIES = 125
"""After these, about an hour, it is put among the dead letters as `not-yet`."""


class Arrival:
    """One input on its way through a part: a delivery, a call in this process, or a timer."""

    __slots__ = (
        "_delivery",
        "_transport",
        "called",
        "decisions",
        "definition",
        "dry_run",
        "input",
        "notify",
        "over",
        "preview",
        "saga_id",
    )

    def __init__(
        self,
        saga_id: str,
        *,
        input: Input | None = None,
        definition: Definition | None = None,
        delivery: Delivery | None = None,
        transport: Transport | None = None,
        called: asyncio.Future[tuple[SagaState, bool]] | None = None,
        dry_run: bool = False,
    ) -> None:
        self.saga_id = saga_id
        self.input = input
        self.definition = definition
        self.decisions = 0
        """Times it was decided in vain."""
        self.notify: str | None = None
        self.called = called
        """A caller in this process: the state after it, and whether it changed anything."""
        self.dry_run = dry_run
        """It is decided, and what it would lead to is told; nothing comes of it."""
        self.preview: Preview | None = None
        self.over = False
        """It has been settled, failed or abandoned: once is enough."""
        self._delivery = delivery
        self._transport = transport

    def read(self, registry: Registry) -> bool:
        """Make out what it says; False when that failed and it is settled."""
        if self.input is not None:
            return True
        assert self._delivery is not None, "without a delivery it has its input"
        envelope = self._delivery.envelope
        try:
            if envelope.type == START_TYPE:
                self._read_start(envelope, registry)
            elif envelope.type == VERB_TYPE:
                self._read_verb(envelope)
            elif envelope.type == SIGNAL_TYPE:
                self.saga_id = check_id(envelope.sagaid or "")
                self.input = read_signal(envelope)
            elif envelope.type == HEARD_TYPE:
                self._read_heard(envelope, registry)
            elif envelope.runs is not None:
                self.input, self.definition = read_request(envelope, registry)
                self.saga_id = self.input.begin.saga_id
            else:
                reply = read_reply(envelope)
                self.saga_id = reply.key.saga_id
                self.input = reply
        except SagaError as error:
            self.fail(error)
            return False
        return True

    def _read_verb(self, envelope: Envelope) -> None:
        request = read_verb(envelope)
        self.saga_id = check_id(envelope.sagaid or "")
        self.dry_run = request.dry_run
        self.input = verb_input(request, self.saga_id, envelope.id)

    def _read_start(self, envelope: Envelope, registry: Registry) -> None:
        request = read_start(envelope)
        self.saga_id = check_id(envelope.sagaid or "")
        self.definition = registry.startable(request.saga_type)
        self.notify = request.notify
        self.input = Start(
            saga_id=self.saga_id,
            data=self.definition.check_input(request.data),
            key=request.key,
            notify=request.notify,
            trace=envelope.traceparent,
            message_id=envelope.id,
        )

    def _read_heard(self, envelope: Envelope, registry: Registry) -> None:
        self.input = heard = read_heard(envelope)
        self.saga_id = heard.saga_id
        self.definition = registry.latest(envelope.sagatype or "")

    @property
    def message_id(self) -> str | None:
        """Of the message that brought it, if one did."""
        return None if self._delivery is None else self._delivery.envelope.id

    @property
    def starts(self) -> bool:
        """Whether it asks for a new saga; also before it was read."""
        if self._delivery is not None:
            return self._delivery.envelope.type == START_TYPE
        return isinstance(self.input, Start)

    # ── how it ends ──────────────────────────────────────────────────────────────────────────────

    def settle(self, state: SagaState | None, changed: bool) -> None:
        """It is handled, and what it led to is committed."""
        self.over = True
        if self.called is not None:
            assert state is not None, "a call that found no saga has failed"
            if not self.called.done():
                self.called.set_result((state, changed))
        elif self._delivery is not None:
            if self._asks():
                assert state is not None, "a request that found no saga has failed"
                created = changed and isinstance(self.input, Start)
                events, commands = self.preview or (None, None)
                told = Answer(
                    saga=summary(state), created=created, events=events, commands=commands
                )
                self._answer(told)
            elif self._from_parent and not changed:
                assert state is not None, "a child that does not exist has begun"
                self._reply(replying(self._delivery.envelope, state))
            self._delivery.ack()

    def fail(self, error: SagaError) -> None:
        """It cannot be handled; a message that nobody can be told of goes to the dead letters."""
        self.over = True
        if self.called is not None:
            if not self.called.done():
                self.called.set_exception(error)
        elif self._delivery is None:
            return  # a timer: it will be armed again by what happens next
        elif self._asks():
            self._answer(failed(error))
            self._delivery.ack()
        elif isinstance(error, Unavailable):
            self._delivery.nak(UNREADY_SECONDS)
        elif self._from_parent and (reply := refusing(self._delivery.envelope, error)) is not None:
            self._reply(reply)
            self._delivery.ack()
        else:
            reason = _reason(error, self._delivery.envelope.type)
            if reason == "bad-reply":
                self._log_bad_reply(self._delivery.envelope, error)
            self._delivery.reject(reason, error.message)

    @staticmethod
    def _log_bad_reply(reply: Envelope, error: SagaError) -> None:
        """The saga waits on, and says nothing of it."""
        _log.warning(
            "bad_reply", saga=reply.sagaid, step=reply.step, source=reply.source, why=error.message
        )

    def postpone(self) -> bool:
        """Have it delivered again: it came too early. False: it has waited long enough."""
        if self._delivery is None or self._delivery.delivered >= EARLY_DELIVERIES:
            return False
        self.over = True
        turn = min(self._delivery.delivered, len(EARLY_SECONDS))
        self._delivery.nak(EARLY_SECONDS[turn - 1])
        return True

    def abandon(self, error: SagaError) -> None:
        """We are going; another owner will handle it if it was delivered."""
        self.over = True
        if self.called is not None:
            if not self.called.done():
                self.called.set_exception(error)
        elif self._delivery is not None:
            self._delivery.nak()

    def _asks(self) -> bool:
        """Whether somebody is told: who sends a signal need not wait for an answer."""
        assert self._delivery is not None
        envelope = self._delivery.envelope
        if envelope.type == SIGNAL_TYPE:
            return envelope.replyto is not None
        return envelope.type in (START_TYPE, VERB_TYPE)

    @property
    def _from_parent(self) -> bool:
        """Whether the saga that runs it sent it; that asks again if it hears nothing."""
        return self._delivery is not None and self._delivery.envelope.runs is not None

    def _reply(self, reply: Envelope | None) -> None:
        assert self._delivery is not None
        address = self._delivery.envelope.replyto
        if reply is not None and address is not None and self._transport is not None:
            self._transport.publish(address, reply).add_done_callback(_confirmed)

    def _answer(self, answer: Answer) -> None:
        assert self._delivery is not None
        envelope = self._delivery.envelope
        if envelope.replyto is None or self._transport is None:
            return
        self._transport.tell(
            envelope.replyto,
            Envelope(
                id=f"{envelope.id[:290]}/answer",
                source="pm",
                type=ANSWER_TYPE,
                sagaid=envelope.sagaid,
                outcome=Outcome.SUCCEEDED if answer.code is None else Outcome.REFUSED,
                causationid=envelope.id,
                data=answer.model_dump(mode="json", exclude_none=True),
            ),
        )


def _confirmed(done: asyncio.Future[None]) -> None:
    """A reply that the broker never took is asked for again."""
    if not done.cancelled() and done.exception() is not None:
        _log.warning("not_published", error=str(done.exception()))


def _reason(error: SagaError, type: str) -> str:
    """The dead letters' reason: a subject token."""
    if isinstance(error, NotFound):
        return "unknown-saga"
    if isinstance(error, InvalidInput):
        return "bad-event" if type == HEARD_TYPE else "bad-reply"
    return error.code

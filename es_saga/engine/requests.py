"""How starts and operators' verbs travel: as messages to the saga's own inbox.

Only the owner of a part writes to the log, so the command line, the HTTP API and other services all
send one of these and await the answer.
"""

from __future__ import annotations

import os
import time
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from es_saga.core.correlation import Named, keyed_id
from es_saga.core.errors import (
    ConflictError,
    CorruptHistory,
    IllegalOperation,
    InvalidInput,
    NotFound,
    SagaError,
    Unavailable,
)
from es_saga.core.events import Json
from es_saga.core.inputs import (
    Cancel,
    Compensate,
    Heard,
    OperatorVerb,
    Reply,
    Resend,
    Resolve,
    Resume,
    RetryStuck,
    Signal,
    Skip,
)
from es_saga.core.messages import Direction, Envelope, Outcome, check_id, parse_command_id

START_TYPE: Final = "es_saga.start"
VERB_TYPE: Final = "es_saga.verb"
SIGNAL_TYPE: Final = "es_saga.signal"
ANSWER_TYPE: Final = "es_saga.answer"

HEARD_TYPE: Final = "es_saga.heard"

MAX_EVENT_ID_CHARS: Final = 128
"""An event with a longer id is told by the SHA-256 of it."""

VerbName = Literal["retry", "skip", "resolve", "cancel", "compensate", "resume", "resend"]


def _shown(value: str) -> str:
    if not all(one.isprintable() or one in "\n\t" for one in value):
        raise PydanticCustomError("unshowable", "has characters that cannot be shown")
    return value


Words = Annotated[str, AfterValidator(_shown)]
"""Text for people, that every database keeps and every terminal shows."""


class StartRequest(BaseModel):
    """Begin a saga of the latest version of a type."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    saga_type: str = Field(max_length=200)
    data: Json
    key: str | None = Field(default=None, max_length=200)
    notify: str | None = Field(default=None, max_length=300)


class SignalRequest(BaseModel):
    """A message from outside for a saga that waits for one of its type, or will."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(min_length=1, max_length=200)
    data: Json


class VerbRequest(BaseModel):
    """An operator's intervention."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verb: VerbName
    actor: Words = Field(min_length=1, max_length=200)
    reason: Words = Field(min_length=1, max_length=1_000)
    step: str | None = None
    direction: Direction = Direction.DO
    outcome: Outcome = Outcome.SUCCEEDED
    reply: Json | None = None
    expected_version: int | None = Field(default=None, ge=1)
    """The version at which the saga was looked at; if it has moved on: ConflictError."""
    dry_run: bool = False
    """Only tell what it would lead to: nothing is appended, and nothing sent."""
    operation: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """A name for the request: however often it is made under it, a saga takes it once."""


class Answer(BaseModel):
    """What became of a request: a summary of the saga, or an error with its code."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    saga: dict[str, Any] | None = None
    created: bool = False
    """By a start: it began now, and not at an earlier, equal request."""
    events: list[Json] | None = None
    """Of a dry run: what would be appended, each with its `topic`."""
    commands: list[Json] | None = None
    """Of a dry run: what would be sent."""
    code: str | None = None
    message: str = ""
    hint: str = ""
    retry_after: float | None = None

    def result(self) -> dict[str, Any]:
        """The summary.

        Raises:
            SagaError: of the class whose code the answer has.
        """
        if self.code is None:
            return self.saga or {}
        if self.code == Unavailable.code:
            raise Unavailable(self.message, retry_after=self.retry_after, hint=self.hint)
        raise _ERRORS.get(self.code, SagaError)(self.message, hint=self.hint)


class Operated(Answer):
    """What became of one saga of many."""

    saga_id: str

    @property
    def ok(self) -> bool:
        """Whether it was carried out, or would be."""
        return self.code is None


_ERRORS: dict[str, type[SagaError]] = {
    error.code: error
    for error in (
        ConflictError,
        CorruptHistory,
        IllegalOperation,
        InvalidInput,
        NotFound,
    )
}


def failed(error: SagaError) -> Answer:
    """The answer that carries an error."""
    return Answer(
        code=error.code,
        message=error.message[:2_000],
        hint=error.hint,
        retry_after=getattr(error, "retry_after", None),
    )


def read_reply(envelope: Envelope) -> Reply:
    """A participant's answer out of its envelope.

    Raises:
        InvalidInput: it does not say which attempt of which command it answers (law L43).
    """
    if envelope.commandid is None or envelope.outcome is None:
        raise InvalidInput("A reply names its command id and its outcome.")
    key = parse_command_id(envelope.commandid)
    if envelope.sagaid is not None and envelope.sagaid != key.saga_id:
        raise InvalidInput(f"{envelope.commandid} is no command of saga {envelope.sagaid[:80]!r}.")
    return Reply(
        key=key,
        attempt=envelope.attempt,
        outcome=envelope.outcome,
        type=envelope.type,
        data=envelope.data,
        message_id=envelope.id,
        retry_after=envelope.retryafter,
    )


def undeliverable(envelope: Envelope, why: str) -> Reply:
    """A command that cannot be sent, ever, has failed for good: nobody got it."""
    assert envelope.commandid is not None, "a command has its id"
    return Reply(
        key=parse_command_id(envelope.commandid),
        attempt=envelope.attempt,
        outcome=Outcome.FAILED,
        type="Undeliverable",
        data={"error": "Undeliverable", "detail": why},
        message_id=f"{envelope.id}/undeliverable",
        retry_after=-1.0,
    )


def read_start(envelope: Envelope) -> StartRequest:
    """A start request out of its envelope.

    Raises:
        InvalidInput: it is malformed.
    """
    try:
        return StartRequest.model_validate(envelope.data)
    except ValidationError as error:
        raise InvalidInput(f"That is no start request: {error}") from error


def read_verb(envelope: Envelope) -> VerbRequest:
    """An operator's verb out of its envelope.

    Raises:
        InvalidInput: it is malformed.
    """
    try:
        return VerbRequest.model_validate(envelope.data)
    except ValidationError as error:
        raise InvalidInput(f"That is no operator's verb: {error}") from error


def read_signal(envelope: Envelope) -> Signal:
    """A message from outside out of its envelope.

    Raises:
        InvalidInput: it is malformed.
    """
    try:
        request = SignalRequest.model_validate(envelope.data)
    except ValidationError as error:
        raise InvalidInput(f"That is no signal: {error}") from error
    return Signal(request.type, request.data, envelope.id)


def heard_as(envelope: Envelope, definition: str, saga: Named, app: str) -> Envelope:
    """A service's event, on its way to the inbox of a saga that it tells of.

    Its id is the same whenever that happens, and another one for every app and every flow.
    """
    name = envelope.id
    if len(name) > MAX_EVENT_ID_CHARS:
        name = sha256(name.encode()).hexdigest()
    return Envelope(
        id=f"{name}/{app}/{definition}",
        source=f"pm/{app}",
        type=HEARD_TYPE,
        sagaid=saga.saga_id,
        sagatype=definition,
        causationid=envelope.id,
        traceparent=envelope.traceparent,
        data={
            "by": envelope.source.removeprefix("svc/"),
            "type": envelope.type,
            "key": saga.key,
            "data": envelope.data,
        },
    )


def read_heard(envelope: Envelope) -> Heard:
    """A service's event out of the envelope that `heard_as` made.

    Raises:
        InvalidInput: it is malformed.
    """
    match envelope.data:
        case {"by": str(by), "type": str(type), "key": str() | None as key, "data": data}:
            saga_id = check_id(envelope.sagaid or "")
            return Heard(saga_id, by, type, data, envelope.id, key, envelope.traceparent)
        case _:
            raise InvalidInput("That is no event as a process manager passes it on.")


def verb_input(request: VerbRequest, saga_id: str, message_id: str) -> OperatorVerb:
    """The input to `decide` that a verb means.

    It acts once a message, or once an operation, where the request names one: a message that is
    sent again inside the broker's duplicate window would not be answered.

    Raises:
        InvalidInput: it needs a step and names none.
    """
    verb, step, seen = request.verb, request.step, request.expected_version
    name = message_id if request.operation is None else f"{saga_id}/{verb}/{request.operation}"
    who = (request.actor, request.reason, name)
    if verb == "cancel":
        return Cancel(*who, expected_version=seen)
    if verb == "compensate":
        return Compensate(*who, expected_version=seen)
    if verb == "retry":
        return RetryStuck(*who, step, expected_version=seen)
    if verb == "resume":
        return Resume(*who, step, expected_version=seen)
    if verb == "resend":
        return Resend(*who, step, expected_version=seen)
    if step is None:
        raise InvalidInput(
            f"{verb} needs to know the step.",
            hint="Name one of its status: by --step, or as `step` of the request.",
        )
    if verb == "skip":
        return Skip(*who, step, expected_version=seen)
    found = (request.direction, request.outcome, request.reply)
    return Resolve(*who, step, *found, expected_version=seen)


def new_id(prefix: str = "") -> str:
    """A UUIDv7: 32 hexadecimal digits that sort by time, in milliseconds (RFC 9562)."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (milliseconds << 80) | random
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return f"{prefix}{value:032x}"


def id_for(saga_type: str, key: str | None) -> str:
    """The id a saga gets: from its business key, so that one key means one saga, else a new one.

    >>> id_for("order", "2026-0001")
    'order-2026-0001'

    Raises:
        InvalidInput: type and key together do not make an id.
    """
    return new_id() if key is None else keyed_id(saga_type, key)

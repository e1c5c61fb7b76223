"""What a participant answers: the envelopes, and the JSON that the fence remembers.

    the handler returned     outcome     type                    data
    a reply                  succeeded   name of its class       its fields
    nothing                  succeeded   Done                    null
    a Refusal                refused     name of its class       its fields
    raised Unavailable       failed      Unavailable             error, detail; and `retryafter`
    raised Terminal          failed      Terminal                error, detail; `retryafter` is -1
    raised anything else     failed      name of the exception   error, detail

The id of an answer is the id of the message it answers, plus `/r`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic_core import from_json, to_json
from sqlalchemy.exc import DBAPIError

from es_saga.core.errors import Terminal, Unavailable
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Envelope, Message, Outcome, Refusal
from es_saga.participant.fence import Record, Status, Undone, attempt_key
from es_saga.participant.kit import Handling

DONE = "Done"
"""The type of an answer that has nothing to say but success."""

MAX_DETAIL_CHARS = 500
"""How much of an exception's message leaves the participant."""

NEVER = -1.0
"""`retryafter` of a failure that is not worth another attempt."""

ENVELOPE_BYTES = 4 * 1024
"""What a reply leaves of the largest message for the envelope around it."""


class BadReply(Terminal):
    """The handler returned what the command does not promise. Correct the handler."""


class Answer(NamedTuple):
    """A handler's answer, in the shapes that the fence and the envelope want."""

    outcome: Outcome
    type: str
    json: bytes | None
    data: Any


NOTHING = Answer(Outcome.SUCCEEDED, DONE, None, None)
TOO_LATE = Answer(Outcome.REFUSED, Undone.__name__, None, {})


def answer_of(reply: object, handling: Handling) -> Answer:
    """What a handler returned, checked against what its command promises.

    Raises:
        BadReply: neither the promised type nor a refusal, or too large.
    """
    if isinstance(reply, Refusal):
        outcome = Outcome.REFUSED
    elif not isinstance(reply, handling.reply):
        raise BadReply(
            f"The handler of {handling.command.__name__} returned {type(reply).__name__}, "
            f"not {handling.reply.__name__} or a Refusal."
        )
    elif reply is None:
        return NOTHING
    else:
        outcome = Outcome.SUCCEEDED
    assert isinstance(reply, Message)
    json = reply.model_dump_json().encode()
    if len(json) > MAX_PAYLOAD_BYTES - ENVELOPE_BYTES:
        raise BadReply(f"{type(reply).__name__} has {len(json)} bytes: more than a message may.")
    # Out of the JSON and not out of the model: a repeat from memory answers exactly the same.
    return Answer(outcome, type(reply).__name__, json, from_json(json))


def repeat(record: Record, command: Envelope, source: str) -> Envelope:
    """The answer that the fence remembers."""
    if record.status == Status.FAILED:
        return _failure_from(record, command, source)
    if record.status == Status.UNDONE:
        return envelope_of(TOO_LATE, command, source)
    data = None if record.reply is None else from_json(record.reply)
    answer = Answer(Outcome(record.status), record.reply_type or DONE, record.reply, data)
    return envelope_of(answer, command, source)


def envelope_of(answer: Answer, command: Envelope, source: str) -> Envelope:
    """The answer, addressed as the reply to this command message."""
    return Envelope(
        id=f"{command.id}/r",
        source=source,
        type=answer.type,
        sagaid=command.sagaid,
        sagatype=command.sagatype,
        step=command.step,
        commandid=command.commandid,
        attempt=command.attempt,
        outcome=answer.outcome,
        causationid=command.id,
        traceparent=command.traceparent,
        direction=command.direction,
        data=answer.data,
    )


def failure_of(
    error: BaseException, command: Envelope, source: str, *, never: bool = False
) -> Envelope:
    """The answer to a command that could not be carried out; `never`: and never will be."""
    name = type(error).__name__
    answer = Answer(Outcome.FAILED, name, None, {"error": name, "detail": _detail(error)})
    retry_after = error.retry_after if isinstance(error, Unavailable) else None
    if never or isinstance(error, Terminal):
        retry_after = NEVER
    envelope = envelope_of(answer, command, source)
    return envelope.model_copy(update={"retryafter": retry_after})


def failure_record(failure: Envelope, command: Envelope, at: float) -> Record:
    """What the fence remembers of a failed attempt; `at` in seconds since the epoch."""
    told = to_json({"data": failure.data, "retryafter": failure.retryafter})
    return Record(attempt_key(command), Status.FAILED, failure.type, told, at)


def _failure_from(record: Record, command: Envelope, source: str) -> Envelope:
    told = from_json(record.reply or b"{}")
    answer = Answer(Outcome.FAILED, record.reply_type or "", None, told.get("data"))
    envelope = envelope_of(answer, command, source)
    return envelope.model_copy(update={"retryafter": told.get("retryafter")})


def _detail(error: BaseException) -> str:
    # SQLAlchemy's text has the statement and perhaps its parameters; the driver's has the reason.
    plain = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(plain)[:MAX_DETAIL_CHARS]

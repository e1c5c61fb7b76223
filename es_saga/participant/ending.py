"""How the work on one command ended: what is answered, and what the fence is to remember of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from es_saga.core.messages import Envelope
from es_saga.participant.fence import Record, Rule, Status, Verdict
from es_saga.participant.reply import (
    NOTHING,
    Answer,
    envelope_of,
    failure_of,
    failure_record,
    repeat,
)


class Ending(NamedTuple):
    """How the work on one command ended."""

    answer: Envelope
    record: Record | None
    """What the fence is to remember; None: nothing new."""
    error: BaseException | None = None
    kept: Sequence[tuple[str, Mapping[str, object]]] = ()
    """Statements to be executed although the command failed or was refused."""


def answered(answer: Answer, command: Envelope, source: str, at: float) -> Ending:
    """Its handler has answered; `at` in seconds since the epoch."""
    assert command.commandid is not None, "the server lets no command without an id pass"
    record = Record(command.commandid, answer.outcome.value, answer.type, answer.json, at)
    return Ending(envelope_of(answer, command, source), record)


def failed(error: BaseException, command: Envelope, source: str, at: float) -> Ending:
    """This attempt has failed."""
    failure = failure_of(error, command, source)
    return Ending(failure, failure_record(failure, command, at), error)


def not_run(verdict: Verdict, command: Envelope, source: str, at: float) -> Ending:
    """It must have no effect, or none any more."""
    if verdict.rule in (Rule.REPEAT, Rule.TOO_LATE):
        assert verdict.record is not None, "that is what it is judged by"
        return Ending(repeat(verdict.record, command, source), None)
    record = None
    if verdict.rule is Rule.NEVER_RAN:
        assert command.undoes is not None, "only an undo can come before its command"
        record = Record(command.undoes, Status.UNDONE, None, None, at)
    return Ending(envelope_of(NOTHING, command, source), record)

"""One command message on its way through a participant."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from es_saga.core.errors import InvalidInput, NotFound
from es_saga.core.messages import Command, Envelope
from es_saga.participant.kit import Handling, Participant
from es_saga.participant.reply import failure_of


class Job:
    """A command message and what becomes of it: an answer, or the wish to see it again later."""

    __slots__ = ("answer", "command", "envelope", "handling", "outage", "rejected")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.handling: Handling | None = None
        self.command: Command[Any] | None = None
        self.answer: Envelope | None = None
        self.outage: str | None = None
        """Why it could not be handled now and is to come again."""
        self.rejected: tuple[str, str] | None = None
        """Reason and detail, where the message belongs among the dead letters."""

    def read(self, participant: Participant, source: str) -> bool:
        """Make the command out of the payload; False, with the answer set, where that fails."""
        envelope = self.envelope
        handling = participant.commands.get(envelope.type)
        if handling is None:
            known = ", ".join(sorted(participant.commands)) or "nothing"
            unknown = NotFound(
                f"{participant.name} does not serve {envelope.type}.", hint=f"It serves {known}."
            )
            self.rejected = ("unknown-command", str(unknown))
            self.answer = failure_of(unknown, envelope, source, never=True)
            return False
        try:
            self.command = handling.command.model_validate(envelope.data)
        except ValidationError as fault:
            error = InvalidInput(f"The payload is no {envelope.type}: {faults_of(fault)}.")
            self.rejected = ("bad-payload", str(error))
            self.answer = failure_of(error, envelope, source, never=True)
            return False
        self.handling = handling
        return True


def faults_of(error: ValidationError) -> str:
    """Where and what, without the values: those are people's data."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, f['loc'])) or 'it'}: {f['msg']}" for f in found[:10])

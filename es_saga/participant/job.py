"""One command message on its way through a participant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from es_saga.core.errors import InvalidInput, NotFound
from es_saga.core.messages import Command, Envelope
from es_saga.participant.kit import Handling, Participant
from es_saga.participant.reply import failure_of

if TYPE_CHECKING:
    from es_saga.participant.holds import HoldStatus

LOCKED_SECONDS: Final = 2.0
"""How long a command may wait for what another one has locked."""

LOCKED_LOOK_SECONDS: Final = (0.01, 0.2)
"""Shortest and longest pause until it is tried again; between them, as long as it has waited."""


class Job:
    """A command message and what becomes of it: an answer, or the wish to see it again later."""

    __slots__ = (
        "again_at",
        "answer",
        "command",
        "decided",
        "envelope",
        "handling",
        "locked_since",
        "outage",
        "rejected",
    )

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.handling: Handling | None = None
        self.command: Command[Any] | None = None
        self.answer: Envelope | None = None
        self.outage: str | None = None
        """Why it could not be handled now and is to come again."""
        self.decided: HoldStatus | None = None
        """What the row of its hold says since its transaction; None: it did not change that row."""
        self.locked_since: float | None = None
        """When it first met what another one has locked; seconds of `time.monotonic`."""
        self.again_at: float | None = None
        """When it is to be tried again for that reason, without anybody being told."""
        self.rejected: tuple[str, str] | None = None
        """Reason and detail, where the message belongs among the dead letters."""

    def wait(self, now: float) -> None:
        """Have it tried again soon. Meanwhile its thread may carry out what unlocks it."""
        if self.locked_since is None:
            self.locked_since = now
        shortest, longest = LOCKED_LOOK_SECONDS
        self.again_at = now + min(max(now - self.locked_since, shortest), longest)

    def has_waited(self, now: float) -> bool:
        """Whether it has been tried again for long enough."""
        return self.locked_since is not None and now - self.locked_since > LOCKED_SECONDS

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

"""What is put aside: a message that cannot be handled, why, and where it came from."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Final

from es_saga.core.messages import Envelope

BODY_BYTES: Final = 4 * 1024
"""How much of the message's body a dead letter keeps."""

DETAIL_CHARS: Final = 500
"""How much of an explanation a dead letter keeps."""

MAX_DELIVER: Final = "max-deliver"
"""The reason of a message that was delivered as often as its consumer allows."""

TYPE: Final = "DeadLetter"

_NO_TOKEN = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message put aside by a consumer."""

    who: str
    """Name of the consumer."""
    reason: str
    """Why: a subject token, such as `malformed` or `unknown-command`."""
    detail: str
    subject: str
    """Where the message had been sent."""
    body: bytes
    """The first 4 KiB of it."""
    size: int
    """Bytes it had."""
    envelope: Envelope | None = None
    """What could be read of it; None when it was unreadable."""

    def to_envelope(self, message_id: str) -> Envelope:
        """As it is sent: type `DeadLetter`, with the saga's attributes kept for searching."""
        data: dict[str, Any] = {
            "reason": self.reason,
            "detail": self.detail,
            "subject": self.subject,
            "size": self.size,
        }
        try:
            data["body"] = self.body.decode()
        except UnicodeDecodeError:
            data["body_base64"] = b64encode(self.body).decode()
        about = self.envelope
        return Envelope(
            id=message_id,
            source=self.who,
            type=TYPE,
            sagaid=about.sagaid if about else None,
            sagatype=about.sagatype if about else None,
            step=about.step if about else None,
            commandid=about.commandid if about else None,
            attempt=about.attempt if about else 1,
            causationid=about.id if about else None,
            traceparent=about.traceparent if about else None,
            data=data,
        )


def dead_letter(
    who: str,
    reason: str,
    detail: str,
    *,
    subject: str,
    body: bytes,
    envelope: Envelope | None = None,
) -> DeadLetter:
    """Put together a dead letter; whatever is too long is cut, a reason is made a token."""
    return DeadLetter(
        who=who,
        reason=_NO_TOKEN.sub("-", reason)[:64] or "unknown",
        detail=detail[:DETAIL_CHARS],
        subject=subject,
        body=_cut(body),
        size=len(body),
        envelope=envelope,
    )


def _cut(body: bytes) -> bytes:
    """The first BODY_BYTES, without half a character at the end of what is text."""
    if len(body) <= BODY_BYTES:
        return body
    kept = body[:BODY_BYTES]
    for spare in range(4):
        try:
            kept[: BODY_BYTES - spare].decode()
        except UnicodeDecodeError:
            continue
        return kept[: BODY_BYTES - spare]
    return kept

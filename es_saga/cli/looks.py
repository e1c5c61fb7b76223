"""How events look on a terminal: a mark and a colour for each kind."""

from __future__ import annotations

from typing import Final, NamedTuple


class Look(NamedTuple):
    """What tells one kind of event from the others at a glance."""

    mark: str
    style: str
    """As rich has it."""

    def of(self, text: str) -> str:
        """Text in this colour, as rich's markup; it has no markup of its own."""
        return f"[{self.style}]{text}[/]"


_LOOKS: Final = {
    "SagaStarted": Look("▶", "cyan"),
    "StepSucceeded": Look("✓", "green"),
    "StepRefused": Look("✗", "yellow"),
    "StepFailed": Look("!", "red"),
    "StepTimedOut": Look("⧖", "red"),
    "StepRetried": Look("↻", "cyan"),
    "CompensationStarted": Look("◀", "yellow"),
    "CompensationIssued": Look("↶", "yellow"),
    "CompensationSucceeded": Look("✓", "blue"),
    "CompensationFailed": Look("!", "red"),
    "SagaHeld": Look("□", "green"),
    "ParentDecided": Look("☟", "cyan"),
    "SagaCompleted": Look("■", "bold green"),
    "SagaCompensated": Look("■", "bold blue"),
    "SagaStuck": Look("■", "bold red"),
}
_BY_HAND: Final = Look("☞", "magenta")
_ELSE: Final = Look("·", "default")


def look_of(kind: str) -> Look:
    """How an event of this kind looks; `kind` is the name of its class."""
    return _LOOKS.get(kind) or (_BY_HAND if kind.startswith("Operator") else _ELSE)

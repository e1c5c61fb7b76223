"""How things stand, as people see it at a glance: a colour, a shape and a word.

Never the colour alone: each tone of the style sheet comes with its own icon, and with the word.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Look(NamedTuple):
    """What a state looks like."""

    tone: str
    """Class of the style sheet, after `t-`."""
    icon: str
    """Symbol of `icons.svg.html`, after `i-`."""
    word: str


STATUSES: Final[dict[str, Look]] = {
    "running": Look("run", "run", "running"),
    "waiting": Look("wait", "wait", "waiting"),
    "compensating": Look("back", "back", "compensating"),
    "stuck": Look("bad", "stuck", "stuck"),
    "completed": Look("good", "done", "completed"),
    "compensated": Look("undone", "undone", "compensated"),
    "compensated-with-exceptions": Look("owed", "owed", "compensated, owing"),
}
"""A saga's."""

FORWARD: Final[dict[str, Look]] = {
    "started": Look("run", "run", "in flight"),
    "backoff": Look("wait", "wait", "waits to retry"),
    "succeeded": Look("good", "done", "done"),
    "refused": Look("back", "no", "refused"),
    "failed": Look("bad", "fail", "failed"),
    "unknown": Look("bad", "unknown", "unanswered"),
    "skipped": Look("quiet", "skip", "skipped"),
    "pending": Look("quiet", "open", "not begun"),
}
"""A step's own work."""

BACKWARD: Final[dict[str, Look]] = {
    "started": Look("back", "back", "undo in flight"),
    "backoff": Look("wait", "wait", "undo waits to retry"),
    "succeeded": Look("undone", "undone", "undone"),
    "refused": Look("owed", "owed", "undo refused"),
    "failed": Look("owed", "owed", "undo failed"),
    "unknown": Look("owed", "owed", "undo unanswered"),
    "skipped": Look("quiet", "skip", "undo waived"),
}
"""Its undo."""

UNDO_EXPECTED: Final = Look("wait", "wait", "undo expected")
"""Nobody is asked for it: an event will tell of it."""

_EVENTS: Final[dict[str, Look]] = {
    "SagaStarted": Look("run", "run", "Saga started"),
    "StepStarted": Look("run", "send", "Step started"),
    "StepRetried": Look("wait", "again", "Step sent again"),
    "StepSucceeded": Look("good", "done", "Step succeeded"),
    "StepRefused": Look("back", "no", "Step refused"),
    "StepFailed": Look("bad", "fail", "Step failed"),
    "StepTimedOut": Look("bad", "unknown", "Nothing came in time"),
    "StepSkipped": Look("quiet", "skip", "Step skipped"),
    "SagaResumed": Look("run", "again", "Gone on another way"),
    "StepFannedOut": Look("run", "run", "Step fanned out"),
    "CompensationStarted": Look("back", "back", "Compensation started"),
    "CompensationIssued": Look("back", "send", "Undo sent"),
    "CompensationSucceeded": Look("undone", "undone", "Undo confirmed"),
    "CompensationFailed": Look("owed", "owed", "Undo failed"),
    "SagaHeld": Look("wait", "done", "Saga held by its parent"),
    "ParentDecided": Look("wait", "send", "Parent decided"),
    "SagaCompleted": Look("good", "done", "Saga completed"),
    "SagaCompensated": Look("undone", "undone", "Saga compensated"),
    "SagaStuck": Look("bad", "stuck", "Saga stuck"),
    "LateReplyNoted": Look("quiet", "late", "Late answer noted"),
    "DeadlineExceeded": Look("bad", "late", "Deadline exceeded"),
    "SignalReceived": Look("wait", "send", "Signal received"),
}


def of_status(status: str) -> Look:
    """A saga's status."""
    return STATUSES.get(status) or Look("quiet", "open", status)


def of_work(status: str, *, undo: bool = False) -> Look:
    """Where one direction of a step stands."""
    return (BACKWARD if undo else FORWARD).get(status) or Look("quiet", "open", status)


def of_wait(status: str, *, expected: bool = False, asleep: bool = False) -> Look:
    """Where a step stands that asks nobody: for a message, for time to pass, or for an event."""
    if status == "started":
        return Look("wait", "wait", "sleeps" if asleep else "expected" if expected else "waits")
    if status == "unknown":
        return Look("bad", "unknown", "not heard in time")
    return of_work(status)


def of_event(kind: str) -> Look:
    """An event; what operators did has a look of its own.

    >>> of_event("OperatorSkipped").word
    'Operator skipped'
    """
    known = _EVENTS.get(kind)
    if known is not None:
        return known
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in kind).strip()
    tone, icon = ("person", "person") if kind.startswith("Operator") else ("quiet", "open")
    return Look(tone, icon, words[:1].upper() + words[1:])

"""The compensation ledger: of every step that can be undone, what was done and what is owed for it.

Pure: from the shape of a definition and the steps of a status row, without code. It tells what the
laws tell (L06 to L08, L30): a step that was done, or may have been, is owed its undo once the saga
has turned back, until the undo is confirmed or somebody waives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from es_saga.core.messages import as_written, standing_for
from es_saga.core.state import WorkStatus


class Done(StrEnum):
    """What became of a step's forward work."""

    NOT_BEGUN = "not begun"
    UNDER_WAY = "under way"
    NOT_DONE = "not done"
    """Refused, failed for certain, or skipped."""
    DONE = "done"
    MAYBE_DONE = "maybe done"
    """Some attempt of it was never answered: it is undone as if it had been done."""


class Undo(StrEnum):
    """Where a step's undo stands."""

    NOT_OWED = "not owed"
    OWED = "owed"
    """Not issued yet: what depended on it is undone first."""
    ISSUED = "issued"
    CONFIRMED = "confirmed"
    WAIVED = "waived"
    FAILED = "failed"
    """Given up, and still owed."""


SETTLED: Final = frozenset({Undo.NOT_OWED, Undo.CONFIRMED, Undo.WAIVED})
"""Nothing more is to be done about these."""

_DONE: Final[Mapping[str, Done]] = {
    WorkStatus.STARTED: Done.UNDER_WAY,
    WorkStatus.BACKOFF: Done.UNDER_WAY,
    WorkStatus.SUCCEEDED: Done.DONE,
    WorkStatus.REFUSED: Done.NOT_DONE,
    WorkStatus.FAILED: Done.NOT_DONE,
    WorkStatus.UNKNOWN: Done.MAYBE_DONE,
    WorkStatus.SKIPPED: Done.NOT_DONE,
}
_UNDO: Final[Mapping[str, Undo]] = {
    WorkStatus.STARTED: Undo.ISSUED,
    WorkStatus.BACKOFF: Undo.ISSUED,
    WorkStatus.SUCCEEDED: Undo.CONFIRMED,
    WorkStatus.REFUSED: Undo.FAILED,
    WorkStatus.FAILED: Undo.FAILED,
    WorkStatus.UNKNOWN: Undo.FAILED,
    WorkStatus.SKIPPED: Undo.WAIVED,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One step that can be undone."""

    step: str
    command: str
    """Name of the undo's command."""
    done: Done
    undo: Undo
    attempt: int | None = None
    """Of the undo, once it was issued."""
    due: float | None = None
    """When the undo counts as unanswered, or is sent again; seconds since the epoch."""
    why: str | None = None
    """What the undo came to grief at."""
    by: str | None = None
    """Who waived it, or said that it is done."""


def ledger(
    shape: Mapping[str, Any],
    steps: Mapping[str, Mapping[str, Any]],
    *,
    backward: bool,
    settled_by: Mapping[str, str] | None = None,
) -> tuple[Entry, ...]:
    """The ledger of one saga, in the order of its definition; undos go the other way.

    Args:
        shape: of the definition that it runs on.
        steps: as its status row has them.
        backward: it is being undone, or was.
        settled_by: who settled the undo of a step by hand.
    """
    by = settled_by or {}
    stays = _before_save_point(shape, steps)
    return tuple(
        _entry(
            name,
            step["undo"],
            steps.get(name),
            backward and step["name"] not in stays,
            by.get(name),
        )
        for step in shape["steps"]
        if step["undo"] is not None
        for name in standing_for(step["name"], steps)
    )


def remaining(
    shape: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]], *, backward: bool
) -> tuple[str, ...]:
    """What an open saga has still to do: steps on the way forward, undos on the way back."""
    if backward:
        entries = ledger(shape, steps, backward=True)
        return tuple(entry.step for entry in reversed(entries) if entry.undo not in SETTLED)
    over = (WorkStatus.SUCCEEDED, WorkStatus.SKIPPED)
    return tuple(
        name
        for step in shape["steps"]
        for name in standing_for(step["name"], steps)
        if steps.get(name, {}).get("status") not in over
    )


def _before_save_point(
    shape: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]
) -> frozenset[str]:
    """While a saga goes back to a save-point: what does not come after it, and so stays done."""
    point = next((name for name, own in steps.items() if own.get("back_to")), None)
    if point is None:
        return frozenset()
    undone = {as_written(point)}
    for step in shape["steps"]:  # a step comes after those that it waits for
        if not undone.isdisjoint(step["after"]):
            undone.add(step["name"])
    return frozenset(step["name"] for step in shape["steps"]) - undone


def _entry(
    step: str, command: str, own: Mapping[str, Any] | None, backward: bool, by: str | None
) -> Entry:
    done = Done.NOT_BEGUN if own is None else _DONE[own["status"]]
    undo: Mapping[str, Any] = (own or {}).get("undo") or {}
    stands = Undo.NOT_OWED
    if backward and done in (Done.DONE, Done.MAYBE_DONE):
        stands = _UNDO[undo["status"]] if undo else Undo.OWED
    return Entry(
        step=step,
        command=command,
        done=done,
        undo=stands,
        attempt=undo.get("attempt"),
        due=undo.get("due"),
        why=undo.get("error"),
        by=by if stands in (Undo.WAIVED, Undo.CONFIRMED) else None,
    )

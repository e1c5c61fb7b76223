"""What a saga waits for while it asks nobody, and which way from a save-point it is on.

Pure: from the shape of a definition and the steps of a status row, without code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from es_saga.core.messages import Direction, as_written

SLEEP: Final = "Sleep"
"""What a step that lets time pass has for a message, see `StepDefinition.asks`."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """A message, an event or a time that a saga waits for."""

    what: str
    """The type of the message; of a sleep, the step."""
    until: float | None
    """Seconds since the epoch."""


def unanswered(
    steps: Mapping[str, Any],
) -> Iterator[tuple[str, Direction, Mapping[str, Any]]]:
    """Steps, and what was begun of each and has no outcome: in flight, or to be sent again.

    >>> list(unanswered({"reserve": {"status": "succeeded"}, "charge": {"status": "backoff"}}))
    [('charge', <Direction.DO: 'do'>, {'status': 'backoff'})]
    """
    for name, own in steps.items():
        undo = own.get("undo")
        work = own if undo is None else undo
        if work["status"] in ("started", "backoff"):
            yield name, Direction.DO if undo is None else Direction.UNDO, work


def awaited(shape: Mapping[str, Any], steps: Mapping[str, Any]) -> Iterator[Awaited]:
    """All that an open saga waits for.

    Args:
        shape: of the definition that it runs on.
        steps: as its status row has them.
    """
    planned = {step["name"]: step for step in shape["steps"]}
    for name, own in steps.items():
        step = planned.get(as_written(name)) or planned.get(name)
        undo = own.get("undo")
        work = undo or own
        if step is None or work["status"] != "started":
            continue
        if step.get("expected") or (step["kind"] == "wait" and undo is None):
            asks = step["command"] if undo is None else step["undo"]
            yield Awaited(f"{name} (sleep)" if asks == SLEEP else asks, work.get("due"))


def way(shape: Mapping[str, Any], steps: Mapping[str, Any]) -> str | None:
    """Which way from its save-points a saga is on; None: it has come to none.

    >>> shape = {"steps": [{"name": "held", "ways": 2}]}
    >>> way(shape, {"held": {"reply": {"number": 2, "failed": "pay", "why": "Declined"}}})
    '2 of 2, from held'
    """
    found: list[str] = []
    for step in shape["steps"]:
        own = steps.get(step["name"], {})
        if "ways" in step and "reply" in own:
            back = "going back to" if own.get("back_to") else "from"
            found.append(f"{own['reply'].get('number')} of {step['ways']}, {back} {step['name']}")
    return "; ".join(found) or None


def way_told(reply: Mapping[str, Any], ways: int) -> str:
    """What a save-point tells the steps after it, see `es_saga.Way`.

    >>> way_told({"number": 2, "failed": "room", "why": "NoRoom"}, 2)
    'way 2 of 2, since room failed: NoRoom'
    """
    on_it = f"way {reply.get('number')} of {ways}"
    if not reply.get("failed"):
        return on_it
    return f"{on_it}, since {reply['failed']} failed: {reply.get('why')}"

"""The steps of one saga in words: what each name means, and how each stands.

A step over a list stands there once for each item, and a saga that went on from a save-point anew
has its steps once for each way. Who reads that has not written it: so each name comes with what it
means, and long lists are one line with what is out of the ordinary below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from es_saga.core.messages import as_written
from es_saga.core.state import SagaState, StepState, Work
from es_saga.projections.queries import SagaRow
from es_saga.projections.waiting import way_told
from es_saga.web.dashboard.looks import Look
from es_saga.web.dashboard.pictures import MOST_MARKS, Planned
from es_saga.web.dashboard.verbs import planned_of
from es_saga.web.dashboard.words import on_one_line

MOST_NOTABLE: Final = 10
"""Items of one list that are shown though the list is not unfolded."""


class Side(NamedTuple):
    """One direction of one step, as the status view has it."""

    status: str
    attempt: int
    started: float
    ended: float | None = None
    due: float | None = None
    reply: Any = None
    error: str | None = None


class Told(NamedTuple):
    """A step that was begun."""

    name: str
    note: str
    """What its name means: which item it is for, or which way it is on."""
    do: Side
    undo: Side | None
    done: Look
    undone: Look | None
    answer: str
    """What it was answered, on one line."""
    past: bool = False
    """It is of a way that was given up."""

    @property
    def now(self) -> Look:
        """How it stands, both directions in one."""
        return self.undone or self.done


class Group(NamedTuple):
    """One step, or all that stand for a long list."""

    name: str
    steps: Sequence[Told]
    """What is shown of it at once."""
    every: Sequence[Told] = ()
    """All items, where those are more."""
    counts: Sequence[tuple[Look, int]] = ()
    """Of all items: so many stand so."""


def told(
    row: SagaRow, plan: Sequence[Planned], past: Mapping[str, StepState] | None = None
) -> list[Told]:
    """The steps that were begun, in order.

    Args:
        past: those of ways that were given up, if there are any.
    """
    found = [_told(name, _side(own), _undo(own), plan) for name, own in row.steps.items()]
    return _in_order(found + _given_up(past or {}, plan))


def told_after(state: SagaState, plan: Sequence[Planned]) -> list[Told]:
    """The same, of a saga as it was at any moment."""
    found = [
        _told(name, _side_of(own.do), own.undo and _side_of(own.undo), plan)
        for name, own in state.steps.items()
    ]
    return _in_order(found + _given_up(state.past, plan))


def _given_up(past: Mapping[str, StepState], plan: Sequence[Planned]) -> list[Told]:
    return [
        _told(name, _side_of(own.do), own.undo and _side_of(own.undo), plan, past=True)
        for name, own in past.items()
    ]


def _in_order(found: list[Told]) -> list[Told]:
    return sorted(found, key=lambda one: one.do.started)


def went_another_way(row: SagaRow) -> bool:
    """Whether there is a way that was given up."""
    return any(_another_way(own.get("reply")) for own in row.steps.values())


def _another_way(reply: Any) -> bool:
    """Whether a save-point was answered so; see `es_saga.Way`."""
    return bool(reply) and {"number", "failed"} <= set(reply) and reply["failed"] is not None


def groups(steps: Sequence[Told], unfolded: str = "") -> Iterator[Group]:
    """Steps with the items of each long list together.

    Args:
        unfolded: the step over a list of which every item is to be seen; or `all`.
    """
    # Lists that are gone over side by side begin in turns.
    order = {name: n for n, name in reversed([*enumerate(_list_of(one) for one in steps)])}
    together = sorted(steps, key=lambda one: order[_list_of(one)])
    for name, own in groupby(together, _list_of):
        items = list(own)
        if len(items) <= MOST_MARKS or not items[0].note.startswith("item"):
            yield from (Group(one.name, [one]) for one in items)
            continue
        counts = Counter(one.now for one in items)
        usual = counts.most_common(1)[0][0]
        notable = [one for one in items if one.now is not usual and one.now.tone != "good"]
        all_of_it = unfolded in ("all", name)
        shown = items if all_of_it else notable[:MOST_NOTABLE]
        yield Group(name, shown, items, counts.most_common())


# ── one step ─────────────────────────────────────────────────────────────────────────────────────


def _told(
    name: str, do: Side, undo: Side | None, plan: Sequence[Planned], past: bool = False
) -> Told:
    planned = planned_of(name, plan)
    if planned.passive and do.status == "unknown":
        do = do._replace(error=None)  # the look says it all
    return Told(
        name,
        _note(name, past),
        do,
        undo,
        planned.look(do.status),
        None if undo is None else planned.look(undo.status, undo=True),
        _answer(do, planned),
        past,
    )


def _note(name: str, past: bool) -> str:
    """What a step's name means.

    >>> [_note(name, False) for name in ("pay", "pick-3", "room.2", "pick.2-3")]
    ['', 'item 3', 'way 2', 'item 3, way 2']
    """
    rest = name.removeprefix(as_written(name))
    on_way, _, item = rest.partition("-")
    way = on_way.removeprefix(".") or ("1" if past else "")
    parts = [f"item {item}" if item else "", f"way {way}" if way else ""]
    return ", ".join([part for part in parts if part] + ["given up"] * past)


def _answer(do: Side, planned: Planned) -> str:
    if planned.ways is not None and do.reply:
        return way_told(do.reply, planned.ways)
    return on_one_line(do.reply) if do.reply else ""


def _list_of(one: Told) -> str:
    """The step over a list that it stands for, on its way; else it itself."""
    return one.name.rpartition("-")[0] if one.note.startswith("item") else one.name


def _undo(own: Mapping[str, Any]) -> Side | None:
    return _side(own["undo"]) if "undo" in own else None


def _side(work: Mapping[str, Any]) -> Side:
    return Side(**{name: work[name] for name in Side._fields if name in work})


def _side_of(work: Work) -> Side:
    return Side(
        work.status.value,
        work.attempt,
        work.started,
        work.ended,
        work.due,
        work.reply,
        work.error,
    )

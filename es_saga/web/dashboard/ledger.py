"""The compensation ledger of one saga: what was done, whether its undo was issued, and whether that
is confirmed or still owed; with what can be done about each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from es_saga.projections.ledger import SETTLED
from es_saga.projections.ledger import ledger as ledger_of
from es_saga.projections.queries import SagaRow
from es_saga.web.dashboard import looks
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.pictures import Planned
from es_saga.web.dashboard.saga import begun, head
from es_saga.web.dashboard.steps import Group, Told, groups
from es_saga.web.dashboard.verbs import VERBS, for_saga, for_step, planned_of


def screens(pages: Pages) -> Sequence[Screen]:
    """The ledger."""

    async def gather(visit: Visit) -> Context:
        around = await head(pages, visit, "ledger")
        row, plan = around["saga"], around["plan"]
        shape = await pages.shapes.of(row.type, row.definition)
        owed = ledger_of(shape, row.steps, backward=row.backward) if shape else ()
        steps = await begun(pages, row, plan)
        done = VERBS.get(visit.query.get("done", ""))
        return around | {
            "entries": entries(
                row,
                plan,
                [*groups(steps, visit.query.get("each", ""))],
                {entry.step for entry in owed if entry.undo not in SETTLED},
            ),
            "back": any(one.undo for one in steps) or row.backward,
            "offers": for_saga(row, plan),
            "done": done.did if done else None,
        }

    return [Screen("/sagas/{saga_id}/ledger", "ledger.html", "sagas", gather)]


def entries(
    row: SagaRow, plan: Sequence[Planned], begun: Sequence[Group], owed: Collection[str]
) -> list[dict[str, Any]]:
    """One line a step: those that were begun in the order in which they were, then the others.

    Args:
        begun: steps, the items of each long list together.
        owed: steps whose undo is owed.
    """
    found: list[dict[str, Any]] = []
    for group in begun:
        if group.every:
            found.append({"group": group})
        found += (_entry(row, one, plan, owed) for one in group.steps)
    known = {planned_of(name, plan).name for name in row.steps}
    return found + [
        {
            "group": None,
            "step": planned.name,
            "note": "pivot" if planned.pivot else "",
            "do": None,
            "done": looks.of_work("pending"),
            "undo": None,
            "owes": False,
            "offers": [],
        }
        for planned in plan
        if planned.name not in known
    ]


def _entry(
    row: SagaRow, own: Told, plan: Sequence[Planned], owed: Collection[str]
) -> dict[str, Any]:
    pivot = planned_of(own.name, plan).pivot
    return {
        "group": None,
        "step": own.name,
        "note": ", ".join(filter(None, ["pivot" if pivot else "", own.note])),
        "do": own.do,
        "done": own.done,
        "answer": own.answer,
        "undo": own.undo,
        "undone": own.undone,
        "owes": not own.past and own.name in owed,
        "offers": [] if own.past else for_step(row, own.name, plan),
    }

"""The compensation ledger of one saga: what was done, whether its undo was issued, and whether that
is confirmed or still owed; with what can be done about each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from es_saga.projections.queries import SagaRow
from es_saga.web.dashboard import looks
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.pictures import Planned
from es_saga.web.dashboard.saga import Both, head, steps_of
from es_saga.web.dashboard.verbs import VERBS, for_saga, for_step


def screens(pages: Pages) -> Sequence[Screen]:
    """The ledger."""

    async def gather(visit: Visit) -> Context:
        around = await head(pages, visit, "ledger")
        row: SagaRow = around["saga"]
        done = VERBS.get(visit.query.get("done", ""))
        return around | {
            "entries": entries(row, around["plan"]),
            "back": row.backward,
            "offers": for_saga(row, around["plan"]),
            "done": done.did if done else None,
        }

    return [Screen("/sagas/{saga_id}/ledger", "ledger.html", "sagas", gather)]


def entries(row: SagaRow, plan: Sequence[Planned]) -> list[dict[str, Any]]:
    """One line a step: those that were begun in the order in which they were, then the others."""
    begun = steps_of(row)
    names = [*begun, *(planned.name for planned in plan if planned.name not in begun)]
    return [_entry(row, name, begun, plan) for name in names]


def _entry(
    row: SagaRow, step: str, begun: dict[str, Both], plan: Sequence[Planned]
) -> dict[str, Any]:
    own = begun.get(step)
    undo = own.undo if own else None
    return {
        "step": step,
        "pivot": any(one.name == step and one.pivot for one in plan),
        "do": own.do if own else None,
        "done": looks.of_work(own.do.status if own else "pending"),
        "undo": undo,
        "undone": None if undo is None else looks.of_work(undo.status, undo=True),
        "owes": own is not None and _owes(row, own),
        "offers": for_step(row, step, plan),
    }


def _owes(row: SagaRow, own: Both) -> bool:
    """Whether a step that was done, or may have been, still has to be undone."""
    if own.undo is not None:
        return own.undo.status not in ("succeeded", "skipped")
    return row.backward and own.do.status in ("succeeded", "unknown")

"""The operators' verbs in words, and which of them a saga's state suggests.

What is offered is a suggestion only: whether it is legal is decided where the saga is, and a dry
run asks there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from es_saga.core.messages import as_written, standing_for
from es_saga.projections.queries import SagaRow
from es_saga.web.dashboard.pictures import Planned


class Verb(NamedTuple):
    """What a verb is called and what it does."""

    name: str
    word: str
    """On the button."""
    does: str
    did: str
    """Said afterwards."""
    danger: bool = False
    """It cannot be taken back."""
    needs_step: bool = False


VERBS: Final = {
    verb.name: verb
    for verb in (
        Verb(
            "retry",
            "Retry",
            "Asks again for what was given up: the same command, or after a refusal a new one.",
            "It is being tried again.",
        ),
        Verb(
            "resolve",
            "Resolve",
            "Says what became of the work, after somebody found out or did it by hand.",
            "Its outcome is settled.",
            danger=True,
            needs_step=True,
        ),
        Verb(
            "skip",
            "Skip",
            "Waives the work: the saga goes on as if it did not have to be done.",
            "It is waived.",
            danger=True,
            needs_step=True,
        ),
        Verb(
            "resume",
            "Try now",
            "Does now what waits for its next attempt.",
            "It is being tried now.",
        ),
        Verb(
            "resend",
            "Send again",
            "Sends what is in flight once more, under the same command id, as another attempt.",
            "It was sent again.",
        ),
        Verb(
            "compensate",
            "Compensate",
            "Turns the saga back: everything that was done is undone, the last thing first.",
            "It is being undone.",
            danger=True,
        ),
        Verb(
            "cancel",
            "Cancel",
            "Asks for the saga to be undone. After the pivot that is refused, and the refusal is "
            "recorded.",
            "The wish to cancel it is recorded.",
            danger=True,
        ),
    )
}

_GIVEN_UP: Final = frozenset({"refused", "failed", "unknown"})


class Offer(NamedTuple):
    """A button."""

    verb: Verb
    step: str | None = None
    direction: str = "do"


def for_saga(row: SagaRow, plan: Sequence[Planned]) -> list[Offer]:
    """What may be done to the whole saga."""
    if row.closed is not None:
        return []
    offers = [Offer(VERBS["retry"])] if row.status == "stuck" else []
    watched = any(one.expected for one in plan)  # nobody conducts it: it cannot be turned back
    if not watched and not row.backward and not _past_the_pivot(row, plan):
        offers += [Offer(VERBS["compensate"]), Offer(VERBS["cancel"])]
    return offers


def _past_the_pivot(row: SagaRow, plan: Sequence[Planned]) -> bool:
    """Whether the pivot is done, or may be; a `Tcc` has none, but steps that come after it."""
    return any(
        one.after_pivot or (one.pivot and row.steps[name]["status"] != "refused")
        for one in plan
        for name in standing_for(one.name, row.steps)
        if name in row.steps
    )


def for_step(row: SagaRow, step: str, plan: Sequence[Planned]) -> list[Offer]:
    """What may be done about one step, in the direction in which the saga goes."""
    own: Mapping[str, Any] | None = row.steps.get(step)
    if row.closed is not None or own is None:
        return []
    work: Mapping[str, Any] | None = own.get("undo") if row.backward else own
    if work is None:
        return []
    planned = planned_of(step, plan)
    offered = _for_work(row, str(work["status"]), planned)
    waivable = row.backward or planned.after_pivot
    direction = "undo" if row.backward else "do"
    return [Offer(VERBS[name], step, direction) for name in offered if name != "skip" or waivable]


def planned_of(step: str, plan: Sequence[Planned]) -> Planned:
    """A step as its definition has it, of which this is one item, or another way, or it itself."""
    written = as_written(step)
    return next((one for one in plan if one.name in (step, written)), Planned(step))


def _for_work(row: SagaRow, status: str, planned: Planned) -> tuple[str, ...]:
    if row.status == "stuck" and status in _GIVEN_UP:
        return ("retry", "resolve", "skip")
    if planned.passive:  # nothing was sent
        return ()
    return {"backoff": ("resume",), "started": ("resend",)}.get(status, ())

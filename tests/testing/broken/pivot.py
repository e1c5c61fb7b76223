"""The pivot and the direction of recovery: broken (L11 to L17)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from es_saga.core.compiled import StepKind
from es_saga.testing.story import Story
from tests.core.sagas import chain, with_pivot
from tests.testing.broken import Broken, broken
from tests.testing.told import SAGA, Told

_PIVOT = with_pivot()
"""hold, the pivot pay, ticket, mail."""


def _held() -> Told:
    return Told(_PIVOT).do("hold").ok("hold")


def _paid() -> Told:
    return _held().do("pay").ok("pay")


def _shape(why: str, **steps: dict[str, Any]) -> Broken:
    """A definition that no verifier has seen: these steps were changed."""
    definition = _PIVOT.definition
    changed = {name: replace(definition.steps[name], **fields) for name, fields in steps.items()}
    told = replace(definition, steps={**definition.steps, **changed})
    return Broken("L11", Story(told, SAGA, []), why)


BROKEN = [
    _shape("there are several pivots: pay, ticket", ticket={"kind": StepKind.PIVOT}),
    _shape(
        "hold can only be retried, and comes before the pivot",
        hold={"kind": StepKind.RETRIABLE, "undo": None},
    ),
    _shape(
        "mail comes after the pivot pay and is to be undone",
        mail={
            "kind": StepKind.COMPENSATABLE,
            "undo": _PIVOT.definition.steps["hold"].undo,
        },
    ),
    _shape("hold is compensatable, and has no undo", hold={"undo": None}),
    _shape(
        "mail is retriable, and has an undo",
        mail={"undo": _PIVOT.definition.steps["hold"].undo},
    ),
    _shape(
        "mail is neither before the pivot pay nor after it",
        mail={"kind": StepKind.CHECK, "ancestors": frozenset({"hold"})},
    ),
    broken("L12", _paid().back(), "CompensationStarted after the pivot pay succeeded"),
    broken("L12", _paid().undo("hold"), "CompensationIssued after the pivot pay succeeded"),
    broken("L12", _paid().compensated(), "SagaCompensated after the pivot pay succeeded"),
    broken(
        "L13",
        _paid().do("ticket").fails("ticket", wait=1).back(step="ticket").stuck("ticket"),
        "ticket comes after the pivot, and its failure turned the saga back",
        8,
    ),
    broken(
        "L13",
        _paid().do("ticket").no("ticket"),
        "ticket was given up after the pivot, and no human was called",
    ),
    broken(
        "L14",
        _held().do("pay").do("ticket"),
        "ticket was sent before the pivot had succeeded",
    ),
    broken(
        "L15",
        _held().do("pay").back(),
        "CompensationStarted while the outcome of pay was not known",
    ),
    broken(
        "L15",
        _held().do("pay").silent("pay").do("ticket"),
        "StepStarted while the outcome of pay was not known",
    ),
    broken(
        "L17",
        _paid().do("ticket").cancelled(),
        "a cancel was accepted after the pivot had succeeded",
    ),
    broken(
        "L17",
        _held().cancelled().do("pay"),
        "a cancel was accepted, and nothing was undone",
        4,
    ),
    broken(
        "L17",
        _paid().do("ticket").turned_back(),
        "an operator's undo was accepted after the pivot had succeeded",
    ),
    broken(
        "L17",
        _held().turned_back().do("pay"),
        "an operator's undo was accepted, and nothing was undone",
        4,
    ),
    broken("L17", _paid().cancelled(refused=" "), "a cancel was refused without a reason"),
    broken(
        "L17",
        Told(chain("a", "b")).do("a").cancelled(refused="no"),
        "a cancel was refused though nothing had passed: no",
    ),
]

"""Mistakes with holds: of the interpreter, of the participant kit, and of who has the seats."""

from __future__ import annotations

from typing import Any

import pytest

from es_saga.core import decide, tcc
from es_saga.core.policy import Retry
from es_saga.core.reaction import Reaction
from es_saga.core.state import WorkStatus
from es_saga.participant import holds
from tests.participant import theatre


def confirms_each_hold_as_soon_as_it_is_held(patch: pytest.MonkeyPatch) -> None:
    real = vars(decide)["_go_forward"]

    def go_forward(reaction: Reaction) -> None:
        real(reaction)
        for name, step in reaction.definition.steps.items():
            held = reaction.state.steps.get(step.confirms or "")
            if held and held.do.status is WorkStatus.SUCCEEDED and name not in reaction.state.steps:
                reaction.begin(step)

    patch.setattr(decide, "_go_forward", go_forward)


def confirms_what_may_have_expired(patch: pytest.MonkeyPatch) -> None:
    def outlived(_: Reaction) -> None:
        return None

    patch.setattr(decide, "_outlived", outlived)


def gives_a_confirm_up_like_any_step(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tcc, "FOR_EVER", Retry(attempts=2))


def releases_what_was_confirmed(patch: pytest.MonkeyPatch) -> None:
    """It looks at the time alone."""
    real = vars(holds)["_is_open"]

    def is_open(found: holds.Holding, now: float, *, confirms: bool) -> bool:
        return not confirms or bool(real(found, now, confirms=confirms))

    patch.setattr(holds, "_is_open", is_open)
    patch.setattr(holds, "_OPEN", vars(holds)["_OPEN"].replace("status = 'held' AND ", ""))


def confirms_what_has_expired(patch: pytest.MonkeyPatch) -> None:
    real = vars(holds)["_is_open"]

    def is_open(found: holds.Holding, now: float, *, confirms: bool) -> bool:
        return confirms or bool(real(found, now, confirms=confirms))

    patch.setattr(holds, "_is_open", is_open)


def gives_back_what_is_still_reserved(patch: pytest.MonkeyPatch) -> None:
    """The seats come back, and stay reserved as well."""
    real = vars(theatre)["_move"]

    def move(tx: Any, source: str, target: str, n: int) -> int:
        if (source, target) == ("reserved", "available"):
            return int(tx.execute("UPDATE seats SET available = available + :n", {"n": n}))
        return int(real(tx, source, target, n))

    patch.setattr(theatre, "_move", move)

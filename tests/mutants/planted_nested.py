"""Mistakes with sagas that other sagas run."""

from __future__ import annotations

import pytest

from es_saga.core import replies
from es_saga.core.child import UNDONE
from es_saga.core.compiled import StepDefinition
from es_saga.core.inputs import Reply
from es_saga.core.reaction import Reaction
from es_saga.core.state import SagaState, Work


def completes_before_its_parent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SagaState, "bound", property(lambda _: False))


def lets_anybody_turn_back_what_is_held(patch: pytest.MonkeyPatch) -> None:
    real = Reaction.pivot_begun

    def pivot_begun(self: Reaction) -> bool:
        held, self.state = self.state, self.state._replace(held=False)
        begun = real(self)
        self.state = held
        return begun

    patch.setattr(Reaction, "pivot_begun", pivot_begun)


def is_cancelled_with_its_child(patch: pytest.MonkeyPatch) -> None:
    real = vars(replies)["_credit_do"]

    def credit_do(reaction: Reaction, reply: Reply, step: StepDefinition, work: Work) -> None:
        if reply.type == UNDONE and not reaction.state.backward:
            reaction.turn_back("its child is gone", None)
        real(reaction, reply, step, work)

    patch.setattr(replies, "_credit_do", credit_do)

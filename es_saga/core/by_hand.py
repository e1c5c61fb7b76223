"""The one escape: a saga whose events a function of yours decides, instead of our rules.

    from es_saga.core.decide import decide
    from es_saga.core.definition import Definition
    from es_saga.core.events import SagaEvent
    from es_saga.core.inputs import Input, Reply
    from es_saga.core.messages import Outcome

    def patient(
        definition: Definition, state: SagaState | None, input: Input, now: float
    ) -> Sequence[SagaEvent]:
        if isinstance(input, Reply) and input.type == "Busy":      # no refusal: try again
            input = input._replace(outcome=Outcome.FAILED)
        return decide(definition, state, input, now)

    order = Saga("order", PlaceOrder, decide=patient)

Its steps are written as ever: they say what is asked of whom, and for how long. What it decides is
folded by our `evolve`, which every view and replay uses too, so it has to be a history: events that
cannot follow each other are refused. It is called again on replay, and so must be pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from es_saga.core.aggregate import evolve, start
from es_saga.core.compiled import Definition
from es_saga.core.errors import CorruptHistory
from es_saga.core.events import SagaEvent, SagaStarted
from es_saga.core.inputs import FromParent, Heard, Input, Start
from es_saga.core.state import SagaState


class Decide(Protocol):
    """What happens next to a saga; None: one that does not exist yet."""

    def __call__(
        self, definition: Definition, state: SagaState | None, input: Input, now: float, /
    ) -> Sequence[SagaEvent]: ...


def decided(
    decide: Decide, definition: Definition, state: SagaState | None, input: Input, now: float
) -> tuple[list[SagaEvent], SagaState | None]:
    """The events that a function has decided on, and the state after them.

    Raises:
        CorruptHistory: they cannot follow what was before.
        Exception: whatever the function raises.
    """
    events = list(decide(definition.by_our_rules, state, input, now))
    for event in events:
        state = begun(input, event) if state is None else evolve(state, event)
    return events, state


def begun(input: Input, event: SagaEvent) -> SagaState:
    """The state after the first event of a saga."""
    if not isinstance(event, SagaStarted):
        raise CorruptHistory(f"{type(event).__name__} begins no saga.")
    match input:
        case Start() | Heard():
            return start(input.saga_id, event)
        case FromParent():
            return start(input.begin.saga_id, event)
        case _:
            raise CorruptHistory(f"{type(input).__name__} begins no saga.")

"""What can happen next: each wait ends alone or with all others, whatever the clocks say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from es_saga import IllegalOperation, Saga
from es_saga.core.decide import decide, react
from es_saga.core.inputs import Start
from es_saga.testing.examples import example
from es_saga.testing.exploration.bounds import Bounds
from es_saga.testing.exploration.moves import Move, Situation, moves, note_asked
from es_saga.testing.exploration.roles import answers_of, roles_of
from es_saga.testing.exploration.services import Services
from tests.core.fulfilment import fulfilment
from tests.testing import planted

NOON = 43_200.0


def _first_moves(saga: Saga[Any]) -> dict[str, Sequence[str]]:
    """What can happen to a saga that has just begun, and the events that it leads to."""
    definition = saga.definition
    data = example(definition.data)
    roles = roles_of(definition, data, answers_of(definition, {}), ())
    start = Start("s", data.model_dump(mode="json"), message_id="start")
    events, state = react(definition, None, start, NOON)
    asked = note_asked({}, events, state, roles)
    situation = Situation(state, Services(), NOON, asked)

    def told(move: Move) -> list[str]:
        if move.input is None:
            return []
        before = move.before
        try:
            led_to = decide(definition, before.saga, move.input, before.now)
        except IllegalOperation:
            return ["not possible"]
        return [
            f"{type(event).__name__} {getattr(event, 'step', None) or ''}".strip()
            for event in led_to
        ]

    return {move.what: told(move) for move in moves(situation, roles, Bounds())}


def test_branches_that_are_due_together_time_out_one_by_one_or_together() -> None:
    found = _first_moves(planted.side_by_side(2))
    assert found["no answer to reserve_0 (attempt 1) in time"] == ["StepTimedOut reserve_0"]
    assert found["no answer to reserve_1 (attempt 1) in time"] == ["StepTimedOut reserve_1"]
    assert found["everything that is waited for is due at once"] == [
        "StepTimedOut reserve_0",
        "StepTimedOut reserve_1",
    ]


def test_an_event_that_is_expected_may_not_come() -> None:
    found = _first_moves(fulfilment())
    assert (
        found["OrderCreated does not come in time (attempt 1)"][0] == "StepTimedOut order_created"
    )


@pytest.mark.requirement("R049")
def test_a_deadline_passes_alone_and_a_timeout_does_not_wait_for_it() -> None:
    """The deadline is after ten seconds, the timeout after thirty."""
    found = _first_moves(planted.with_deadline())
    assert found["the saga's deadline passes"] == ["DeadlineExceeded", "CompensationStarted"]
    assert found["no answer to reserve (attempt 1) in time"] == ["StepTimedOut reserve"]


def test_a_command_is_done_refused_or_fails_and_nobody_need_answer() -> None:
    found = _first_moves(planted.right())
    assert [what for what, events in found.items() if not events] == [
        "stock does reserve",
        "stock refuses reserve",
        "stock fails at reserve",
    ]


def test_an_operator_need_not_wait_until_it_is_stuck() -> None:
    found = _first_moves(planted.side_by_side(2))
    undone = found["the operator has the saga undone"]
    assert undone == ["OperatorCompensated", "CompensationStarted"]
    sent_again = found["the operator has reserve_1 sent again"]
    assert sent_again == ["OperatorResent reserve_1", "StepRetried reserve_1"]
    assert not [what for what in found if "go on at once" in what], "nothing waits yet"

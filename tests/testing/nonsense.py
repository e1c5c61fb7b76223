"""Stories that no saga ever had: any events in any order, with any effects and messages."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from es_saga.core.definition import Saga
from es_saga.core.events import EVENTS, OperatorCancelled, Parent, SagaEvent, SagaResumed
from es_saga.core.messages import Direction, Envelope, Outcome
from es_saga.testing.story import Effect, Story
from tests.core.journey import trip
from tests.core.sagas import beside, chain, with_pivot
from tests.testing.told import SAGA

_SAGAS: list[Saga[Any]] = [chain("a", "b"), with_pivot(), beside(), trip]
_HUGE = 10**400
"""No float is as large."""

_steps = st.sampled_from(["a", "b", "hold", "pay", "flight", "held", "car.2", "", "nobody"])
_numbers = st.floats() | st.sampled_from([0.0, 1.0, 2.0, math.inf, -math.inf, math.nan])
_counts = st.integers(-1, 3) | st.sampled_from([_HUGE, -_HUGE])
_texts = st.sampled_from(["", " ", "x", "s-1/a/do", "s-1/a/do/1/r", "s-1/a/undo-9/٣/r", "////r"])

_FIELDS: dict[str, st.SearchStrategy[object]] = {
    "at": _numbers,
    "attempt": _counts,
    "cause": st.none() | _texts,
    "close": st.booleans(),
    "back_to": st.none() | _steps,
    "command": st.just({}),
    "count": _counts,
    "data": st.just({}),
    "deadline": st.none() | _numbers,
    "definition": _counts,
    "direction": st.sampled_from(Direction),
    "due": _numbers,
    "expected": st.booleans(),
    "exceptions": st.lists(st.fixed_dictionaries({"step": _steps, "error": _texts}), max_size=2),
    "left": st.lists(_steps, max_size=2),
    "outcome": st.sampled_from(Outcome),
    "parent": st.none() | st.builds(Parent, command_id=_texts, undoable=st.booleans()),
    "past": st.lists(_steps, max_size=2),
    "refusal": st.just({}),
    "refused": st.booleans(),
    "reply": st.sampled_from([None, {}, {"by": math.nan}, {"by": (1, 2)}]),
    "retry_at": st.none() | _numbers,
    "save_point": _steps,
    "step": _steps,
    "way": _counts,
}
"""What a field may hold; all others hold texts."""


def _events(kind: type[SagaEvent]) -> st.SearchStrategy[SagaEvent]:
    fields = {name: _FIELDS.get(name, _texts) for name in kind.model_fields}
    if kind is OperatorCancelled:
        fields["refused"] = st.none() | _texts
    if kind is SagaResumed:
        fields["reply"] = st.just({})
    return st.builds(kind, **fields)


_effects = st.builds(
    Effect, st.sampled_from([SAGA, "s-2"]), _steps, st.sampled_from(Direction), _texts, _numbers
)
_messages = st.builds(
    Envelope,
    id=st.sampled_from(["m-1", "m-2"]),
    source=_texts,
    type=st.just("Do"),
    sagaid=st.just(SAGA),
    step=st.none() | _steps,
    commandid=st.none() | _texts,
    undoes=st.none() | _texts,
    attempt=_counts,
)

stories = st.builds(
    Story,
    st.sampled_from(_SAGAS).map(lambda saga: saga.definition),
    st.just(SAGA),
    st.lists(st.one_of([_events(kind) for kind in EVENTS.values()]), max_size=12),
    st.none() | st.lists(_effects, max_size=4),
    st.none() | st.lists(_messages, max_size=4),
)

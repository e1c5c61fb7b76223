"""Hypothesis strategies: messages out of their models, random definitions, and fault plans.

    @given(messages(PlaceOrder), fault_plans(order.definition))
    def test_nothing_is_charged_twice(data, plan): ...

What they draw shrinks: a failing plan ends as the fewest faults that still fail.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from annotated_types import BaseMetadata, GroupedMetadata, Predicate
from hypothesis import assume
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from es_saga.core.compiled import Definition
from es_saga.core.messages import Direction, command_id
from es_saga.core.nested import order_of
from es_saga.testing.faults import (
    DUPLICATE_WINDOW_SECONDS,
    MAX_MANAGERS,
    RELEASES,
    Fault,
    FaultPlan,
    Kind,
    Moment,
    may_doubt,
)
from es_saga.testing.kin import family
from es_saga.testing.plans import build, plans

M = TypeVar("M", bound=BaseModel)
Drawn = st.SearchStrategy[Any]

MAX_ITEMS: Final = 3
"""Items of a list, a set or a mapping in a message that is drawn."""

MAX_TROUBLES: Final = 6
"""Troubles of one drawn plan, at most."""

MAX_EVENTS: Final = 9
"""Faults strike at a saga's history up to this many events."""

MAX_RELEASE: Final = 4
"""Releases come while a saga's history has up to this many events."""

_TIMES: Final = st.sampled_from([1, 1, 1, 2, 3, 5])
_SECONDS: Final = st.sampled_from([0.02, 1.0, 20.0, DUPLICATE_WINDOW_SECONDS + 10, 400.0])
_BACKWARD: Final = st.sampled_from([-5.0, -3600.0])
_TEXT: Final = st.characters(exclude_categories=["Cs"])
"""All that UTF-8 can say. Asked for as UTF-8, its table takes a second, once in every project."""
_EITHER: Final = st.sampled_from(["", "/r"])


# ── messages ─────────────────────────────────────────────────────────────────────────────────────


def messages(model: type[M]) -> st.SearchStrategy[M]:
    """Values of a pydantic model: every field by its type and its constraints, defaults too.

    Examples, `sku: str = Field(examples=["teapot", "vase"])`, come often: participants know them.
    Half of all messages have the first example in every field that has any.

    What only a validator of the model's own knows is found by trial; a validator that refuses
    nearly everything needs a strategy of yours.
    """
    fields = {name: _field(field) for name, field in model.model_fields.items()}
    drawn: Drawn = st.fixed_dictionaries(fields)
    known = {
        name: st.just(field.examples[0])
        for name, field in model.model_fields.items()
        if field.examples
    }
    if known:
        drawn = st.fixed_dictionaries({**fields, **known}) | drawn
    return drawn.map(lambda values: _valid(model, values))


def _valid(model: type[M], drawn: dict[str, Any]) -> M:
    try:
        return model.model_validate(drawn)
    except ValidationError:
        assume(False)
        raise


def _field(field: FieldInfo) -> Drawn:
    found = _of_type(field.annotation, tuple(field.metadata))
    if field.examples:
        found = st.sampled_from(field.examples) | found
    if field.is_required():
        return found
    return st.just(field.get_default(call_default_factory=True, validated_data={})) | found


def _of_type(annotation: Any, constraints: tuple[Any, ...] = ()) -> Drawn:
    """Values of a type, models inside it included."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    model = _model(annotation)
    if model is not None:
        return st.deferred(lambda: messages(model))
    if origin is Annotated:
        return _of_type(arguments[0], (*arguments[1:], *constraints))
    if origin in (Union, types.UnionType):
        return st.one_of([_of_type(one, constraints) for one in arguments])
    if any(map(_model, arguments)):
        return _container(origin, arguments, constraints)
    return _plain(annotation, constraints)


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def _container(origin: Any, arguments: tuple[Any, ...], constraints: tuple[Any, ...]) -> Drawn:
    """Collections of models; what else they keep than their length is left to trial."""
    least, longest = _lengths(constraints)
    most = max(least, MAX_ITEMS)
    most = most if longest is None else min(most, longest)
    if origin is dict:
        keys, values = map(_of_type, arguments)
        return st.dictionaries(keys, values, min_size=least, max_size=most)
    if origin is tuple and arguments[-1] is not Ellipsis:
        found: Drawn = st.tuples(*map(_of_type, arguments))
        return found
    made: Callable[[list[Any]], Any] = origin
    return st.lists(_of_type(arguments[0]), min_size=least, max_size=most).map(made)


def _lengths(constraints: tuple[Any, ...]) -> tuple[int, int | None]:
    """The smallest and the largest that all of them allow."""
    least = [getattr(one, "min_length", None) or 0 for one in constraints]
    most = [getattr(one, "max_length", None) for one in constraints]
    return max(least, default=0), min((one for one in most if one is not None), default=None)


def _plain(annotation: Any, constraints: tuple[Any, ...]) -> Drawn:
    """Values of a type without models in it."""
    patterns = [one.pattern for one in constraints if getattr(one, "pattern", None)]
    if annotation is str and patterns:
        pattern: str = patterns[0]
        return st.from_regex(pattern)  # the lengths are left to trial
    if annotation is str:
        least, most = _lengths(constraints)
        return st.text(_TEXT, min_size=least, max_size=most)
    known = [one for one in constraints if isinstance(one, (BaseMetadata, GroupedMetadata))]
    if annotation is float:  # JSON has no infinity and no NaN
        known.append(Predicate(math.isfinite))
    wanted: Any = Annotated[annotation, *known] if known else annotation
    return st.from_type(wanted)


# ── definitions ──────────────────────────────────────────────────────────────────────────────────


def definitions() -> st.SearchStrategy[Definition]:
    """Sagas that can be run: up to seven steps as a graph, a pivot or none, checks, every policy.

    What makes them is in `es_saga.testing.plans`; a plan prints better than its definition.
    """
    return plans().map(lambda plan: build(plan).saga.definition)


# ── fault plans ──────────────────────────────────────────────────────────────────────────────────


def fault_plans(
    definition: Definition,
    saga_ids: Sequence[str] = ("saga-1",),
    *,
    earlier: Sequence[Definition] = (),
    most: int = MAX_TROUBLES,
) -> st.SearchStrategy[FaultPlan]:
    """What may befall these sagas of one type, and those that they run: up to `most` troubles, of
    every kind there is.

    A trouble is one fault, or the same one for several attempts of a command.

    Args:
        earlier: versions of the type that the sagas may begin on; newer ones are released, and
            withdrawn, while they run.
    """
    kin = [
        alike
        for one in (definition, *earlier)
        for alike in zip(*(family(saga_id, one) for saga_id in saga_ids), strict=True)
    ]
    of_each = [_troubles(alike[0][1], [saga_id for saga_id, _ in alike]) for alike in kin]
    steps = [step for alike in kin for step in alike[0][1].steps.values()]
    asking = [step.command for step in steps if step.wait is None and not order_of(step.command)]
    commands = sorted({command.__name__ for command in asking})
    scarcity = st.tuples(st.sampled_from(commands), st.integers(0, len(saga_ids)))
    # Made once and not for each plan: to make and validate them takes longer than to draw.
    return st.builds(
        _plan,
        st.lists(st.one_of(of_each), max_size=most),
        st.lists(_releases(saga_ids), max_size=len(earlier) + 1) if earlier else st.just([]),
        st.integers(0, 2**16),
        st.integers(1, MAX_MANAGERS),
        st.lists(scarcity, max_size=1) if len(saga_ids) > 1 else st.just([]),
    )


def _plan(
    troubles: Sequence[Sequence[Fault]],
    releases: Sequence[Fault],
    seed: int,
    managers: int,
    scarce: Sequence[tuple[str, int]],
) -> FaultPlan:
    faults = dict.fromkeys(fault for trouble in (*troubles, releases) for fault in trouble)
    return FaultPlan(tuple(faults), seed=seed, managers=managers, scarce=tuple(scarce))


def _troubles(
    definition: Definition, saga_ids: Sequence[str]
) -> st.SearchStrategy[Sequence[Fault]]:
    ids, steps = st.sampled_from(saga_ids), list(definition.steps.values())
    forward = st.sampled_from([(step.name, Direction.DO) for step in steps])
    undos = [(step.name, Direction.UNDO) for step in steps if step.undo is not None]
    work = st.one_of(forward, forward, st.sampled_from(undos)) if undos else forward
    keys = st.tuples(ids, work).map(lambda drawn: command_id(drawn[0], *drawn[1]))
    counts = st.tuples(ids, st.integers(1, MAX_EVENTS)).map(lambda drawn: f"{drawn[0]}#{drawn[1]}")
    stuck = ids.map(lambda saga_id: f"{saga_id}#stuck")
    kinds = _kinds_of(Moment.HANDLING)
    if not may_doubt(definition):
        kinds.remove(Kind.DIES_IN_DOUBT)
    handling = st.sampled_from(kinds)
    return st.one_of(
        st.builds(_on_attempts, st.just(Kind.REFUSED), keys),
        st.builds(_on_attempts, handling, keys, _TIMES, _SECONDS),
        st.builds(_on_attempts, _kinds(Moment.TRAVELLING), keys, _TIMES, _SECONDS),
        st.builds(_on_attempts, _kinds(Moment.TRAVELLING), keys, _TIMES, _SECONDS, st.just("/r")),
        st.builds(_on_attempts, _kinds(Moment.PUBLISHING), keys, st.just(1), _SECONDS, _EITHER),
        st.builds(_on_attempts, _kinds(Moment.SETTLING), keys, st.just(1), _SECONDS, _EITHER),
        st.builds(_one, _kinds(Moment.WRITING), counts, _SECONDS),
        *(
            st.builds(_one, _kinds(Moment.WRITTEN), counts, st.one_of(_SECONDS, _BACKWARD))
            for _ in range(2)  # it has a third of all kinds
        ),
        st.builds(_one, st.sampled_from([Kind.RETRIED, Kind.SKIPPED, Kind.RESOLVED]), stuck),
    )


def _releases(saga_ids: Sequence[str]) -> st.SearchStrategy[Fault]:
    """Early in a saga, so that others begin later."""
    places = st.builds("{}#{}".format, st.sampled_from(saga_ids), st.integers(1, MAX_RELEASE))
    return st.builds(Fault, st.sampled_from(RELEASES), places, _SECONDS)


def _kinds(moment: Moment) -> st.SearchStrategy[Kind]:
    return st.sampled_from(_kinds_of(moment))


def _kinds_of(moment: Moment) -> list[Kind]:
    return [kind for kind in Kind if kind.moment is moment and kind not in RELEASES]


def _on_attempts(
    kind: Kind, key: str, times: int = 1, seconds: float = 1.0, suffix: str = ""
) -> Sequence[Fault]:
    return [Fault(kind, f"{key}/{attempt}{suffix}", seconds) for attempt in range(1, times + 1)]


def _one(kind: Kind, at: str, seconds: float = 1.0) -> Sequence[Fault]:
    return [Fault(kind, at, max(0.0, seconds) if kind is not Kind.CLOCK_JUMPS else seconds)]

"""Random saga definitions that `verify` accepts: a plan that a person can read, and its saga."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain
from typing import Any

from hypothesis import strategies as st

from es_saga.core.after import START, After, Quorum
from es_saga.core.compiled import Join, OnNothing, OnUnknown, StepKind, UndoOrder
from es_saga.core.definition import Saga
from es_saga.core.messages import Command, Message
from es_saga.core.policy import OnFailedUndo, Retry
from es_saga.core.step import Step, of

MAX_STEPS = 7
MAX_LIST = 3


class Go(Message):
    n: int = 0


class Done(Message):
    step: str


class Do(Command[Done]):
    to = "service"
    step: str
    seen: tuple[str, ...]


class Undo(Command[None]):
    to = "service"
    step: str
    knew: bool


class Broken(Exception):
    """A step function with a bug."""


@dataclass(frozen=True)
class StepPlan:
    name: str
    kind: StepKind
    after: tuple[str, ...] | None
    reads: tuple[str, ...] = ()
    timeout: int = 5
    retry: Retry | None = None
    on_unknown: OnUnknown = "undo"
    undo_retry: Retry | None = None
    undo_takes_reply: bool = True
    when: bool | None = None
    """It has a condition, which holds or does not."""
    goes_on: bool = False
    """Of a wait."""
    join: Join | None = None
    ways: int | None = None
    """It is a save-point."""
    each: int | None = None
    """It goes over a list of that many items."""


@dataclass(frozen=True)
class Plan:
    steps: tuple[StepPlan, ...]
    on_failed_undo: OnFailedUndo = OnFailedUndo.ESCALATE
    undo_order: UndoOrder = "reverse"
    deadline: int | None = None
    broken: frozenset[str] = frozenset()
    """Step functions (`a`) and undo functions (`a/undo`) that raise until they are mended."""


@dataclass
class Built:
    plan: Plan
    saga: Saga[Go]
    broken: set[str] = field(default_factory=set[str])

    @property
    def absent(self) -> dict[str, bool]:
        """By step: whether the saga may go on without its reply."""
        members = {name for step in self.plan.steps if step.join for name in step.after or ()}
        return {
            step.name: step.when is not None or step.goes_on or step.name in members
            for step in self.plan.steps
        }

    def reply_of(self, name: str) -> object:
        """What those are given who read a step's reply."""
        early = any(step.join and not step.join.all_settled for step in self.plan.steps)
        if any(step.name == name and step.each is not None for step in self.plan.steps):
            return list[Done] | None if early else list[Done]
        return Done | None if early or self.absent[name] else Done


def build(plan: Plan) -> Built:
    """The saga of a plan. Mend its functions by taking them out of `broken`."""
    deadline = None if plan.deadline is None else timedelta(seconds=plan.deadline)
    saga = Saga(
        "random",
        Go,
        deadline=deadline,
        on_failed_undo=plan.on_failed_undo,
        undo_order=plan.undo_order,
    )
    built = Built(plan, saga, set(plan.broken))
    steps: dict[str, Step[Go, ..., Do]] = {}
    for planned in plan.steps:
        steps[planned.name] = _add(built, planned, steps)
    return built


def _add(built: Built, planned: StepPlan, steps: dict[str, Step[Go, ..., Do]]) -> Step[Go, ..., Do]:
    name, saga = planned.name, built.saga
    after: After = START if planned.after == () else planned.after
    if planned.join is not None:
        after = Quorum(planned.after or (), planned.join)
    timeout = timedelta(seconds=planned.timeout)

    def holds(_data: Go) -> bool:
        return bool(planned.when)

    when = None if planned.when is None else holds
    if planned.ways is not None:
        point: Any = saga.save_point(name, ways=planned.ways, after=after)
        save_point: Step[Go, ..., Do] = point  # nobody reads its reply here
        return save_point
    if planned.kind is StepKind.WAIT:
        heard = type(f"Heard{name.upper()}", (Done,), {"__module__": __name__})
        on_timeout: OnNothing = "go-on" if planned.goes_on else "undo"
        waiting: Any = saga.wait(
            heard, timeout=timeout, on_timeout=on_timeout, name=name, after=after, when=when
        )
        step: Step[Go, ..., Do] = waiting  # its reply is a Done, as all of them
        return step

    def do(data: Go, /, *_item: int, **known: Done | list[Done] | None) -> Do:
        if name in built.broken:
            raise Broken(name)
        told = (one if isinstance(one, list) else [one] for one in known.values() if one)
        return Do(step=name, seen=tuple(done.step for done in chain.from_iterable(told)))

    def items(_data: Go) -> list[int]:
        return list(range(planned.each or 0))

    def undo(data: Go, *_item: int, done: Done | None = None) -> Undo:
        if f"{name}/undo" in built.broken:
            raise Broken(name)
        return Undo(step=name, knew=done is not None)

    do.__name__ = name
    hints: dict[str, object] = {"data": Go, "return": Do}
    parameters = [inspect.Parameter("data", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    if planned.each is not None:
        parameters.append(inspect.Parameter("item", inspect.Parameter.POSITIONAL_OR_KEYWORD))
    given = [*parameters]
    for other in planned.reads:
        parameter = f"from_{other}"
        reply = of(steps[other])
        parameters.append(
            inspect.Parameter(parameter, inspect.Parameter.KEYWORD_ONLY, default=reply)
        )
        hints[parameter] = built.reply_of(other)
    do.__annotations__ = hints
    do.__dict__["__signature__"] = inspect.Signature(parameters)

    options: dict[str, Any] = {"after": after, "timeout": timeout, "retry": planned.retry}
    options |= {"when": when} if when else {}
    if planned.each is not None:
        options |= {"each": items, "most": MAX_LIST, "at_once": 2}
    make: Any = saga.check if planned.kind is StepKind.CHECK else saga.step
    if planned.kind is StepKind.PIVOT:
        return saga.pivot(after=after, timeout=timeout, retry=planned.retry)(do)
    if planned.kind is not StepKind.CHECK:
        options["on_unknown"] = planned.on_unknown
    made: Step[Go, ..., Do] = make(**options)(do)
    if planned.kind is StepKind.COMPENSATABLE:
        done: object = Done if planned.on_unknown == "stuck" else Done | None
        undo.__annotations__ = {"data": Go, "done": done, "return": Undo}
        if planned.undo_takes_reply:
            given.append(inspect.Parameter("done", inspect.Parameter.KEYWORD_ONLY))
        undo.__dict__["__signature__"] = inspect.Signature(given)
        made.compensation(retry=planned.undo_retry)(undo)
    return made


# ── strategies ───────────────────────────────────────────────────────────────────────────────────

retries = st.none() | st.builds(
    Retry,
    first=st.integers(1, 8).map(lambda s: timedelta(seconds=s)),
    maximum=st.integers(8, 20).map(lambda s: timedelta(seconds=s)),
    coefficient=st.sampled_from([1.0, 1.5, 3.0]),
    attempts=st.sampled_from([1, 1, 2, 3, None]),
    jitter=st.sampled_from([0.0, 0.3]),
    never=st.sampled_from([(), ("Fatal",)]),
)


_LEAST_AROUND_A_POINT = 4
"""One before it, itself, and two after it: one to be undone when the other is refused."""

_UNDO_ORDERS: st.SearchStrategy[UndoOrder] = st.sampled_from(
    ("reverse", "reverse", "reverse", "parallel")
)
_UNDO_ORDERS_AROUND_A_POINT: st.SearchStrategy[UndoOrder] = st.sampled_from(("reverse", "parallel"))
"""Side by side, nothing but the save-point says which undos are not due."""

_LISTS = st.sampled_from([None] * 7 + [0, 1, MAX_LIST])


@st.composite
def plans(draw: st.DrawFn, *, most: int = MAX_STEPS, resumable: bool = False) -> Plan:
    """Some steps as a DAG, with a pivot or without, everything joined before or after it.

    A `resumable` one has a save-point with a step before it and some after it, which few have by
    chance.
    """
    large = st.integers(_LEAST_AROUND_A_POINT if resumable else 3, most)
    names = [
        chr(ord("a") + index)
        for index in range(draw(large if resumable else st.integers(1, 3) | large))
    ]
    first = _LEAST_AROUND_A_POINT - 1 if resumable else 0
    pivot = draw(st.none() | st.integers(first, len(names) - 1))
    last = len(names) - 2 if pivot is None else pivot - 1
    point = draw(_points(last, resumable=resumable))
    steps: list[StepPlan] = []
    ancestors: dict[str, set[str]] = {}
    after: tuple[str, ...] | None
    for index, name in enumerate(names):
        gates = [gate for gate in (point, pivot) if gate is not None and gate < index]
        side = names[max(gates, default=0) : index]
        if index == point:
            steps.append(_save_point(draw, name, tuple(names[:index])))
            ancestors[name] = set(names[:index])
            continue
        if index == pivot:
            kind, after = StepKind.PIVOT, tuple(names[:index])
        else:
            after_pivot = pivot is not None and index > pivot
            least = min(len(gates), 1)
            kind, after = _kind_and_after(draw, side, least, after_pivot=after_pivot)
        known = (names[index - 1],) if after is None and index else after or ()
        ancestors[name] = set(known).union(*(ancestors[other] for other in known))
        steps.append(
            StepPlan(
                name,
                kind,
                after,
                reads=_reads(draw, ancestors[name], names, point),
                timeout=draw(st.integers(1, 9)),
                retry=draw(retries),
                on_unknown=draw(st.sampled_from(["undo", "undo", "stuck"]))
                if kind is StepKind.COMPENSATABLE
                else "undo",
                undo_retry=draw(retries),
                undo_takes_reply=draw(st.booleans()),
                when=None
                if index == pivot
                else draw(st.sampled_from([None, None, None, False, True])),
                goes_on=kind is StepKind.WAIT and draw(st.booleans()),
                each=draw(_LISTS) if kind not in (StepKind.PIVOT, StepKind.WAIT) else None,
            )
        )
    functions = [*names, *(f"{name}/undo" for name in names)]
    return Plan(
        tuple(_with_joins(draw, steps)),
        on_failed_undo=draw(st.sampled_from(OnFailedUndo)),
        undo_order=draw(_UNDO_ORDERS if point is None else _UNDO_ORDERS_AROUND_A_POINT),
        deadline=draw(st.none() | st.none() | st.integers(1, 40)),
        broken=draw(
            st.just(frozenset[str]())
            | st.just(frozenset[str]())
            | st.frozensets(st.sampled_from(functions), max_size=2)
        ),
    )


def _with_joins(draw: st.DrawFn, steps: list[StepPlan]) -> Iterator[StepPlan]:
    """Some steps need a quorum only, where nobody else needs its members."""
    taken: list[str] = []
    for before, step in zip([None, *steps], steps, strict=False):
        default = (before.name,) if before else ()
        taken += default if step.after is None else step.after
    early = True
    lists = {step.name for step in steps if step.each is not None or step.ways is not None}
    for step in steps:
        own = step.after or ()
        free = early and all(taken.count(name) == 1 and name not in lists for name in own)
        early = early and step.kind is not StepKind.PIVOT
        if own and free and draw(st.sampled_from([False, False, True])):
            step = replace(step, join=Join(draw(st.integers(1, len(own))), draw(st.booleans())))
        yield step


def _points(last: int, *, resumable: bool) -> st.SearchStrategy[int | None]:
    """Where the save-point is, if there is one."""
    if resumable:
        return st.integers(1, last - 1)
    return st.none() | st.none() | st.integers(0, last) if last >= 0 else st.none()


def _save_point(draw: st.DrawFn, name: str, after: tuple[str, ...]) -> StepPlan:
    return StepPlan(name, StepKind.WAIT, after, ways=draw(st.integers(2, 3)))


def _reads(
    draw: st.DrawFn, before: set[str], names: list[str], point: int | None
) -> tuple[str, ...]:
    """Whose replies it takes: all but a save-point's are of one type here."""
    known = sorted(before - {names[point]} if point is not None else before)
    return tuple(sorted(draw(st.sets(st.sampled_from(known))))) if known else ()


def _kind_and_after(
    draw: st.DrawFn, side: list[str], least: int, *, after_pivot: bool
) -> tuple[StepKind, tuple[str, ...] | None]:
    changing = StepKind.RETRIABLE if after_pivot else StepKind.COMPENSATABLE
    other = st.sampled_from([StepKind.CHECK, StepKind.CHECK, StepKind.WAIT])
    kind = draw(st.sampled_from([changing, changing, changing, None])) or draw(other)
    some = st.sets(st.sampled_from(side), min_size=least) if side else st.just(set[str]())
    after = draw(st.none() | some.map(lambda names: tuple(sorted(names))))
    return kind, after

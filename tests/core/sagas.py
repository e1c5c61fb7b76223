"""The sagas that the scenes play: steps `a`, `b`, `c` … that answer `Done` and are undone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from es_saga.core.after import START, Quorum
from es_saga.core.compiled import OnUnknown
from es_saga.core.definition import Saga
from es_saga.core.messages import Command, Message
from es_saga.core.policy import OnFailedUndo, Retry
from es_saga.core.step import Step

ONCE = Retry(attempts=1)
TWICE = Retry(attempts=2, first=timedelta(seconds=2), jitter=0)


class Trip(Message):
    who: str = "ann"


class Done(Message):
    by: str


class Do(Command[Done]):
    to = "desk"
    step: str
    who: str


class Undo(Command[None]):
    to = "desk"
    step: str
    by: str | None


AnyStep = Step[Trip, ..., Do]


def do(name: str) -> Callable[[Trip], Do]:
    """The function of a step of this name."""

    def build(trip: Trip) -> Do:
        return Do(step=name, who=trip.who)

    build.__name__ = name
    return build


def undo(name: str) -> Callable[[Trip, Done | None], Undo]:
    """Its undo, which can do without the reply."""

    def build(trip: Trip, done: Done | None) -> Undo:
        return Undo(step=name, by=done.by if done else None)

    build.__name__ = f"undo_{name}"
    return build


def add(
    saga: Saga[Trip],
    name: str,
    *,
    after: tuple[str, ...] | Quorum | None = None,
    retry: Retry | None = None,
    undo_retry: Retry | None = None,
    on_unknown: OnUnknown = "undo",
) -> AnyStep:
    """A compensatable step."""
    edge = START if after == () else after
    step = saga.step(after=edge, retry=retry, on_unknown=on_unknown)(do(name))
    step.compensation(retry=undo_retry)(undo(name))
    return step


def chain(
    *names: str,
    retry: Retry | None = None,
    undo_retry: Retry | None = None,
    on_failed_undo: OnFailedUndo = OnFailedUndo.ESCALATE,
    deadline: timedelta | None = None,
) -> Saga[Trip]:
    """Steps one after the other, all of them compensatable."""
    saga = Saga("trip", Trip, on_failed_undo=on_failed_undo, deadline=deadline)
    for name in names:
        add(saga, name, retry=retry, undo_retry=undo_retry)
    return saga


def with_pivot(
    *,
    retry: Retry | None = None,
    after_retry: Retry | None = None,
    deadline: timedelta | None = None,
) -> Saga[Trip]:
    """`hold`, then the pivot `pay`, then `ticket` and `mail`, which are retried until done."""
    saga = Saga("trip", Trip, deadline=deadline)
    add(saga, "hold", retry=retry)
    saga.pivot(retry=retry)(do("pay"))
    saga.step(retry=after_retry)(do("ticket"))
    saga.step(retry=after_retry)(do("mail"))
    return saga


def beside() -> Saga[Trip]:
    """`flight`, `room` and `car` beside each other; then `pay`, which can be undone too."""
    saga = Saga("trip", Trip)
    for name in ("flight", "room", "car"):
        add(saga, name, after=(), retry=ONCE)
    add(saga, "pay", after=("flight", "room", "car"))
    return saga

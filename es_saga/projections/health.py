"""How the sagas are doing: how many of what, minute by minute, and how long things take.

A projection that follows behind: counts a type and minute, counts and durations a step and hour.
Durations are kept as histograms whose buckets grow by GROWTH, so that any quantile of any span of
time can be told, no more than QUANTILE_ERROR off. All rows are only ever added to; there is one for
each minute and hour in which something happened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa

from es_saga.core.aggregate import SagaState
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    DeadlineExceeded,
    LateReplyNoted,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaStarted,
    SagaStuck,
    StepFailed,
    StepRefused,
    StepRetried,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.messages import Direction, as_written
from es_saga.engine.ports import Recorded
from es_saga.projections.changes import Add, Change
from es_saga.projections.projection import projection

MINUTE: Final = 60
HOUR: Final = 3_600

GROWTH: Final = 1.1
"""Each bucket of a histogram ends that much later than the one before."""

QUANTILE_ERROR: Final = math.sqrt(GROWTH) - 1
"""How far a quantile may be off, as a fraction: the half of a bucket; 4.9 %."""

LEAST_SECONDS: Final = 0.0001
"""Shorter durations count as that long."""

_metadata = sa.MetaData()


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in names]


SAGA_COUNTS: Final = (
    "started",
    "completed",
    "compensated",
    "excepted",
    "turned",
    "stuck",
    "overdue",
    "late",
)
"""Begun; closed as completed, compensated, compensated with exceptions; turned back for good, got
stuck, went over their deadline, answered too late: so many times. Who goes back to a save-point
may go on from there, and is not counted."""

STEP_COUNTS: Final = ("sent", "succeeded", "refused", "failed", "timed_out")

MINUTES: Final = sa.Table(
    "es_health",
    _metadata,
    sa.Column("type", sa.Text, primary_key=True),
    sa.Column(
        "minute",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="its beginning, seconds since the epoch",
    ),
    *_counts(*SAGA_COUNTS),
)
TOTALS: Final = sa.Table(
    "es_health_totals",
    _metadata,
    sa.Column("type", sa.Text, primary_key=True),
    *_counts(*SAGA_COUNTS),
)
STEPS: Final = sa.Table(
    "es_health_steps",
    _metadata,
    sa.Column("type", sa.Text, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("direction", sa.Text, primary_key=True, comment="do or undo"),
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    *_counts(*STEP_COUNTS),
)
SERVICES: Final = sa.Table(
    "es_health_services",
    _metadata,
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("direction", sa.Text, primary_key=True),
    sa.Column("command", sa.Text, primary_key=True),
    *_counts("sent"),
)
"""Who is asked for what: every command that was ever sent the first time."""
SPANS: Final = sa.Table(
    "es_health_spans",
    _metadata,
    sa.Column("type", sa.Text, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True, comment="empty: the whole saga"),
    sa.Column("what", sa.Text, primary_key=True, comment="do, undo, completed, compensated"),
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column(
        "bucket",
        sa.Integer,
        primary_key=True,
        autoincrement=False,
        comment="durations up to 1.1 to the power of it, in seconds",
    ),
    *_counts("n"),
)


@projection(MINUTES, TOTALS, STEPS, SERVICES, SPANS, name="health")
def health(recorded: Recorded, saga: SagaState) -> Iterator[Change]:
    """What one event adds to the counts and histograms."""
    event = recorded.event
    rule = _RULES.get(type(event))
    if rule is not None:
        yield from rule(event, saga)


def bucket_of(seconds: float) -> int:
    """The bucket of a duration.

    >>> [bucket_of(seconds) for seconds in (0.0, 1.0, 1.1, 1.11, 100.0)]
    [-96, 0, 1, 2, 49]
    """
    return math.ceil(math.log(max(seconds, LEAST_SECONDS), GROWTH) - 1e-9)


def quantile(buckets: Mapping[int, int], fraction: float) -> float | None:
    """The duration that so large a fraction does not exceed, in seconds; None: there are none.

    >>> quantile({bucket_of(2.0): 99, bucket_of(60.0): 1}, 0.5) / 2.0 - 1 < QUANTILE_ERROR
    True
    """
    total = sum(buckets.values())
    wanted = fraction * total
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen and seen >= wanted:
            return float(GROWTH ** (bucket - 0.5))
    return None


Rule = Callable[[Any, SagaState], Iterator[Change]]
_RULES: Final[dict[type[SagaEvent], Rule]] = {}


def _on(*events: type[SagaEvent]) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(events, rule))
        return rule

    return register


def _saga(saga: SagaState, event: SagaEvent, count: str) -> Iterator[Change]:
    saga_type = saga.origin.saga_type
    minute = int(event.at // MINUTE) * MINUTE
    yield Add(MINUTES, type=saga_type, minute=minute, **{count: 1})
    yield Add(TOTALS, type=saga_type, **{count: 1})


def _step(saga: SagaState, event: Any, direction: Direction, count: str) -> Change:
    return Add(
        STEPS,
        type=saga.origin.saga_type,
        step=as_written(event.step),
        direction=direction.value,
        hour=_hour(event),
        **{count: 1},
    )


def _span(saga: SagaState, event: SagaEvent, step: str, what: str, seconds: float) -> Change:
    return Add(
        SPANS,
        type=saga.origin.saga_type,
        step=as_written(step),
        what=what,
        hour=_hour(event),
        bucket=bucket_of(seconds),
        n=1,
    )


def _hour(event: SagaEvent) -> int:
    return int(event.at // HOUR) * HOUR


_COUNTED: Final[Mapping[type[SagaEvent], str]] = {
    SagaStarted: "started",
    SagaStuck: "stuck",
    DeadlineExceeded: "overdue",
    LateReplyNoted: "late",
}


@_on(*_COUNTED)
def _counted(event: SagaEvent, saga: SagaState) -> Iterator[Change]:
    yield from _saga(saga, event, _COUNTED[type(event)])


@_on(CompensationStarted)
def _turned(event: CompensationStarted, saga: SagaState) -> Iterator[Change]:
    if event.back_to is None:
        yield from _saga(saga, event, "turned")


@_on(SagaCompleted, SagaCompensated)
def _closed(event: SagaCompleted | SagaCompensated, saga: SagaState) -> Iterator[Change]:
    what = "completed"
    if isinstance(event, SagaCompensated):
        what = "compensated"
    excepted = isinstance(event, SagaCompensated) and event.exceptions
    yield from _saga(saga, event, "excepted" if excepted else what)
    yield _span(saga, event, "", what, event.at - saga.origin.started)


@_on(StepStarted, CompensationIssued)
def _sent(event: StepStarted | CompensationIssued, saga: SagaState) -> Iterator[Change]:
    direction = Direction.DO if isinstance(event, StepStarted) else Direction.UNDO
    yield _step(saga, event, direction, "sent")
    if event.attempt == 1:
        yield Add(
            SERVICES,
            service=event.to,
            type=saga.origin.saga_type,
            step=as_written(event.step),
            direction=direction.value,
            command=event.command_type,
            sent=1,
        )


@_on(StepRetried)
def _sent_again(event: StepRetried, saga: SagaState) -> Iterator[Change]:
    yield _step(saga, event, Direction.DO, "sent")


@_on(StepSucceeded)
def _done(event: StepSucceeded, saga: SagaState) -> Iterator[Change]:
    yield _step(saga, event, Direction.DO, "succeeded")
    began = saga.steps[event.step].do.started
    yield _span(saga, event, event.step, Direction.DO.value, event.at - began)


@_on(CompensationSucceeded)
def _undone(event: CompensationSucceeded, saga: SagaState) -> Iterator[Change]:
    yield _step(saga, event, Direction.UNDO, "succeeded")
    undo = saga.steps[event.step].undo
    assert undo is not None, "it was issued"
    yield _span(saga, event, event.step, Direction.UNDO.value, event.at - undo.started)


@_on(StepRefused)
def _refused(event: StepRefused, saga: SagaState) -> Iterator[Change]:
    yield _step(saga, event, Direction.DO, "refused")


@_on(StepFailed)
def _failed(event: StepFailed, saga: SagaState) -> Iterator[Change]:
    yield _step(saga, event, Direction.DO, "failed")


@_on(StepTimedOut)
def _timed_out(event: StepTimedOut, saga: SagaState) -> Iterator[Change]:
    yield _step(saga, event, Direction.DO, "timed_out")


@_on(CompensationFailed)
def _not_undone(event: CompensationFailed, saga: SagaState) -> Iterator[Change]:
    count = "refused" if event.refused else "failed"
    if event.cause is None and not event.refused:
        count = "timed_out"  # nobody said so
    yield _step(saga, event, Direction.UNDO, count)

"""Undos that fail, and operators (laws L30 to L37)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from es_saga.core.events import (
    CompensationFailed,
    OperatorResent,
    OperatorRetried,
    OperatorSkipped,
    SagaCompensated,
    StepFailed,
    StepTimedOut,
)
from es_saga.core.messages import Direction
from es_saga.core.policy import OnFailedUndo, Retry
from es_saga.core.state import GIVEN_UP, WorkStatus
from es_saga.testing.laws.deed import DONE, OPEN, SLACK, Deed, by_timer
from es_saga.testing.laws.law import (
    Found,
    asked,
    asked_again,
    compensated,
    law,
    operated,
    stuck,
    undone,
)
from es_saga.testing.laws.reading import Reading

_MAX_EXPONENT = 64
"""Where waits stop growing at the latest: the coefficient to this power is still a float."""


@law("L30", compensated)
def an_open_undo_is_never_hidden(reading: Reading) -> Iterator[Found]:
    """A saga with a failed, waived or pending undo says so when it is closed (D09, D17)."""
    index, end = reading.ends[0]
    assert isinstance(end, SagaCompensated), "the law applies to what was compensated"
    named = {exception.step for exception in end.exceptions}
    owed = {
        name: deed.status(index)
        for name, deed in reading.undo.items()
        if reading.owed(name, index) and deed.status(index) is not WorkStatus.SUCCEEDED
    }
    for name, status in owed.items():
        if name not in named:
            how = status or "never issued"
            yield index, f"it was closed as compensated, and the undo of {name} was {how}"
    for exception in end.exceptions:
        if exception.step not in owed:
            what = f"the undo of {exception.step} stands among the exceptions"
            yield index, f"{what}, and nothing is owed"


@law("L31", asked)
def waits_follow_the_policy(reading: Reading) -> Iterator[Found]:
    """Retries of a command follow the policy, with non-decreasing waits and a bounded rate (ES).

    A participant that failed may ask for a longer wait, so only timeouts have a longest one. An
    operator may have one more attempt made, by a retry or a resend, and may have one made before
    its time (law L49); what was to be waited stands in the log all the same.
    """
    for deed in reading.deeds:
        work = deed.step.undo if deed.undo else deed.step
        if work is None:
            continue
        policy, asked = work.retry, _asked_for(reading, deed)
        for index, sent in deed.sendings:
            if policy.attempts is not None and sent.attempt > policy.attempts + asked:
                allowed = f"{policy.attempts} are allowed"
                yield index, f"attempt {sent.attempt} of {deed.name}, where {allowed}"
        yield from _waits(deed, policy)


def _asked_for(reading: Reading, deed: Deed) -> int:
    """Attempts that operators may have added."""
    undo = Direction.UNDO if deed.undo else Direction.DO
    return sum(
        isinstance(event, OperatorRetried)
        or (
            isinstance(event, OperatorResent)
            and (event.step, event.direction) == (deed.step.name, undo)
        )
        for _, event in reading.operators
    )


def _waits(deed: Deed, policy: Retry) -> Iterator[Found]:
    commands = {sent.attempt: sent.command_id for _, sent in deed.sendings}
    longest: defaultdict[str | None, float] = defaultdict(float)
    """By command: one that an operator has begun anew waits by itself."""
    for index, event in deed.answers:
        if not isinstance(event, StepFailed | StepTimedOut | CompensationFailed):
            continue
        if event.retry_at is None:
            continue
        wait, least = event.retry_at - event.at, _least_wait(policy, event.attempt)
        if not isinstance(event, StepTimedOut) and event.error in policy.never:
            yield index, f"{deed.name} is sent again after {event.error}, which is final"
        most = least * (1 + policy.jitter) if by_timer(event) else math.inf
        if not least - SLACK <= wait <= most + SLACK:
            yield index, f"{deed.name} waits {wait:g} s, and its policy says {least:g} s"
        if not by_timer(event):
            continue
        command = commands.get(event.attempt)
        if wait < longest[command] - SLACK:
            before = f"before that it was {longest[command]:g} s"
            yield index, f"{deed.name} waits {wait:g} s, and {before}"
        longest[command] = max(longest[command], wait)


def _least_wait(policy: Retry, attempt: int) -> float:
    """The wait after this attempt, in seconds, without jitter."""
    exponent = max(0, min(attempt - 1, _MAX_EXPONENT))
    grown = policy.first.total_seconds() * policy.coefficient**exponent
    return min(grown, policy.maximum.total_seconds())


@law("L32", undone)
def a_spent_undo_needs_a_human_or_is_reported(reading: Reading) -> Iterator[Found]:
    """An undo that exhausts its policy ends in a visible needs-human state (GS87, R040)."""
    waived = {e.step for _, e in reading.operators if isinstance(e, OperatorSkipped)}
    policy = reading.definition.on_failed_undo
    if isinstance(end := reading.end, SagaCompensated):
        for exception in end.exceptions if policy is not OnFailedUndo.REPORT else ():
            if exception.step not in waived:
                what = f"the undo of {exception.step} had failed"
                yield reading.closed, f"{what}, and it was closed without a human"
        return
    if reading.stuck_before(reading.length):
        return
    others = any(deed.last in OPEN for deed in reading.deeds)
    for deed in reading.undo.values():
        given_up = deed.last in (WorkStatus.FAILED, WorkStatus.REFUSED)
        if given_up and (policy is OnFailedUndo.HALT or not others):
            yield deed.marks[-1].event, f"{deed.name} was given up, and no human was called"


@law("L33", stuck)
def a_human_is_called_once(reading: Reading) -> Iterator[Found]:
    """Each needs-human state opens exactly one alert and its resolution closes it (R040, R082)."""
    for index, event in reading.alarms:
        if reading.stuck_before(index):
            yield index, "it was stuck already, and nobody had done anything about it"
        if not event.why.strip() or not event.step:
            yield index, "it does not say why or where it is stuck"
    for index, end in reading.ends:
        if reading.stuck_before(index):
            yield index, f"{type(end).__name__} while it was stuck"


@law("L34", asked)
def interventions_are_events_with_actor_and_reason(reading: Reading) -> Iterator[Found]:
    """Operator retry, skip, force and re-drive are events with actor, time, reason (ES).

    So nothing that was given up is sent again, and nothing new begins while it is stuck, without
    such an event.
    """
    for index, event in reading.operators:
        if not event.actor.strip() or not event.reason.strip():
            yield index, f"{type(event).__name__} does not say who and why"
    for index, _, deed in reading.sendings:
        if deed.status(index) in GIVEN_UP:
            yield index, f"{deed.name} had been given up, and nobody asked for another attempt"
        elif index == deed.begun and reading.stuck_before(index):
            yield index, f"{deed.name} was sent while it was stuck"


@law("L35", asked_again)
def what_was_done_is_not_asked_for_again(reading: Reading) -> Iterator[Found]:
    """Operator retry never re-dispatches steps that already succeeded (ES)."""
    for index, _, deed in reading.sendings:
        if deed.status(index) in DONE:
            yield index, f"{deed.name} was sent again, and it was {deed.status(index)}"


@law("L36", operated)
def only_a_stuck_saga_is_retried(reading: Reading) -> Iterator[Found]:
    """Retry of a running, compensating or completed saga is refused (ES)."""
    for index, event in reading.operators:
        if isinstance(event, OperatorRetried) and not reading.stuck_before(index):
            yield index, "it was retried while it was going on by itself"


@law("L37", undone)
def one_failed_undo_does_not_lose_the_others(reading: Reading) -> Iterator[Found]:
    """One failed undo does not lose the record or the attempt of the others (R037, R038, R039).

    Policies A and C undo the rest before they end; B begins no other before a human came.
    """
    if reading.definition.on_failed_undo is OnFailedUndo.HALT:
        for index, deed in reading.first_undos:
            for failed in reading.undo.values():
                if failed.status(index) in (WorkStatus.FAILED, WorkStatus.REFUSED):
                    yield index, f"{deed.name} was issued after {failed.name} had failed"
        return
    for index in _stops(reading):
        for name, deed in reading.undo.items():
            if not reading.takes_back(name, index):
                continue
            status = deed.status(index)
            if reading.owed(name, index) and (status is None or status in OPEN):
                yield index, f"it stopped, and {deed.name} was {status or 'never issued'}"


def _stops(reading: Reading) -> Iterator[int]:
    """Where it was closed, or called a human for an undo that had failed."""
    for index, end in reading.ends:
        if isinstance(end, SagaCompensated):
            yield index
    for index, event in reading.alarms:
        deed = reading.undo.get(event.step or "")
        if deed is not None and deed.status(index) in (WorkStatus.FAILED, WorkStatus.REFUSED):
            yield index

"""The shape of a saga: all or nothing, in order, once (laws L01 to L10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from es_saga.core.events import LateReplyNoted, SagaCompensated, SagaCompleted
from es_saga.core.messages import Direction
from es_saga.core.state import WorkStatus
from es_saga.testing.laws.deed import DONE
from es_saga.testing.laws.law import (
    Found,
    answered,
    asked,
    closed,
    compensated,
    completed,
    effects_seen,
    law,
    turned_back,
    undone,
)
from es_saga.testing.laws.reading import Reading


@law("L01", closed, effects_seen)
def effects_are_all_or_none(reading: Reading) -> Iterator[Found]:
    """A closed saga's applied effects are T1…Tn, or T1…Tj followed by Cj…C1 (GS87).

    In a graph the order is that of its edges. What a human settled by hand, and undos that the
    saga says it owes, are not counted.
    """
    done = isinstance(reading.end, SagaCompleted)
    for name in reading.changing:
        deed = reading.do[name]
        wanted = int(done and deed.last is not WorkStatus.SKIPPED and not deed.step.past)
        if (net := reading.net(name)) != wanted:
            how = "completed" if done else "undone"
            yield None, f"it was {how}, and the net effect of {name} is {net}, not {wanted}"
    yield from _disorder(reading)


def _disorder(reading: Reading) -> Iterator[Found]:
    """Effects that overtook what they depend on."""
    order = {
        (name, direction): [n for n, _ in reading.effects_of(name, direction)]
        for name in reading.changing
        for direction in Direction
    }
    for name in reading.changing:
        do, undo = order[name, Direction.DO], order[name, Direction.UNDO]
        for other in reading.changing:
            if other not in reading.do[name].step.ancestors:
                continue
            before = order[other, Direction.DO]
            early = do and before and min(do) < min(before)
            if early and other in _needed(reading, name):
                yield None, f"{name} took effect before {other}, on which it depends"
            back = order[other, Direction.UNDO]
            ordered = name in reading.dependents(other) and not reading.overtook(other, name)
            if undo and back and max(undo) > min(back) and ordered:
                yield None, f"{other} was undone before {name}, which depends on it"


def _needed(reading: Reading, name: str) -> set[str]:
    """The steps that must have succeeded before this one begins.

    A quorum needs none of its members, but what it cannot be reached without.
    """
    steps = reading.do[name].step.ancestors | {name}
    needed: dict[str, set[str]] = {}
    for one in sorted(steps, key=lambda other: len(reading.do[other].step.ancestors)):
        step = reading.do[one].step
        behind = Counter(chain.from_iterable(needed[other] | {other} for other in step.after))
        join = step.join
        spare = 0 if join is None or join.all_settled else len(step.after) - join.least
        needed[one] = {other for other, times in behind.items() if times > spare}
    return needed[name]


@law("L02", closed)
def it_ends_once(reading: Reading) -> Iterator[Found]:
    """A saga has one closing event at most, and only noted arrivals after it (GS87, D16)."""
    for index, _ in reading.ends[1:]:
        yield index, f"it was closed a second time; the first was event {_first_end(reading)}"
    for index in range(_first_end(reading), reading.length):
        event = reading.history[index]
        if not isinstance(event, LateReplyNoted | SagaCompleted | SagaCompensated):
            yield index, f"{type(event).__name__} after its end, event {_first_end(reading)}"


def _first_end(reading: Reading) -> int:
    """Number of the first closing event, counted from 1."""
    return reading.ends[0][0] + 1


@law("L03", answered)
def one_success_a_key(reading: Reading) -> Iterator[Found]:
    """No step has two successes for one key (ES)."""
    for deed in reading.deeds:
        successes = [m.event for m in deed.marks if m.status is WorkStatus.SUCCEEDED]
        for index in successes[1:]:
            yield index, f"{deed.name} had succeeded already, in event {successes[0] + 1}"


@law("L04", answered)
def outcomes_refer_to_attempts_that_were_started(reading: Reading) -> Iterator[Found]:
    """Every success, failure or timeout refers to an attempt that was started (ES, audit log)."""
    for index, event, deed in reading.answers:
        if not any(at < index and sent.attempt == event.attempt for at, sent in deed.sendings):
            yield index, f"attempt {event.attempt} of {deed.name} had not been sent"


@law("L05", asked)
def a_step_starts_after_its_predecessors(reading: Reading) -> Iterator[Found]:
    """A step starts only when all its declared predecessors have succeeded (R010).

    Or as many as it needs of a quorum.
    """
    for name, deed in reading.do.items():
        if deed.begun is None:
            continue
        join = deed.step.join
        stood = {other: reading.do[other].status(deed.begun) for other in deed.step.after}
        if join is None or join.all_settled:
            for other, status in stood.items():
                if status not in DONE:
                    yield deed.begun, f"{name} was started before {other} had succeeded"
        if join is not None:
            count = sum(status is WorkStatus.SUCCEEDED for status in stood.values())
            if count < join.least:
                yield deed.begun, f"{name} was started with {count} of {join.least} successes"


@law("L06", undone)
def what_depended_on_a_step_is_undone_first(reading: Reading) -> Iterator[Found]:
    """An undo waits for the undos of all that depended on its step (GS87, R032, LRA).

    Each of them has succeeded or was waived; or it was given up, under a policy that goes on.
    """
    for index, deed in reading.first_undos:
        for other in reading.dependents(deed.step.name):
            if not reading.owed(other, index) or reading.overtook(deed.step.name, other):
                continue
            if reading.undo[other].status(index) not in DONE:
                why = f"before the undo of {other}, which depends on it, had succeeded"
                yield index, f"{deed.name} was issued {why}"


@law("L07", undone)
def only_what_was_sent_is_undone(reading: Reading) -> Iterator[Found]:
    """No undo is issued for a step that was never dispatched (R033, D01)."""
    for index, deed in reading.first_undos:
        begun = reading.do[deed.step.name].begun
        if begun is None or begun > index:
            yield index, f"{deed.name} was issued, and {deed.step.name} had never been sent"


@law("L08", compensated)
def each_owed_undo_succeeded_once(reading: Reading) -> Iterator[Found]:
    """Compensated: one successful undo for every step that succeeded or may have (GS87)."""
    for name, deed in reading.undo.items():
        if name in reading.excused:
            continue
        times = sum(mark.status is WorkStatus.SUCCEEDED for mark in deed.marks)
        owed = reading.owed(name, reading.length)
        if times != owed:
            what = f"{name} was done or may have been" if owed else f"{name} was not done"
            yield reading.closed, f"{what}, and its undo succeeded {times} times"


@law("L09", turned_back)
def nothing_new_once_undoing(reading: Reading) -> Iterator[Found]:
    """Once the first undo is issued no new forward step starts (GS87)."""
    begin = -1
    for end in (*(index for index, _ in reading.resumed), reading.length):
        turns = (index for index, _ in chain(reading.turned, reading.first_undos))
        turn = min((index for index in turns if begin < index < end), default=end)
        for index, _, deed in reading.sendings:
            if turn < index < end and not deed.undo:
                why = f"after the saga had turned back in event {turn + 1}"
                yield index, f"{deed.name} was sent {why}"
        begin = end


@law("L10", completed)
def a_completed_saga_undid_nothing(reading: Reading) -> Iterator[Found]:
    """A completed saga issues no undo (GS87); but for a way that it has given up."""
    for index, deed in reading.first_undos:
        if not deed.step.past:
            yield index, f"{deed.name} was issued, and the saga completed"

"""Unknown outcomes, late and repeated messages, the participant's fence (laws L18 to L29)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from es_saga.core.events import CompensationFailed, SagaEvent, StepRefused, StepSucceeded
from es_saga.core.messages import Direction, Outcome
from es_saga.core.state import WorkStatus
from es_saga.testing.laws.law import (
    Found,
    answered,
    closed,
    compensated,
    effects_seen,
    law,
    timed_out,
    turned_back,
    undone,
)
from es_saga.testing.laws.reading import Reading


@law("L18", compensated, timed_out)
def what_stayed_unanswered_is_undone(reading: Reading) -> Iterator[Found]:
    """A timed-out step counts as unknown, so it is undone as if it had happened (D08, D18)."""
    for name, deed in reading.do.items():
        owed = deed.last is WorkStatus.UNKNOWN and deed.step.undo and name not in reading.excused
        if owed and reading.undo[name].begun is None:
            yield reading.closed, f"{name} was never answered, and it was not undone"


@law("L19", undone, effects_seen)
def a_success_after_its_undo_comes_to_nothing(reading: Reading) -> Iterator[Found]:
    """A success that arrives after its undo was issued: the net effect is still zero (TCC)."""
    for index, event in reading.late:
        done = event.direction is Direction.DO and event.outcome is Outcome.SUCCEEDED
        if done and event.step in _undone(reading) and (net := reading.net(event.step)):
            yield index, f"a late success of {event.step}, and its net effect is {net}, not 0"


@law("L20", undone, effects_seen)
def do_and_undo_commute(reading: Reading) -> Iterator[Found]:
    """Do-then-undo and undo-then-do of one key leave the same participant state (TCC)."""
    for step in _undone(reading):
        if net := reading.net(step):
            yield None, f"the undo of {step} has succeeded, and its net effect is {net}, not 0"


def _undone(reading: Reading) -> list[str]:
    """Steps whose undo has succeeded, by the participant's word."""
    return [
        name
        for name, deed in reading.undo.items()
        if deed.last is WorkStatus.SUCCEEDED and name not in reading.excused
    ]


@law("L21", undone, effects_seen)
def an_undo_of_nothing_succeeds_without_effect(reading: Reading) -> Iterator[Found]:
    """An undo of a step that never ran has no effect, succeeds, and is remembered (TCC)."""
    for name, deed in reading.undo.items():
        if name in reading.excused:
            continue
        done = [n for n, _ in reading.effects_of(name, Direction.DO)]
        if any(not done or n < min(done) for n, _ in reading.effects_of(name, Direction.UNDO)):
            yield None, f"{deed.name} took effect, and {name} had not"
        for index, event in deed.answers:
            if not done and isinstance(event, CompensationFailed) and event.refused:
                yield index, f"{deed.name} was refused, and {name} never took effect"


@law("L22", undone, effects_seen)
def a_command_after_its_undo_has_no_effect(reading: Reading) -> Iterator[Found]:
    """A forward command that arrives after its undo is refused without effect (TCC).

    By the order of effects; and by time, where effects and events were timed by one clock.
    """
    for name in reading.undo:
        if name in reading.excused:
            continue
        undos = [n for n, _ in reading.effects_of(name, Direction.UNDO)]
        told = [m for m in reading.undo[name].marks if m.status is WorkStatus.SUCCEEDED]
        known = reading.history[told[0].event].at if told else None
        for n, effect in reading.effects_of(name, Direction.DO):
            if (undos and n > min(undos)) or (known is not None and effect.at > known):
                yield None, f"{name} took effect after it had been undone"


@law("L23", effects_seen)
def a_command_has_one_effect(reading: Reading) -> Iterator[Found]:
    """k deliveries of a forward command have one effect (R025)."""
    yield from _repeated(reading, Direction.DO)


@law("L24", undone, effects_seen)
def an_undo_has_one_effect(reading: Reading) -> Iterator[Found]:
    """k deliveries of an undo have one effect (R028)."""
    yield from _repeated(reading, Direction.UNDO)


def _repeated(reading: Reading, direction: Direction) -> Iterator[Found]:
    for name in reading.do:
        commands = Counter(effect.command_id for _, effect in reading.effects_of(name, direction))
        for command, times in commands.items():
            if times > 1:
                yield None, f"the command {command} took effect {times} times"


@law("L25", answered, effects_seen)
def an_answer_and_its_effect_commit_together(reading: Reading) -> Iterator[Found]:
    """A guard record and its business effect commit in one local transaction (TCC).

    Seen from outside: what was answered as done took effect, and what was refused did not.
    """
    for name in reading.changing:
        deed = reading.do[name]
        done = {effect.command_id for _, effect in reading.effects_of(name, Direction.DO)}
        for index, event in deed.answers:
            if not done and isinstance(event, StepSucceeded):
                yield index, f"{name} was answered as done, and there is no effect of it"
            if isinstance(event, StepRefused):
                sent = [one.command_id for at, one in deed.sendings if at < index]
                if sent and sent[-1] in done:
                    yield index, f"{name} was refused, and it took effect"
        if done and deed.last is WorkStatus.FAILED:
            yield None, f"every attempt of {name} was answered with a failure, and it took effect"


@law("L26", turned_back)
def a_saga_is_turned_back_once(reading: Reading) -> Iterator[Found]:
    """A late failure after a timeout does not start a second undo (ES).

    What goes back to a save-point may go back altogether.
    """
    for index, turn in reading.turned:
        before = reading.back_at(index)
        if before is not None and (before.back_to is None or turn.back_to is not None):
            first = reading.turned[0][0] + 1
            yield index, f"it was turned back a second time; the first was event {first}"
    for deed in reading.undo.values():
        for (first, earlier), (index, event) in pairwise(deed.sendings):
            if event.attempt <= earlier.attempt:
                yield index, f"{deed.name} was issued anew; it was before, in event {first + 1}"


def replies_told(reading: Reading) -> object:
    """The events tell by which reply they came."""
    return any((event.cause or "").endswith("/r") for event in reading.history)


@law("L27", replies_told)
def a_reply_is_credited_to_what_it_names(reading: Reading) -> Iterator[Found]:
    """A reply is applied only to the step and attempt it names (D15).

    Where the event's cause is the id of a reply, which names them: `<command id>/<attempt>/r`. What
    comes from outside names none: it is for whichever step waits for it, on whatever way.
    """
    for index, event, deed in reading.answers:
        if deed.step.name in reading.waits:
            continue
        yield from _misplaced(reading, index, event, deed.step.name, event.attempt, deed.undo)
    for index, note in reading.late:
        undo = note.direction is Direction.UNDO
        yield from _misplaced(reading, index, note, note.step, note.attempt, undo)


def _misplaced(
    reading: Reading, index: int, event: SagaEvent, step: str, attempt: int, undo: bool
) -> Iterator[Found]:
    parts = (event.cause or "").split("/")
    if len(parts) != 5 or parts[4] != "r":
        return
    direction = Direction.UNDO if undo else Direction.DO
    if parts[:2] != [reading.saga_id, step] or parts[2].split("-")[0] != direction:
        yield index, f"the reply {event.cause} was credited to {step}/{direction}"
    elif parts[3] != str(attempt):
        yield index, f"the reply {event.cause} was credited to attempt {attempt}"


@law("L28", closed)
def a_closed_saga_stays_as_it_is(reading: Reading) -> Iterator[Found]:
    """A reply to a closed saga changes nothing and can never restart it (D16).

    It is noted, once for each step.
    """
    end = reading.ends[0][0]
    for index, _, deed in (*reading.sendings, *reading.answers):
        if index > end:
            yield index, f"{deed.name} went on after the saga's end, event {end + 1}"
    notes: set[str] = set()
    for index, event in reading.late:
        if index > end and event.step in notes:
            yield index, f"another late answer of {event.step} was noted"
        notes.add(event.step)


@law("L29", undone)
def what_was_declined_is_not_undone(reading: Reading) -> Iterator[Found]:
    """A declined step, a definite no, is not undone (R034)."""
    for index, deed in reading.first_undos:
        mark = reading.do[deed.step.name].before(index)
        if mark is not None and not mark.maybe:
            yield index, f"{deed.name} was issued, and {deed.step.name} was {mark.status}"

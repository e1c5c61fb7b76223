"""Event sourcing and the process manager, as one saga shows them (laws L38 to L53).

L38, L40 and L52 are about folding: they ask `evolve` whether it is a function, and whether the
history is one. No law asks `decide` what would have been right.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from es_saga.adapters.codec import decode, encode
from es_saga.core.aggregate import evolve, fold
from es_saga.core.errors import SagaError
from es_saga.core.events import (
    CompensationFailed,
    CompensationSucceeded,
    LateReplyNoted,
    OperatorCancelled,
    OperatorCompensated,
    OperatorResent,
    OperatorResolved,
    OperatorResumed,
    OperatorRetried,
    OperatorSkipped,
    ParentDecided,
    SagaCompleted,
    SagaStarted,
    SignalReceived,
    StepFailed,
    StepRefused,
    StepSucceeded,
)
from es_saga.core.state import WorkStatus
from es_saga.testing.laws.deed import DONE, OPEN, SLACK, Deed, by_timer
from es_saga.testing.laws.law import Found, asked, begun, closed, law
from es_saga.testing.laws.reading import Reading

_INPUTS = frozenset(
    {
        SagaStarted,
        StepSucceeded,
        StepRefused,
        StepFailed,
        CompensationSucceeded,
        CompensationFailed,
        LateReplyNoted,
        SignalReceived,
        ParentDecided,
        OperatorRetried,
        OperatorSkipped,
        OperatorResolved,
        OperatorCancelled,
        OperatorCompensated,
        OperatorResumed,
        OperatorResent,
    }
)
"""What a message leads to first; all else follows from it."""


def folded(reading: Reading) -> object:
    """The history can be folded."""
    return reading.states[1] is None


def causes_told(reading: Reading) -> object:
    """The events tell what caused them."""
    return any(event.cause for event in reading.history)


@law("L38", folded)
def folding_gives_the_same_state_at_every_prefix(reading: Reading) -> Iterator[Found]:
    """Folding the same events gives the same state at every prefix (ES)."""
    states = reading.states[0]
    for index in range(1, len(states)):
        if evolve(states[index - 1], reading.history[index]) != states[index]:
            yield index, "folding it once more gave another state"


@law("L40", folded)
def a_snapshot_and_the_tail_equal_the_whole(reading: Reading) -> Iterator[Found]:
    """Snapshot plus tail equals full fold (ES).

    The tail is written and read again, as a log writes and reads it. Event by event, that is so for
    a snapshot anywhere; for the first one, there is none.
    """
    states, _ = reading.states
    for index, state in enumerate(states):
        try:
            again = decode(*encode(reading.history[index]))
            before = states[index - 1] if index else None
            after = evolve(before, again) if before else fold(reading.saga_id, [again])
        except SagaError as error:
            yield index, f"it cannot be written and read again: {error.message}"
            return
        if after != state:
            yield index, "after a snapshot, and read from the log, it leads to another state"


@law("L41", asked)
def a_command_id_is_a_function_of_its_key(reading: Reading) -> Iterator[Found]:
    """The command id is a pure function of its key, so all attempts share it (ES, R025, R027).

    An operator who asks again for what was refused begins a new round, with an id of its own.
    """
    owners: dict[str, Deed] = {}
    for index, event, deed in reading.sendings:
        owner = owners.setdefault(event.command_id, deed)
        if owner is not deed:
            yield index, f"{event.command_id} is the id of {owner.name} and of {deed.name}"
    asked = [index for index, e in reading.operators if isinstance(e, OperatorRetried)]
    for deed in reading.deeds:
        for (before, first), (index, event) in pairwise(deed.sendings):
            fresh = any(before < retry < index for retry in asked)
            if first.command_id != event.command_id and not fresh:
                yield index, f"{deed.name} was {first.command_id}, and became {event.command_id}"


@law("L42", causes_told)
def a_redelivery_appends_nothing(reading: Reading) -> Iterator[Found]:
    """Redelivery of an input event appends nothing (R030).

    What is redelivered says the same again. A participant may answer an attempt that comes once
    more in another way, as when a later attempt has succeeded: that is another input. One verb may
    concern several steps, each by an event of its own.
    """
    handled: dict[tuple[object, ...], int] = {}
    for index, event in enumerate(reading.history):
        if event.cause and type(event) in _INPUTS:
            fields = event.__dict__
            said = (event.cause, type(event), *map(fields.get, ("step", "error", "refused")))
            first = handled.setdefault(said, index)
            if first != index:
                yield index, f"{event.cause} had been handled already, in event {first + 1}"


@law("L43", causes_told)
def an_input_without_a_key_is_refused(reading: Reading) -> Iterator[Found]:
    """An input without a redelivery key is refused, not guessed (ES). A start has the saga's id."""
    for index, event in enumerate(reading.history):
        message = type(event) in _INPUTS and type(event) is not SagaStarted
        if isinstance(event, StepSucceeded) and event.step in reading.waits:
            continue  # what came is told by SignalReceived, or nothing came but time
        if message and not event.cause and not by_timer(event):
            yield index, f"{type(event).__name__} does not say which message it came by"


@law("L48", closed)
def it_ends_in_an_allowed_state(reading: Reading) -> Iterator[Found]:
    """Whatever is repeated, late or out of order, it ends in an allowed terminal state (R031).

    Completed: every step done or waived, none turned back. Compensated: turned back. That replies
    which commute lead to the same end takes two runs to see.
    """
    for index, end in reading.ends:
        turned = reading.back_at(index)
        if not isinstance(end, SagaCompleted):
            if not turned:
                yield index, "it was closed as compensated, and never turned back"
            continue
        if turned:
            yield index, "it was turned back, and closed as completed"
        for deed in reading.do.values():
            if deed.status(index) not in DONE and not deed.step.past:
                status = deed.status(index) or "never sent"
                yield index, f"it was closed as completed, and {deed.name} was {status}"


@law("L49", asked)
def a_timer_acts_when_it_is_due_and_only_then(reading: Reading) -> Iterator[Found]:
    """A timer acts only if its attempt is still open, at most once, never after closing (ES)."""
    for index, event, deed in reading.answers:
        if not by_timer(event):
            continue
        mark = deed.before(index)
        if mark is None or mark.status is not WorkStatus.STARTED:
            yield index, f"{deed.name} timed out, and it was {mark.status if mark else 'not sent'}"
        elif mark.due is not None and event.at < mark.due - SLACK:
            yield index, f"{deed.name} timed out {mark.due - event.at:g} s before it was due"
        if reading.closed is not None and index > reading.closed:
            yield index, f"{deed.name} timed out after the saga's end"
    yield from _early_attempts(reading)
    deadline = reading.started[0][1].deadline if reading.started else None
    for number, (index, passed) in enumerate(reading.deadlines):
        if number or (reading.closed is not None and index > reading.closed):
            yield index, "its deadline passed once already" if number else "it was closed already"
        elif deadline is None or passed.at < deadline - SLACK:
            yield index, f"its deadline passed at {passed.at}, and it is {deadline}"


def _early_attempts(reading: Reading) -> Iterator[Found]:
    for deed in reading.deeds:
        for index, event in deed.sendings[1:]:
            mark = deed.before(index)
            if mark is None or mark.status is WorkStatus.STARTED:
                yield index, f"{deed.name} was sent again, and its last attempt was still open"
            elif mark.due is not None and event.at < mark.due - SLACK:
                yield index, f"{deed.name} was sent again {mark.due - event.at:g} s early"


@law("L51", begun)
def a_saga_keeps_its_definition(reading: Reading) -> Iterator[Found]:
    """An instance keeps the definition version it began with (ES)."""
    definition = reading.definition
    if not isinstance(reading.history[0], SagaStarted):
        yield 0, "it does not say under which definition it began"
    for index, event in reading.started:
        if index:
            yield index, "it began a second time"
        if (event.saga_type, event.definition) != (definition.name, definition.version):
            now = f"{definition.name} version {definition.version}"
            yield index, f"it began as {event.saga_type} version {event.definition}, not {now}"
        elif event.fingerprint != definition.fingerprint:
            now = definition.fingerprint
            yield index, f"its definition had the fingerprint {event.fingerprint}, not {now}"
    for index, step in reading.strangers:
        yield index, f"{step} is no step of {definition.name} version {definition.version}"


@law("L52", begun)
def what_was_tampered_with_is_refused(reading: Reading) -> Iterator[Found]:
    """A tampered, truncated or reordered history is refused on load (ES).

    What is judged was loaded; so each of its events can follow those before it.
    """
    states, error = reading.states
    if error is not None:
        yield len(states), f"it is not the history of a saga: {error}"


@law("L53", begun)
def what_is_open_waits_for_something(reading: Reading) -> Iterator[Found]:
    """Every saga closes under fair participants; what cannot go on is visibly stuck (R082).

    So one that is neither closed nor stuck has something under way, or is held by its parent. How
    long it may take is the system's law of this number.
    """
    end = reading.length
    if reading.ends or reading.stuck_before(end) or reading.held_before(end):
        return
    if not any(deed.last in OPEN for deed in reading.deeds):
        yield reading.length - 1, "it is neither closed nor stuck, and nothing is under way"

"""The log as outbox: what was published, compared with what was committed (laws L44 to L46)."""

from __future__ import annotations

from collections.abc import Iterator

from es_saga.core.events import StepRetried
from es_saga.core.messages import Envelope
from es_saga.core.nested import order_of
from es_saga.testing.laws.deed import by_timer
from es_saga.testing.laws.law import Found, commands_seen, law
from es_saga.testing.laws.reading import Reading

Attempt = tuple[str, int]
"""Command id and attempt."""


def _published(reading: Reading) -> dict[Attempt, Envelope]:
    """The first message of each attempt, in the order in which they were published."""
    published: dict[Attempt, Envelope] = {}
    for envelope in reading.sent or ():
        published.setdefault((envelope.commandid or "", envelope.attempt), envelope)
    return published


@law("L44", commands_seen)
def what_is_sent_was_committed(reading: Reading) -> Iterator[Found]:
    """Events and outbox rows of one reaction commit together or not at all (R074, D11).

    The log is the outbox, so a command was published only as an event in it asks for it.
    """
    committed = {(e.command_id, e.attempt): (e, deed) for _, e, deed in reading.sendings}
    first = {e.command_id: e for _, e, _ in reading.sendings if not isinstance(e, StepRetried)}
    for attempt, envelope in _published(reading).items():
        event, deed = committed.get(attempt, (None, None))
        if event is None or deed is None:
            yield None, f"{envelope.id} was published, and no event asked for it"
            continue
        if deed.step.asks_nobody:
            yield None, f"{envelope.id} was published, and {deed.name} asks nobody"
            continue
        asked = first.get(event.command_id)
        if asked is not None and (envelope.type, envelope.data) != (
            asked.command_type,
            asked.command,
        ):
            yield None, f"{envelope.id} was published with another content than was committed"
        if (envelope.step, envelope.direction) != (
            deed.step.name,
            "CANCEL" if deed.undo else "REQUEST",
        ):
            yield None, f"{envelope.id} was published as {envelope.direction} of {envelope.step}"


@law("L45", commands_seen)
def what_was_committed_is_sent_in_order(reading: Reading) -> Iterator[Found]:
    """Every committed outbox row is published at least once, in order per saga (R071).

    One that was answered before it could be published need not be, once an earlier attempt of the
    same command was: whoever got that one may answer to the next one, too. A saga that another one
    runs answers to the first, whichever it got. What is still in flight at the end of the history
    may be about to be.
    """
    published = _published(reading)
    asked = {command_id for command_id, _ in published}
    for index, event, deed in reading.answers:
        if deed.step.asks_nobody:
            continue  # nobody is asked
        for _, sent in deed.sendings:
            earlier = ((sent.command_id, number) for number in range(1, sent.attempt))
            known = sent.command_id in asked and order_of(deed.step.command) is not None
            attempt = sent.command_id, sent.attempt
            if sent.attempt != event.attempt or attempt in published:
                continue
            if by_timer(event) or not (known or any(one in published for one in earlier)):
                what = f"attempt {event.attempt} of {deed.name}"
                yield index, f"{what} came to its end, and it had never been published"
    order = {(e.command_id, e.attempt): index for index, e, _ in reading.sendings}
    newest: dict[str, int] = {}
    last = -1
    for attempt, envelope in published.items():
        index = order.get(attempt, last)
        if index < last and attempt[0] not in newest:
            yield index, f"{envelope.id} was published after what was committed later"
        newest[attempt[0]] = last = max(index, last)


@law("L46", commands_seen)
def a_second_sending_is_not_taken_for_the_first(reading: Reading) -> Iterator[Found]:
    """A deliberate re-send is never swallowed by the broker's duplicate window (ES).

    So another attempt has another message id, and another command has, too.
    """
    owners: dict[str, Attempt] = {}
    for attempt, envelope in _published(reading).items():
        owner = owners.setdefault(envelope.id, attempt)
        if owner != attempt:
            first, second = (f"attempt {n} of {command}" for command, n in (owner, attempt))
            yield None, f"{envelope.id} is the message id of {first} and of {second}"

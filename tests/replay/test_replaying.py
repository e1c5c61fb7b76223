"""A history moment by moment: what was decided on, what changed, what would be sent."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import pytest

from domain.fulfilment import fulfilment
from domain.orders import order
from domain.orders.contracts import (
    AddressUnknown,
    CardCharged,
    ChargeCard,
    CreateOrder,
    OrderCreated,
    ReleaseStock,
    ReserveStock,
    ShipParcel,
    StockReserved,
)
from domain.travel import trip
from domain.travel.contracts import BookCar, BookFlight, BookRoom, BookTrip, NoCar
from es_saga import CorruptHistory, InvalidInput
from es_saga.core.aggregate import fold
from es_saga.core.events import (
    CompensationFailed,
    DeadlineExceeded,
    OperatorResent,
    OperatorResolved,
    SagaEvent,
    StepFailed,
    StepTimedOut,
)
from es_saga.core.messages import Direction, Outcome
from es_saga.core.state import Work, WorkStatus
from es_saga.replay import Change, Kind, Replay
from es_saga.replay.changes import changes, changes_of_json
from es_saga.replay.wording import decided_on
from es_saga.testing import given
from tests.histories.fates import RECORDINGS
from tests.replay.recorded import AN_ORDER, of, recorded, worlds

REFUSED = (
    given(order, AN_ORDER, key="7")
    .expect(CreateOrder)
    .reply(OrderCreated(order_id="7"))
    .expect(ChargeCard)
    .reply(CardCharged(charge="c-1"))
    .expect(ReserveStock)
    .reply(StockReserved(reservation="r-1"))
    .expect(ShipParcel)
    .refuse(AddressUnknown(town="York"))
    .expect(ReleaseStock)
)

A_TRIP = BookTrip(
    trip_id="7", traveller="ada", flight="BA117", hotel="Savoy", car="compact", pence=90_000
)


@pytest.mark.parametrize("module", ["changes", "wording", "source"])
def test_examples_in_the_documentation_are_true(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"es_saga.replay.{module}"))
    assert found.attempted
    assert not found.failed


# ── moments ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.law("L38", "L39")
@pytest.mark.requirement("R054", "R083")
@pytest.mark.parametrize("name", RECORDINGS)
def test_every_moment_is_the_saga_as_it_was_then(name: str) -> None:
    replay = recorded(name)
    for moment in replay.moments:
        history = replay.events[: moment.version]
        assert moment.event is history[-1]
        assert moment.after == fold(replay.saga_id, history)
        assert moment.before == fold(replay.saga_id, history[:-1])
        assert moment.reaction.first <= moment.version <= moment.reaction.last
        assert moment.reaction.at == moment.event.at
    assert replay.state == replay.moments[-1].after


@pytest.mark.requirement("R054")
def test_which_steps_had_run_can_be_asked_for_any_moment() -> None:
    replay = of(REFUSED)
    ran = [
        [name for name, own in moment.after.steps.items() if own.do.status == "succeeded"]
        for moment in replay.moments
    ]
    assert ran[0] == []
    assert ran[4] == ["create", "charge"]
    assert ran[-1] == ["create", "charge", "reserve"]
    assert replay.at(9).after.steps["ship"].do.status is WorkStatus.REFUSED


def test_the_events_of_one_answer_belong_together() -> None:
    replay = of(REFUSED)
    assert [(one.kind, one.first, one.last) for one in replay.reactions] == [
        (Kind.START, 1, 2),
        (Kind.REPLY, 3, 4),
        (Kind.REPLY, 5, 6),
        (Kind.REPLY, 7, 8),
        (Kind.REFUSAL, 9, 11),
    ]
    assert [one.number for one in replay.reactions] == [1, 2, 3, 4, 5]
    assert [one.what for one in replay.reactions] == [
        "order is started",
        "create is done",
        "charge is done",
        "reserve is done",
        "ship is refused: AddressUnknown",
    ]


def test_what_was_decided_on_is_told_without_peoples_data() -> None:
    for name in RECORDINGS:
        for reaction in recorded(name).reactions:
            assert "{" not in reaction.what
            assert "visa" not in reaction.what


def test_the_beginning_of_a_history_is_one() -> None:
    replay = of(REFUSED)
    assert replay.until(4).state == replay.at(4).after
    assert len(replay.until(4)) == 4


@pytest.mark.parametrize("version", [0, -1, 12])
def test_there_is_no_moment_without_an_event(version: int) -> None:
    with pytest.raises(InvalidInput, match=f"no event {version}.*It has events 1 to 11"):
        of(REFUSED).at(version)


@pytest.mark.law("L52")
def test_what_is_no_history_is_refused_with_the_first_bad_event_named() -> None:
    events = [*REFUSED.history]
    with pytest.raises(CorruptHistory, match="has no events"):
        Replay.of("order-1", [])
    with pytest.raises(CorruptHistory, match="event 1: StepStarted begins no saga"):
        Replay.of("order-1", events[1:])
    with pytest.raises(CorruptHistory, match="event 3: StepStarted does not fit"):
        Replay.of("order-1", [events[0], events[1], events[1]])


# ── changes ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R083")
def test_a_change_says_what_was_and_what_is() -> None:
    told = [str(change) for change in of(REFUSED).at(5).changes]
    assert told == [
        "steps.charge.do.status: started -> succeeded",
        "steps.charge.do.due: 43202.0 -> nothing",
        'steps.charge.do.sent: {"type": "ChargeCard", "to": "payments", "data": '
        '{"order_id": "7", "card": "visa", "pence": 1800}} -> nothing',
        'steps.charge.do.reply: nothing -> {"charge": "c-1"}',
        "steps.charge.do.ended: nothing -> 43200.0",
    ]


def test_what_begins_is_told_without_its_defaults() -> None:
    replay = of(REFUSED)
    assert [change.path for change in replay.at(1).changes] == [
        *(f"origin.{name}" for name in ("saga_id", "saga_type", "definition", "fingerprint")),
        *("origin.data", "origin.started", "origin.key", "status"),
    ]
    assert Change("steps.ship.undo", None, None) not in replay.at(8).changes
    assert [change.path for change in replay.at(8).changes] == [
        f"steps.ship.do.{name}" for name in ("status", "attempt", "started", "due", "sent")
    ]


def test_a_saga_that_is_freed_lost_what_it_was_stuck_at() -> None:
    replay = recorded("order/stuck_and_retried")
    retried = next(m for m in replay.moments if type(m.event).__name__ == "OperatorRetried")
    told = {change.path: (change.before, change.after) for change in retried.changes}
    assert told["status"] == ("stuck", "compensating")
    assert told["stuck.step"] == ("reserve", None)
    assert told["steps.reserve.undo.round"] == (1, 2)
    assert told["verbs"] == ([], [retried.event.cause])


@pytest.mark.parametrize("name", RECORDINGS)
def test_nothing_that_an_event_changes_is_left_out(name: str) -> None:
    """Equal changes from equal states: two states that differ have a change between them."""
    for moment in recorded(name).moments:
        assert moment.before is not None or moment.changes
        if moment.before is None:
            continue
        moved = moment.before._replace(version=moment.after.version, updated=moment.after.updated)
        assert bool(moment.changes) == (moved != moment.after)


def test_equal_values_are_no_change() -> None:
    work = Work(WorkStatus.STARTED, attempt=1, started=0.0)
    assert changes(work, work._replace()) == []
    assert [*changes_of_json({"a": [1]}, {"a": [1]})] == []
    assert [*changes_of_json({"a": {"b": 1}, "c": 2}, {"a": {}, "d": 3})] == [
        Change("a.b", 1, None),
        Change("c", 2, None),
        Change("d", None, 3),
    ]


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.law("L39", "L41")
def test_what_would_be_sent_is_what_was_sent() -> None:
    replay = Replay.of("order-1", REFUSED.history, app="shop", tenant="blue")
    sent = [[command.envelope.id for command in moment.commands] for moment in replay.moments]
    assert sent == [
        [],
        ["order-1/create/do/1"],
        [],
        ["order-1/charge/do/1"],
        [],
        ["order-1/reserve/do/1"],
        [],
        ["order-1/ship/do/1"],
        [],
        [],
        ["order-1/reserve/undo/1"],
    ]
    command = replay.at(11).commands[0]
    assert command.subject == "saga.v1.blue.cmd.stock.13.ReleaseStock"
    assert command.envelope.replyto == "saga.v1.blue.rpl.shop.13.order-1"
    assert (command.envelope.direction, command.envelope.data) == ("CANCEL", {"order_id": "7"})


def test_branches_are_sent_together() -> None:
    replay = of(
        given(trip, A_TRIP)
        .expect(BookFlight, BookRoom, BookCar)
        .on(BookCar)
        .refuse(NoCar(car="compact"))
    )
    assert [len(moment.commands) for moment in replay.moments] == [0, 1, 1, 1, 0, 0]


# ── words ────────────────────────────────────────────────────────────────────────────────────────

_OPERATED: dict[str, Any] = {"at": 0.0, "actor": "ann", "reason": "looked", "cause": "v-1"}
WORDS: list[tuple[SagaEvent, str]] = [
    (StepTimedOut(at=0, step="ship", attempt=2), "no answer to ship (attempt 2)"),
    (StepFailed(at=0, cause="r", step="ship", attempt=1, error="Busy"), "ship failed: Busy"),
    (
        CompensationFailed(at=0, cause="r", step="ship", attempt=3, error="Busy"),
        "the undo of ship failed: Busy (attempt 3)",
    ),
    (
        CompensationFailed(at=0, cause="r", step="ship", attempt=1, error="No", refused=True),
        "the undo of ship is refused: No",
    ),
    (
        CompensationFailed(at=0, step="ship", attempt=1, error="timed out"),
        "no answer to the undo of ship",
    ),
    (DeadlineExceeded(at=0, effect="compensating"), "the deadline has passed"),
    (
        OperatorResolved(
            step="ship", direction=Direction.UNDO, outcome=Outcome.SUCCEEDED, **_OPERATED
        ),
        "ann resolved the undo of ship as succeeded: looked",
    ),
    (
        OperatorResent(step="ship", direction=Direction.DO, attempt=1, **_OPERATED),
        "ann resent ship: looked",
    ),
]


@pytest.mark.parametrize(("event", "said"), WORDS, ids=lambda value: str(value)[:40])
def test_what_was_decided_on_is_said_in_words(event: SagaEvent, said: str) -> None:
    assert decided_on([event]) == said


def test_what_nobody_was_asked_for_is_missed_and_not_unanswered() -> None:
    """Neither is an event of another service that is expected, nor what a saga waits for."""
    told = {
        reaction.what
        for replay in worlds(fulfilment, range(40))
        for reaction in replay.reactions
        if reaction.kind is Kind.TIMEOUT
    }
    assert "PaymentCompleted did not come within 300 s" in told
    assert "OrderCancelled did not come within 900 s" in told
    assert any(words.endswith(" s (attempt 2)") for words in told)
    assert not any("no answer" in words for words in told)
    lapsed = next(one for one in recorded("procurement/never_approved").reactions if one.first == 5)
    assert lapsed.what == "Approval did not come within 259200 s"


def test_what_became_due_together_is_said_together() -> None:
    late = [StepTimedOut(at=5, step=step, attempt=1) for step in ("flight", "room")]
    assert decided_on([*late, DeadlineExceeded(at=5, effect="noted")]) == (
        "no answer to flight, no answer to room, the deadline has passed"
    )

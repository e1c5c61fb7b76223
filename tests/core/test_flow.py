"""Conditions, waits and sleeps: steps that are skipped, and steps that ask nobody."""

from __future__ import annotations

import pytest

from es_saga import IllegalOperation, Message, NotFound
from es_saga.core.errors import InvalidInput
from es_saga.core.events import SignalReceived, StepSkipped
from es_saga.core.state import WorkStatus
from es_saga.testing import Bounds, explore, given, judge
from tests.core.buying import (
    CHEAP,
    DAY,
    DEAR,
    Approval,
    Book,
    Booked,
    Pay,
    Purchase,
    Send,
    Unbook,
    Unwrap,
    Wrap,
    buying,
)

pytestmark = pytest.mark.requirement("R009")


def test_a_step_whose_condition_does_not_hold_is_skipped_and_nothing_of_it_undone() -> None:
    begun = given(buying(), CHEAP).expect(Book).reply(Booked()).expect(Pay(approved_by=None))
    assert [e.step for e in begun.history if isinstance(e, StepSkipped)] == ["wrap", "approval"]
    done = begun.reply().wait(DAY.total_seconds()).expect(Send).reply().completed()
    assert not judge(done.story).violations


def test_a_step_whose_condition_holds_is_done_and_undone() -> None:
    booked = given(buying(), Purchase(pence=1, gift=True)).expect(Book).reply(Booked())
    paying = booked.expect(Wrap).reply().expect(Pay)
    back = paying.fail("Broke", retry_after=-1).expect(Unwrap).reply().expect(Unbook).reply()
    assert not judge(back.compensated().story).violations


def test_all_undos_at_once_where_the_saga_says_so() -> None:
    saga = buying(undo_order="parallel")
    booked = given(saga, Purchase(pence=1, gift=True)).expect(Book).reply(Booked())
    paying = booked.expect(Wrap).reply().expect(Pay)
    back = paying.fail("Broke", retry_after=-1).expect(Unwrap, Unbook)
    assert not judge(back.on(Unbook).reply().on(Unwrap).reply().compensated().story).violations


def test_every_schedule_of_it_keeps_the_laws() -> None:
    for saga in (buying(), buying(on_timeout="go-on"), buying(undo_order="parallel")):
        for data in (CHEAP, DEAR, Purchase(pence=5_000, gift=True)):
            found = explore(saga, data=data, bounds=Bounds(faults=2))
            assert found.counterexample is None, str(found.counterexample)
            assert found.complete


def test_a_saga_waits_for_its_message_and_takes_its_content() -> None:
    waiting = given(buying(), DEAR).expect(Book).reply(Booked()).waiting()
    assert waiting.state.current == ("approval",)
    paid = waiting.signal(Approval(by="ada")).expect(Pay(approved_by="ada")).reply()
    assert not judge(paid.waiting().wait(86_400).expect(Send).reply().completed().story).violations


def test_a_message_may_come_before_it_is_waited_for() -> None:
    early = given(buying(), DEAR).expect(Book).signal(Approval(by="ada"))
    paying = early.on(Book).reply(Booked()).expect(Pay(approved_by="ada"))
    assert not judge(paying.story).violations


def test_the_same_message_twice_counts_once() -> None:
    told = given(buying(), DEAR).expect(Book).reply(Booked()).signal(Approval(by="ada"))
    paid = told.expect(Pay(approved_by="ada"))
    again = paid.signal(Approval(by="eve"))
    assert again.history == paid.history
    assert sum(isinstance(event, SignalReceived) for event in again.history) == 1


def test_what_does_not_come_in_time_turns_the_saga_back() -> None:
    waiting = given(buying(), DEAR).expect(Book).reply(Booked()).waiting()
    back = waiting.wait(DAY.total_seconds()).expect(Unbook(ref="b-1")).reply().compensated()
    assert back.state.failure is not None
    assert back.state.failure.step == "approval"
    assert not judge(back.story).violations
    with pytest.raises(IllegalOperation, match="waits for nothing any more"):
        back.signal(Approval(by="ada"))


def test_what_does_not_come_in_time_may_be_gone_without() -> None:
    waiting = given(buying(on_timeout="go-on"), DEAR).expect(Book).reply(Booked()).waiting()
    on = waiting.wait(DAY.total_seconds()).expect(Pay(approved_by=None)).reply().waiting()
    assert on.state.steps["approval"].do.status is WorkStatus.SKIPPED
    assert not judge(on.wait(DAY.total_seconds()).expect(Send).reply().completed().story).violations


def test_nobody_waits_any_more_once_it_is_undone() -> None:
    waiting = given(buying(), DEAR).expect(Book).reply(Booked()).waiting()
    back = waiting.cancel().expect(Unbook).reply().compensated()
    assert back.state.steps["approval"].do.status is WorkStatus.SKIPPED
    assert not judge(back.story).violations


def test_a_message_that_nobody_waits_for_or_that_does_not_fit_is_refused() -> None:
    waiting = given(buying(), DEAR).expect(Book).reply(Booked()).waiting()
    with pytest.raises(NotFound, match="It waits for Approval"):
        waiting.signal(Booked())

    class Approval(Message):
        on: str

    with pytest.raises(InvalidInput, match="the reply is no Approval"):
        waiting.signal(Approval(on="paper"))

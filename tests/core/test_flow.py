"""Conditions, waits and sleeps: steps that are skipped, and steps that ask nobody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from es_saga import START, DefinitionError, IllegalOperation, Message, NotFound, Saga
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


def test_what_comes_after_a_skipped_step_begins_at_once_wherever_it_is_written() -> None:
    saga = Saga("pause", Purchase)

    @saga.check(after="rest")
    def look(p: Purchase) -> Wrap:
        return Wrap()

    saga.sleep("rest", DAY, after=START, when=lambda p: p.gift)
    given(saga, CHEAP).expect(Wrap).reply().completed()


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


def test_who_would_hurry_a_saga_that_waits_is_told_what_for() -> None:
    waiting = given(buying(), DEAR).expect(Book).reply(Booked()).waiting()
    for hurry in (waiting.retry, waiting.resume, waiting.resend):
        with pytest.raises(IllegalOperation) as refused:
            hurry()
        assert "It waits for Approval: `es-saga signal" in refused.value.hint
    asleep = waiting.signal(Approval(by="ada")).expect(Pay).reply().waiting()
    with pytest.raises(IllegalOperation) as refused:
        asleep.resend()
    assert refused.value.hint == "It sleeps until cool_off is over."


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


# ── what cannot be run ───────────────────────────────────────────────────────────────────────────


def faults_of(saga: Saga[Purchase]) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as refused:
        _ = saga.definition
    return tuple(refused.value.faults)


def test_who_takes_what_may_be_missing_takes_none() -> None:
    saga = Saga("forgetful", Purchase)
    saga.wait(Approval, timeout=DAY, on_timeout="go-on")

    @saga.check(when=lambda p: p.gift)
    def book(p: Purchase) -> Book:
        return Book()

    @saga.pivot
    def pay(p: Purchase, approval: Approval, booked: Booked) -> Pay:
        return Pay(approved_by=approval.by)

    assert faults_of(saga) == (
        "pay(approval: Approval): approval may be skipped: take Approval | None",
        "pay(booked: Booked): book may be skipped: take Booked | None",
    )


def test_two_steps_cannot_wait_for_one_message() -> None:
    saga = Saga("greedy", Purchase)
    saga.wait(Approval, timeout=DAY)
    saga.wait(Approval, timeout=DAY, name="second")
    assert faults_of(saga) == (
        "approval and second both wait for Approval: whose is it when it comes? derive a type "
        "for each",
    )


def test_a_wait_lasts_some_time_and_has_nothing_to_undo() -> None:
    saga = Saga("hasty", Purchase)
    approval = saga.wait(Approval, timeout=timedelta(0))

    @approval.compensation
    def disapprove(p: Purchase) -> Unwrap:
        return Unwrap()

    assert faults_of(saga) == (
        "approval: the timeout must be longer than nothing",
        "approval has a compensation, but to wait changes nothing that could be undone",
    )


def test_a_condition_is_a_plain_function_that_says_yes_or_no() -> None:
    saga = Saga("vague", Purchase)

    def price(p: Purchase) -> int:
        return p.pence

    def stranger(p: Purchase, booked: Booked) -> bool:
        return bool(booked)

    async def later(p: Purchase) -> bool:
        return True

    for number, when in enumerate((price, stranger, later)):
        step: Any = when
        saga.sleep(f"nap_{number}", DAY, when=step)
    found = faults_of(saga)
    assert found[:2] == (
        "when= of nap_0 returns int, not bool",
        "when= of nap_1(booked: Booked): no step before nap_1 replies so",
    )
    assert found[2] == "when= of nap_2 is async: it is a pure function, so write a plain def"


def test_a_condition_that_raises_or_answers_otherwise_stops_its_saga_alone() -> None:
    saga = Saga("moody", Purchase)
    moods: list[object] = ["none", "perhaps", True]

    def mood(p: Purchase) -> bool:
        if moods[0] == "none":
            raise ValueError("no idea")
        found: Any = moods[0]
        answer: bool = found
        return answer

    @saga.check(when=mood)
    def book(p: Purchase) -> Book:
        return Book()

    stuck = given(saga, CHEAP).stuck()
    assert "ValueError: no idea" in stuck.history[-1].why  # type: ignore[attr-defined]
    moods.pop(0)
    still = stuck.resume().stuck()
    assert "its condition returned str, not bool" in still.history[-1].why  # type: ignore[attr-defined]
    moods.pop(0)
    assert still.retry().expect(Book).reply(Booked()).completed()


def test_what_waits_after_the_pivot_is_waited_for_again_or_answered_by_a_human() -> None:
    saga = Saga("patient", Purchase)

    @saga.pivot
    def pay(p: Purchase) -> Pay:
        return Pay(approved_by=None)

    saga.wait(Approval, timeout=DAY)

    @saga.step
    def send(p: Purchase, approval: Approval) -> Send:
        return Send(wrapped=approval.by == "ada")

    late = given(saga, CHEAP).expect(Pay).reply().waiting().wait(DAY.total_seconds()).stuck()
    again = late.retry().waiting()
    told = again.signal(Approval(by="ada")).expect(Send(wrapped=True)).reply().completed()
    heard = late.signal(Approval(by="eve")).expect(Send(wrapped=False)).reply().completed()
    for scene in (told, heard):
        assert not judge(scene.story).violations


def test_what_no_wait_and_no_condition_can_be_is_told() -> None:
    saga = Saga("odd", Purchase)
    number: Any = int
    nothing: Any = lambda: True  # noqa: E731  # what a user may write
    saga.wait(number, timeout=DAY, name="count")
    saga.sleep("nap", DAY, when=nothing)
    saga.wait(Approval, timeout=DAY, name="twice")
    saga.wait(Booked, timeout=DAY, name="twice")
    found = faults_of(saga)
    assert "count waits for int, no Message" in found
    assert "when= of nap takes no input: its first parameter is the Purchase" in found
    assert "two steps are called 'twice'" in found


def test_what_is_heard_while_it_is_stuck_elsewhere_is_kept() -> None:
    saga = Saga("torn", Purchase)

    @saga.pivot
    def pay(p: Purchase) -> Pay:
        return Pay(approved_by=None)

    saga.wait(Approval, timeout=DAY, after=pay)

    @saga.step(after=pay)
    def send(p: Purchase) -> Send:
        return Send()

    paid = given(saga, CHEAP).expect(Pay).reply().expect(Send)
    stuck = paid.fail("Gone", retry_after=-1).stuck(Send)
    told = stuck.signal(Approval(by="ada")).stuck(Send)
    assert told.state.steps["approval"].do.reply == {"by": "ada"}
    done = told.retry().expect(Send).reply().completed()
    assert not judge(done.story).violations

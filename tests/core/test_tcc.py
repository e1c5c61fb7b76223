"""`Tcc`: holds compile to a plain definition, all are confirmed or all cancelled; every fault."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from es_saga.core.after import START, quorum
from es_saga.core.compiled import Bind, StepKind
from es_saga.core.decide import react
from es_saga.core.definition import Saga
from es_saga.core.errors import DefinitionError, IllegalOperation
from es_saga.core.expiry import short_lived
from es_saga.core.inputs import Reply, Start
from es_saga.core.messages import (
    Command,
    CommandKey,
    Direction,
    Message,
    Outcome,
    Refusal,
    Subjects,
)
from es_saga.core.policy import FOR_EVER, Retry
from es_saga.core.state import Failure
from es_saga.core.step import of
from es_saga.core.tcc import (
    MAX_HOLDS,
    CancelHold,
    ConfirmHold,
    Tcc,
    cancel_of,
    confirm_of,
    settled_by,
)
from es_saga.engine.outgoing import Sender
from es_saga.testing import given
from es_saga.testing.check import check_saga
from tests.core.sagas import Do, Done, Trip, do

HOUR = timedelta(hours=1)
ONCE = Retry(attempts=1)


class Seats(Message):
    row: str


class HoldSeats(Command[Seats]):
    to = "box_office"
    who: str


class HoldFunds(Command[None]):
    to = "bank"
    row: str


class SoldOut(Refusal):
    pass


checkout = Tcc("checkout", Trip)


@checkout.hold(expires=HOUR)
def seats(trip: Trip) -> HoldSeats:
    """Set seats aside."""
    return HoldSeats(who=trip.who)


@checkout.hold(expires=timedelta(minutes=15), retry=Retry(attempts=2))
def funds(_: Trip, held: Seats) -> HoldFunds:
    return HoldFunds(row=held.row)


ConfirmSeats, CancelSeats = confirm_of(HoldSeats), cancel_of(HoldSeats)
ConfirmFunds, CancelFunds = confirm_of(HoldFunds), cancel_of(HoldFunds)
ROW = Seats(row="A")


def holds(*names: str, expires: timedelta = HOUR, **options: Any) -> Tcc[Trip]:
    """A Tcc with a hold of each name."""
    tcc = Tcc("trip", Trip)
    for name in names:
        tcc.hold(expires=expires, **options)(do(name))
    return tcc


def only(tcc: Tcc[Any]) -> str:
    """The one fault there is."""
    with pytest.raises(DefinitionError) as caught:
        _ = tcc.definition
    (found,) = caught.value.faults
    return found


# ── what it is ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R085")
def test_a_tcc_is_a_definition_like_any_other() -> None:
    definition = checkout.definition
    steps = definition.steps
    assert [(one.name, one.kind, one.after) for one in steps.values()] == [
        ("seats", StepKind.COMPENSATABLE, ()),
        ("funds", StepKind.COMPENSATABLE, ("seats",)),
        ("confirm_seats", StepKind.RETRIABLE, ("seats", "funds")),
        ("confirm_funds", StepKind.RETRIABLE, ("seats", "funds")),
    ]
    assert definition.pivot is None
    for name, retry in (("seats", Retry()), ("funds", Retry(attempts=2))):
        hold, confirm = steps[name], steps[f"confirm_{name}"]
        assert (hold.retry, confirm.retry) == (retry, FOR_EVER)
        assert hold.undo is not None
        assert hold.undo.retry == FOR_EVER
        assert (confirm.confirms, hold.confirms, confirm.after_pivot) == (name, None, True)
    assert (steps["seats"].expires, steps["confirm_seats"].expires) == (3600.0, None)
    assert steps["confirm_funds"].binds == (Bind("held", "seats"),)
    assert checkout.definition is definition, "compiled once"


def test_what_settles_a_hold_carries_the_hold() -> None:
    assert ConfirmFunds.__name__ == "ConfirmHoldFunds"
    assert (ConfirmFunds.to, CancelFunds.to) == ("bank", "bank")
    assert confirm_of(HoldFunds) is ConfirmFunds
    sent = ConfirmFunds.model_validate({"hold": {"row": "A"}})
    assert sent.model_dump() == {"hold": {"row": "A"}}


@pytest.mark.requirement("R085")
@pytest.mark.parametrize("hold", [HoldSeats, HoldFunds])
def test_of_a_command_that_settles_it_is_known_which_hold_it_settles_and_how(
    hold: type[Command[Any]],
) -> None:
    assert settled_by(confirm_of(hold)) == ("confirm_of", hold)
    assert settled_by(cancel_of(hold)) == ("cancel_of", hold)
    assert confirm_of(hold) is confirm_of(hold), "one class a hold"
    for other in (hold, Command, ConfirmHold, CancelHold, Message):
        assert settled_by(other) is None


def test_a_hold_says_how_long_and_a_confirm_what() -> None:
    definition = checkout.definition
    start = Start("c-1", {"who": "ann"}, message_id="m")
    decided = react(definition, None, start, 0.0)
    sender = Sender("shop", Subjects())
    (hold,) = sender.commands(definition, decided.state, decided.events)
    assert (hold.envelope.expires, hold.envelope.confirms) == (3600.0, None)
    scene = given(checkout, Trip(), saga_id="c-1").expect(HoldSeats).reply(ROW)
    after = scene.expect(HoldFunds).reply()
    sent = list(sender.commands(definition, after.state, after.history))
    assert [one.envelope.confirms for one in sent] == ["c-1/seats/do", "c-1/funds/do"]
    assert [(one.ttl, one.envelope.expires) for one in sent] == [(None, None)] * 2


# ── what it does ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R085")
@pytest.mark.law("L71")
def test_all_holds_are_confirmed_beside_one_another() -> None:
    scene = given(checkout, Trip()).expect(HoldSeats).reply(ROW).expect(HoldFunds(row="A")).reply()
    confirming = scene.expect(ConfirmFunds, ConfirmSeats)
    confirming.on(ConfirmFunds).reply().on(ConfirmSeats).reply().completed()


@pytest.mark.law("L71")
def test_one_that_is_refused_has_every_other_cancelled() -> None:
    scene = given(checkout, Trip()).expect(HoldSeats).reply(ROW).expect(HoldFunds)
    scene.refuse(SoldOut()).expect(CancelSeats).reply().compensated()


@pytest.mark.law("L71")
def test_what_may_be_held_is_cancelled_too() -> None:
    scene = given(checkout, Trip()).expect(HoldSeats).reply(ROW).expect(HoldFunds).timeout()
    undone = scene.expect(HoldFunds).timeout().expect(CancelFunds).reply()
    undone.expect(CancelSeats).reply().compensated()


@pytest.mark.law("L71")
def test_what_may_have_expired_until_the_last_is_held_is_cancelled() -> None:
    """Whoever conducts was away: the money may be held since it was asked for, and no longer."""
    state = given(checkout, Trip()).expect(HoldSeats).reply(ROW).expect(HoldFunds).state
    asked = state.steps["funds"].do.started
    key = CommandKey(state.saga_id, "funds", Direction.DO, 1)
    held = Reply(key, 1, Outcome.SUCCEEDED, "", None, message_id="m")
    in_time = react(checkout.definition, state, held, asked + 899).state
    assert in_time.current == ("confirm_seats", "confirm_funds")
    late = react(checkout.definition, state, held, asked + 900).state
    assert (late.failure, late.current) == (Failure("funds may have expired", "funds"), ("funds",))


@pytest.mark.law("L71")
def test_what_a_parent_lets_complete_is_confirmed_however_old_it_is() -> None:
    """The parent has told others the same; what a participant has released is for a human."""
    held = given(checkout, Trip(), child=True).expect(HoldSeats).reply(ROW).expect(HoldFunds)
    held.reply().held().wait(7_200).parent_closes().expect(ConfirmSeats, ConfirmFunds)


@pytest.mark.law("L71")
def test_once_a_confirm_was_sent_the_others_are_whatever_may_have_expired() -> None:
    """The function of one of them raised, for as long as it takes a human to come."""
    broken: list[str] = []
    tcc = holds("a")

    @tcc.hold(expires=HOUR)
    def b(trip: Trip) -> Do:
        assert not broken
        return Do(step="b", who=trip.who)

    done = Done(by="desk")
    asked = given(tcc, Trip()).expect(Do).reply(done).expect(Do)
    broken.append("b")
    stuck = asked.reply(done).expect(confirm_of(Do)).reply().stuck().wait(7_200)
    broken.clear()
    stuck.resume().expect(confirm_of(Do)).reply().completed()


@pytest.mark.law("L73")
def test_a_confirm_is_asked_for_until_it_is_done() -> None:
    scene = given(checkout, Trip()).expect(HoldSeats).reply(ROW).expect(HoldFunds).reply()
    asked = scene.expect(ConfirmSeats, ConfirmFunds).on(ConfirmSeats).reply().on(ConfirmFunds)
    for _ in range(12):
        asked = asked.timeout().expect(ConfirmFunds)
    asked.reply().completed()


@pytest.mark.law("L74")
def test_a_confirm_that_is_refused_waits_for_a_human() -> None:
    scene = given(checkout, Trip()).expect(HoldSeats).reply(ROW).expect(HoldFunds).reply()
    confirming = scene.expect(ConfirmSeats, ConfirmFunds).on(ConfirmFunds).reply()
    confirming.on(ConfirmSeats).refuse(SoldOut()).stuck().skip(ConfirmSeats).completed()


@pytest.mark.law("L17")
def test_what_is_being_confirmed_cannot_be_cancelled() -> None:
    """The first confirm is the point of no return: there is no pivot to ask."""
    holding = given(checkout, Trip()).expect(HoldSeats).reply(ROW).expect(HoldFunds)
    holding.cancel().on(HoldFunds).reply().expect(CancelFunds)
    confirming = holding.reply().expect(ConfirmSeats, ConfirmFunds)
    late = confirming.cancel()
    assert "can only go on" in late.history[-1].model_dump_json()
    with pytest.raises(IllegalOperation, match="can only go on"):
        confirming.compensate()
    late.on(ConfirmSeats).reply().on(ConfirmFunds).reply().completed()


@pytest.mark.requirement("R085")
@pytest.mark.law("L71", "L72", "L73")
def test_every_schedule_keeps_the_laws() -> None:
    seen = check_saga(checkout, examples=60)
    assert {"L71", "L72", "L73"} <= seen.laws
    assert seen.exploration.complete


# ── what it cannot be ────────────────────────────────────────────────────────────────────────────


def test_it_has_a_hold() -> None:
    assert only(Tcc("trip", Trip)) == "it has no hold: write one with @….hold(expires=…)"


def test_no_two_holds_have_one_name() -> None:
    assert only(holds("a", "a")) == "two steps are called 'a'"


def test_the_name_of_a_confirm_is_free() -> None:
    assert only(holds("a", "confirm_a")) == "confirm_a is what the confirm of a will be called"


def test_it_has_holds_only() -> None:
    tcc = holds("a")
    tcc.pivot(do("pay"))
    assert only(tcc) == "pay is a pivot step: a Tcc has holds only"


def test_it_needs_all_its_holds() -> None:
    tcc = holds("a", "b")
    tcc.hold(expires=HOUR, after=quorum(1, "a", "b"))(do("c"))
    with pytest.raises(DefinitionError, match="c comes after a quorum: a Tcc needs all its holds"):
        _ = tcc.definition


def test_a_hold_that_cannot_be_tried_as_it_says_is_told_that_and_no_more() -> None:
    """How long it may take follows from its retries, which make no sense here."""
    assert "coefficient" in only(holds("a", retry=Retry(coefficient=0.5)))


def test_a_hold_has_no_compensation() -> None:
    tcc = holds("a")
    tcc.steps[0].compensation(lambda trip: Do(step="b", who="ann"))
    with pytest.raises(DefinitionError, match="a hold is undone by its cancel"):
        _ = tcc.definition


def test_it_has_so_many_holds_at_most() -> None:
    many = [f"a{number}" for number in range(MAX_HOLDS + 1)]
    assert "1 to 100 are possible" in only(holds(*many, after=START))
    assert len(holds(*many[:-1], after=START).definition.steps) == 2 * MAX_HOLDS


_SECONDS: dict[str, Any] = {"expires": 900}
_EXPIRES: list[tuple[Callable[[], Tcc[Trip]], str]] = [
    (lambda: holds("a", expires=timedelta(seconds=90)), "a expires after 90 s"),
    (lambda: holds("a", retry=FOR_EVER), "may take inf s"),
    (lambda: holds("a", expires=timedelta(0)), "a expires after 0 s"),
    (lambda: holds("a", **_SECONDS), "expires= of a is 900, no timedelta"),
]


@pytest.mark.parametrize(("tcc", "fault"), _EXPIRES)
def test_a_hold_lives_longer_than_it_may_take_to_be_answered(
    tcc: Callable[[], Tcc[Trip]], fault: str
) -> None:
    assert fault in only(tcc())


def test_a_hold_outlives_the_holds_that_come_after_it_or_run_beside_it() -> None:
    """Three attempts of 30 s and the waits between them take 93.3 s at the longest."""
    short = timedelta(seconds=100)
    for after in ({}, {"after": START}):
        tcc = holds("a", expires=short)
        tcc.hold(expires=HOUR, timeout=timedelta(minutes=1), **after)(do("b"))  # type: ignore[arg-type]
        assert "a expires after 100 s" in only(tcc)
    last = holds("a")
    last.hold(expires=short)(do("b"))
    assert last.definition.steps["b"].expires == 100.0


def inner(trip: Trip) -> Trip:
    return trip


def running(child: Saga[Trip], *, retry: Retry = ONCE) -> Saga[Trip]:
    """A saga that looks, runs another one, and then does what takes 30 s a time."""
    saga = Saga("parent", Trip)
    saga.check(do("look"))
    saga.saga(child)(inner)
    saga.pivot(retry=retry)(do("pay"))
    return saga


@pytest.mark.parametrize(("seconds", "warned"), [(60, 1), (61, 0)])
def test_a_hold_that_another_saga_waits_with_outlives_that_or_is_warned_of(
    seconds: int, warned: int
) -> None:
    """30 s for the child and 30 s for the pivot; a child of a child is held as long."""
    child = holds("a", expires=timedelta(seconds=seconds), retry=ONCE)
    parent = running(child)
    found = list(short_lived(parent.definition))
    assert len(found) == warned
    for one in found:
        assert "has 'a' of 'trip' held, which expires after 60 s" in one
        assert "may take 60 s." in one
    middle = Saga("middle", Trip)
    middle.saga(child)(inner)
    assert len(list(short_lived(running(middle).definition))) == warned


def test_only_what_is_held_for_another_saga_is_warned_of() -> None:
    child = holds("a")
    assert list(short_lived(child.definition)) == []
    late = Saga("parent", Trip)
    late.pivot(do("pay"))
    late.saga(child)(inner)
    late.step(do("wave"))
    assert list(short_lived(late.definition)) == [], "it is confirmed at once"
    (endless,) = short_lived(running(child, retry=FOR_EVER).definition)
    assert "may take as long as it takes" in endless


def test_all_faults_are_told_at_once() -> None:
    tcc = Tcc("trip", Trip, version=0)
    tcc.hold(expires=timedelta(0))(do("a"))
    tcc.check(do("b"))
    with pytest.raises(DefinitionError) as caught:
        _ = tcc.definition
    assert len(caught.value.faults) == 3


def test_what_a_hold_answers_is_named_like_any_reply() -> None:
    tcc: Tcc[Trip] = Tcc("trip", Trip)
    first = tcc.hold(expires=HOUR)(do("first"))
    tcc.hold(expires=HOUR)(do("second"))

    def third(trip: Trip, done: Done = of(first)) -> Do:
        return Do(step="third", who=done.by)

    tcc.hold(expires=HOUR)(third)
    assert tcc.definition.steps["confirm_third"].binds == (Bind("done", "first"),)

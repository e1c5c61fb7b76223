"""Two runs side by side, and the attempts that they are made of."""

from __future__ import annotations

import json

import pytest

from domain.orders import order
from domain.orders.contracts import (
    CancelOrder,
    CardCharged,
    CardDeclined,
    ChargeCard,
    CreateOrder,
    OrderCreated,
)
from es_saga.core.messages import Direction
from es_saga.replay import Replay, compare, spans
from es_saga.replay.attempts import Ending
from es_saga.testing import Scene, given
from tests.core.sagas import Do, Done, Trip, Undo, beside, chain, with_pivot
from tests.histories.fates import RECORDINGS
from tests.replay.recorded import AN_ORDER, of, recorded

CREATED = OrderCreated(order_id="7")


def charged(wait: float, *, sku: str = "tea") -> Scene:
    """An order whose card is about to be charged, after so many seconds."""
    data = AN_ORDER.model_copy(update={"sku": sku})
    return given(order, data).expect(CreateOrder).reply(CREATED).expect(ChargeCard).wait(wait)


QUICK = charged(0.5).on(ChargeCard).reply(CardCharged(charge="c"))
REFUSED = (
    charged(1.5, sku="lamp")
    .on(ChargeCard)
    .refuse(CardDeclined(card="visa"))
    .expect(CancelOrder)
    .reply()
    .compensated()
)


# ── compare ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R083")
def test_two_runs_are_aligned_by_step_direction_and_attempt() -> None:
    found = compare(of(QUICK), of(REFUSED))
    assert [(row.step, row.direction, row.attempt) for row in found.rows] == [
        ("create", Direction.DO, 1),
        ("charge", Direction.DO, 1),
        ("reserve", Direction.DO, 1),
        ("create", Direction.UNDO, 1),
    ]
    charge = found.rows[1]
    assert charge.a is not None
    assert charge.b is not None
    assert (charge.a.outcome, charge.a.seconds) == ("succeeded", 0.5)
    assert (charge.b.outcome, charge.b.seconds) == ("refused: CardDeclined", 1.5)
    assert charge.longer == 1.0
    assert found.first is charge
    assert (found.rows[2].a is None, found.rows[2].b) == (False, None)
    assert found.rows[2].longer is None
    assert (found.a.status, found.b.status) == ("running", "compensated")
    assert (found.b.reason, found.b.reason_step) == ("CardDeclined", "charge")
    assert [str(change) for change in found.input] == ["sku: tea -> lamp"]


def test_what_only_one_has_comes_where_it_came() -> None:
    retried = of(charged(0).on(ChargeCard).fail().expect(ChargeCard).reply(CardCharged(charge="c")))
    found = compare(of(QUICK), retried)
    assert [(row.step, row.attempt) for row in found.rows] == [
        ("create", 1),
        ("charge", 1),
        ("charge", 2),
        ("reserve", 1),
    ]
    assert found.first is found.rows[1]
    back = compare(retried, of(QUICK))
    assert [row.a for row in back.rows] == [row.b for row in found.rows]


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_run_is_like_itself_and_both_are_json(name: str) -> None:
    replay = recorded(name)
    found = compare(replay, replay)
    assert found.first is None
    assert found.input == ()
    assert all(row.longer in (0.0, None) for row in found.rows)
    told = json.loads(json.dumps(found.plain()))
    assert len(told["rows"]) == len(found.rows)
    assert told["first"] is None


def test_runs_of_two_saga_types_have_nothing_in_common() -> None:
    found = compare(recorded("order/completed"), recorded("trip/completed"))
    assert not any(row.same for row in found.rows)
    assert found.first is found.rows[0]
    assert found.plain()["first"]["step"] == found.rows[0].step


# ── attempts ─────────────────────────────────────────────────────────────────────────────────────


def told(scene: Scene | Replay) -> list[str]:
    events = scene.history if isinstance(scene, Scene) else scene.events
    return [f"{'-' if s.direction == 'undo' else ''}{s.step} {s.outcome}" for s in spans(events)]


@pytest.mark.requirement("R054")
def test_every_attempt_says_how_it_ended() -> None:
    assert told(recorded("order/timed_out")) == [
        *("create succeeded", "charge succeeded", "reserve succeeded"),
        *("ship timed out", "ship timed out", "ship timed out"),
        *("-ship succeeded", "-reserve succeeded", "-charge succeeded", "-create succeeded"),
    ]
    assert "-reserve refused: Rejected" in told(recorded("order/stuck_and_retried"))
    assert "-reserve skipped" in told(recorded("order/stuck_and_skipped"))
    assert "-reserve resolved: done" in told(recorded("order/stuck_and_resolved"))
    assert "charge resolved: not done" in told(recorded("counter/pivot_unknown_and_found_not_done"))
    assert "itinerary skipped" in told(recorded("trip/waived_after_the_pivot"))
    assert told(charged(0))[-1] == "charge in flight"
    assert told(charged(0).on(ChargeCard).fail("Busy"))[-1] == "charge failed: Busy"


def test_an_answer_to_an_earlier_attempt_ends_that_one_late() -> None:
    scene = given(chain("a"), Trip()).expect(Do).timeout().expect(Do)
    late = scene.on(Do).late(Done(by="desk"), attempt=1)
    first, second = spans(late.history)
    assert (first.ending, second.ending) == (Ending.LATE, Ending.OPEN)
    assert first.seconds == 30.0, "until it was given up"


def test_what_an_operator_had_sent_again_ended_there() -> None:
    scene = given(chain("a"), Trip()).expect(Do).wait(3).resend()
    first, second = spans(scene.history)
    assert (first.ending, first.seconds) == (Ending.RESENT, 3.0)
    assert (second.attempt, second.ending) == (2, Ending.OPEN)


def test_undos_fail_and_go_unanswered_too() -> None:
    scene = (
        given(chain("a", "b"), Trip())
        .expect(Do)
        .reply(Done(by="x"))
        .expect(Do)
        .refuse(CardDeclined(card="visa"))
    )
    undoing = scene.expect(Undo).fail("Busy").expect(Undo).timeout()
    assert told(undoing)[2:] == ["-a failed: Busy", "-a timed out"]
    first, _ = spans(undoing.history)[2:]
    assert first.again is not None


@pytest.mark.parametrize("name", RECORDINGS)
def test_there_is_a_span_for_each_attempt_and_those_to_somebody_are_the_sendings(name: str) -> None:
    """A sleep, a wait and a save-point are attempts, too: they take their time, and ask nobody."""
    replay = recorded(name)
    begin = {"StepStarted", "StepRetried", "CompensationIssued"}
    found = spans(replay.events)
    begun = [one for one in replay.moments if type(one.event).__name__ in begin]
    assert [span.version for span in found] == [one.version for one in begun]
    assert [span.version for span in found if span.to] == [
        one.version for one in begun if one.commands
    ]
    for span in found:
        assert span.end is None or span.end >= span.begin
        assert span.ended is None or span.ended > span.version
        assert span.command
        assert span.to or span.ended, "nobody waits any more in a saga that has ended"


def test_branches_and_pivots_are_spans_as_all_others() -> None:
    assert len(spans(given(beside(), Trip()).expect(Do, Do, Do).history)) == 3
    assert len(spans(given(with_pivot(), Trip()).expect(Do).history)) == 1

"""Operators who do not wait: they turn a saga back, have it go on at once, have it ask again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from es_saga.core.after import START
from es_saga.core.definition import Saga
from es_saga.core.errors import ConflictError, IllegalOperation, InvalidInput, NotFound, SagaError
from es_saga.core.events import (
    CompensationIssued,
    CompensationStarted,
    OperatorCompensated,
    OperatorResent,
    OperatorResumed,
    SagaEvent,
    SagaStuck,
    StepRetried,
    StepTimedOut,
)
from es_saga.core.inputs import Cancel, Compensate, OperatorVerb, Resend, Resume, RetryStuck
from es_saga.core.messages import Direction
from es_saga.core.policy import Retry
from es_saga.core.state import SagaStatus, WorkStatus
from es_saga.testing.laws import judge
from es_saga.testing.stage import NOON
from es_saga.testing.story import Story
from tests.core.moments import paying, started, stuck_at_ticket, stuck_at_undo, turned
from tests.core.sagas import ONCE, TWICE, Do, Trip, Undo, add, chain, do, undo, with_pivot
from tests.core.scene import Scene, play

UNDO = Direction.UNDO
PATIENT = Retry(first=timedelta(minutes=10), maximum=timedelta(hours=1), jitter=0, attempts=5)


@pytest.fixture
def scene() -> Scene:
    """Two steps; the first one failed, and waits ten minutes for its next attempt."""
    waiting = play(chain("a", "b", retry=PATIENT, undo_retry=PATIENT))
    waiting.fail("a")
    return waiting


def broken() -> tuple[Scene, list[str]]:
    """`b` has a bug until the list is emptied; `a` is done."""
    bugs = ["b"]
    saga = chain("a")

    def b(trip: Trip) -> Do:
        if bugs:
            raise ZeroDivisionError("by zero")
        return Do(step="b", who=trip.who)

    saga.step(b).compensation(undo("b"))
    scene = play(saga)
    scene.succeed("a")
    return scene, bugs


def objection(act: Callable[[], object]) -> tuple[str, str]:
    """What an operator is told, and what to do instead."""
    with pytest.raises(IllegalOperation) as caught:
        act()
    return caught.value.message, caught.value.hint


def lawful(scene: Scene) -> bool:
    return not judge(Story(scene.definition, "s-1", scene.log)).violations


# ── compensate ───────────────────────────────────────────────────────────────────────────────────


def test_a_stuck_saga_before_the_pivot_is_turned_back_and_undone() -> None:
    scene, _ = broken()
    events = scene.compensate()
    assert isinstance(events[0], OperatorCompensated)
    assert (events[0].actor, events[0].reason) == ("ann", "it leads nowhere")
    assert [type(event) for event in events[1:]] == [CompensationStarted, CompensationIssued]
    assert scene.last(CompensationStarted).why == "turned back: it leads nowhere"
    scene.undone("a")
    assert scene.status is SagaStatus.COMPENSATED
    assert scene.state.failure is not None
    assert scene.state.failure.step == "b", "why it was stuck is the first reason, and stays it"
    assert lawful(scene)


def test_a_saga_that_only_waits_is_turned_back_too(scene: Scene) -> None:
    scene.compensate()
    assert scene.status is SagaStatus.COMPENSATED
    assert scene.state.failure == ("turned back: it leads nowhere", None, "")
    assert scene.sent == ["a/do"], "its one attempt had failed for certain: nothing is owed"


def test_what_is_in_flight_is_awaited_before_anything_is_undone() -> None:
    scene = started("a")
    scene.compensate()
    assert scene.sent == ["a/do", "b/do"]
    scene.succeed("b")
    scene.undone("b", "a")
    assert scene.status is SagaStatus.COMPENSATED


def test_L12_after_the_pivot_nothing_is_turned_back_and_nothing_recorded() -> None:
    scene = stuck_at_ticket()
    before = scene.log
    assert objection(scene.compensate) == (
        "Saga s-1 cannot be undone: the pivot pay has succeeded: the saga can only go on.",
        "Once it is stuck: retry it, or resolve or skip what it is stuck at.",
    )
    assert scene.log == before


def test_L15_while_the_pivot_is_under_way_nothing_is_turned_back() -> None:
    scene = paying()
    assert "the pivot pay is under way" in objection(scene.compensate)[0]
    scene.fail("pay")
    assert "the pivot pay is under way" in objection(scene.compensate)[0]


def test_what_is_being_undone_is_not_turned_back_again() -> None:
    assert objection(turned().compensate)[0] == "Saga s-1 is being compensated already."
    assert objection(stuck_at_undo().compensate)[0] == "Saga s-1 is being compensated already."


# ── resume ───────────────────────────────────────────────────────────────────────────────────────


def test_what_waits_for_its_next_attempt_is_sent_at_once(scene: Scene) -> None:
    scene.wait(1)
    events = scene.resume()
    resumed, retried = events
    assert isinstance(resumed, OperatorResumed)
    assert (resumed.step, resumed.direction) == ("a", Direction.DO)
    assert isinstance(retried, StepRetried)
    assert retried.at == NOON + 1
    assert scene.sent == ["a/do", "a/do #2"]
    assert scene.wait(29.9) == [], "the wait it was spared does not come back"
    scene.succeed("a")
    scene.succeed("b")
    assert scene.status is SagaStatus.COMPLETED
    assert lawful(scene)


def test_L31_the_wait_after_an_attempt_that_came_early_is_that_of_the_policy(scene: Scene) -> None:
    scene.resume()
    scene.wait(30)
    assert scene.last(StepTimedOut).retry_at == scene.now + 20 * 60
    assert lawful(scene)


def test_an_undo_that_waits_is_sent_at_once() -> None:
    scene = play(chain("a", "b", undo_retry=PATIENT))
    scene.succeed("a")
    scene.refuse("b")
    scene.undo_fails("a")
    events = scene.resume("a")
    assert [type(event) for event in events] == [OperatorResumed, CompensationIssued]
    assert scene.last(OperatorResumed).direction is UNDO
    assert scene.sent[-1] == "a/undo #2"
    scene.undone("a")
    assert scene.status is SagaStatus.COMPENSATED
    assert lawful(scene)


def beside() -> Scene:
    """`room` and `car` side by side, and both wait for their next attempts."""
    saga = Saga("trip", Trip)
    for name in ("room", "car"):
        add(saga, name, after=(), retry=PATIENT)
    scene = play(saga)
    scene.fail("room")
    scene.fail("car")
    return scene


def test_all_that_waits_is_resumed_each_by_an_event_of_its_own() -> None:
    scene = beside()
    events = scene.resume()
    assert [event.step for event in events if isinstance(event, OperatorResumed)] == ["room", "car"]
    assert scene.sent[-2:] == ["room/do #2", "car/do #2"]
    assert len(scene.state.verbs) == 1, "it was one verb"
    assert lawful(scene)


def test_one_of_two_is_resumed_and_the_other_goes_on_waiting() -> None:
    scene = beside()
    scene.resume("car")
    assert scene.sent[-1] == "car/do #2"
    assert scene.step("room").do.status is WorkStatus.BACKOFF


def test_a_mended_function_is_called_again_by_a_resume() -> None:
    scene, bugs = broken()
    bugs.clear()
    events = scene.resume()
    assert [type(event).__name__ for event in events] == ["OperatorResumed", "StepStarted"]
    assert scene.state.stuck is None
    assert scene.state.failure is None
    scene.succeed("b")
    assert scene.status is SagaStatus.COMPLETED
    assert lawful(scene)


def test_a_function_with_the_same_bug_parks_its_saga_again() -> None:
    scene, _ = broken()
    scene.resume("b")
    assert scene.status is SagaStatus.STUCK
    assert scene.names.count("SagaStuck") == 2
    assert lawful(scene)


def test_an_undo_function_that_was_mended_is_called_again_by_a_resume() -> None:
    bugs = ["a"]
    saga = Saga("trip", Trip)
    step = saga.step(do("a"))

    @step.compensation
    def undo_a(trip: Trip) -> Undo:
        if bugs:
            raise ZeroDivisionError("by zero")
        return Undo(step="a", by=trip.who)

    add(saga, "b")
    scene = play(saga)
    scene.succeed("a")
    scene.refuse("b")
    assert scene.state.stuck is not None
    bugs.clear()
    scene.resume("a")
    assert scene.status is SagaStatus.COMPENSATING
    assert scene.last(OperatorResumed).direction is UNDO
    assert scene.sent[-1] == "a/undo"
    assert lawful(scene)


def test_what_waits_is_resumed_though_the_saga_is_stuck_elsewhere_and_stays_so() -> None:
    saga = Saga("trip", Trip)
    pay = saga.pivot(do("pay"))
    for name in ("ticket", "mail"):
        saga.step(after=pay, retry=PATIENT)(do(name))
    scene = play(saga)
    scene.succeed("pay")
    scene.refuse("ticket")
    scene.fail("mail")
    scene.resume()
    assert scene.sent[-1] == "mail/do #2"
    assert scene.status is SagaStatus.STUCK
    assert scene.names.count("SagaStuck") == 1
    assert lawful(scene)


@pytest.mark.parametrize(
    ("act", "message", "hint"),
    [
        (
            lambda: started().resume(),
            "Nothing of saga s-1, which is running, waits for another attempt.",
            "What is in flight is sent again by `es-saga resend s-1`.",
        ),
        (
            lambda: stuck_at_ticket().resume(),
            "Nothing of saga s-1, which is stuck, waits for another attempt.",
            "It is stuck: retry it, or resolve or skip what it is stuck at.",
        ),
        (
            lambda: stuck_at_ticket().resume("ticket"),
            "ticket is refused: nothing waits for another attempt there.",
            "It is stuck: retry it, or resolve or skip what it is stuck at.",
        ),
        (
            lambda: beside_a_bug().resume("a"),
            "a is succeeded: nothing waits for another attempt there.",
            "It is stuck: retry it, or resolve or skip what it is stuck at.",
        ),
        (
            lambda: waiting().resume("b"),
            "b is not begun: nothing waits for another attempt there.",
            "`es-saga status s-1` says what it waits for.",
        ),
        (
            lambda: turned().resume("b"),
            "The undo of b is not begun: nothing waits for another attempt there.",
            "What is in flight is sent again by `es-saga resend s-1`.",
        ),
        (
            lambda: waiting().resend(),
            "Nothing of saga s-1, which is running, is in flight.",
            "What waits is sent at once by `es-saga resume s-1`.",
        ),
        (
            lambda: started("a").resend("a"),
            "a is succeeded: nothing is in flight there.",
            "`es-saga status s-1` says what it waits for.",
        ),
        (
            lambda: cancelled_in_flight().resend(),
            "Nothing of saga s-1, which is compensating, is in flight.",
            "A step is in flight, and is not asked for again: its answer decides what is owed.",
        ),
        (
            lambda: both_retried().resend("a"),
            "The undo of a waits until what depends on it is undone.",
            "`es-saga status s-1` says what it waits for.",
        ),
        (
            lambda: one_retried().resend("a"),
            "The undo of a is failed: nothing is in flight there.",
            "`es-saga status s-1` says what it waits for.",
        ),
        (
            lambda: both_retried().resume("a"),
            "The undo of a waits until what depends on it is undone.",
            "What is in flight is sent again by `es-saga resend s-1`.",
        ),
    ],
)
def test_where_there_is_nothing_to_do_an_operator_is_told_what_to_do_instead(
    act: Callable[[], object], message: str, hint: str
) -> None:
    assert objection(act) == (message, hint)


def beside_a_bug() -> Scene:
    return broken()[0]


def waiting() -> Scene:
    scene = play(chain("a", "b", retry=PATIENT))
    scene.fail("a")
    return scene


def cancelled_in_flight() -> Scene:
    scene = started("a")
    scene.cancel()
    return scene


def both_retried() -> Scene:
    """The undos of `b` and `a` were given up and are tried again: first `b`, which needs `a`."""
    scene = both_given_up()
    scene.retry()
    return scene


def one_retried() -> Scene:
    scene = both_given_up()
    scene.retry("b")
    return scene


def both_given_up() -> Scene:
    scene = play(chain("a", "b", "c", undo_retry=ONCE))
    for step in ("a", "b"):
        scene.succeed(step)
    scene.refuse("c")
    scene.undo_fails("b")
    scene.undo_fails("a")
    return scene


def test_an_undo_whose_turn_it_is_not_is_left_alone() -> None:
    scene = both_retried()
    scene.resend()
    assert scene.sent[-1] == "b/undo #3"
    assert "a/undo #2" not in scene.sent


def test_a_step_that_nobody_knows_is_neither_resumed_nor_resent() -> None:
    with pytest.raises(NotFound, match="no step 'boat': a, b"):
        waiting().resume("boat")
    with pytest.raises(NotFound, match="no step 'boat'"):
        started().resend("boat")


# ── resend ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R029")
def test_L46_what_is_in_flight_is_sent_again_as_another_attempt() -> None:
    scene = play(chain("a", "b", retry=TWICE))
    scene.wait(1)
    resent, retried = scene.resend()
    assert isinstance(resent, OperatorResent)
    assert (resent.step, resent.direction, resent.attempt) == ("a", Direction.DO, 1)
    assert isinstance(retried, StepRetried)
    assert (retried.command_id, retried.attempt, retried.due) == ("s-1/a/do", 2, scene.now + 30)
    assert lawful(scene)


def test_L27_an_answer_to_either_attempt_counts() -> None:
    scene = started()
    scene.resend("a")
    scene.succeed("a", attempt=1)
    assert scene.step("a").do.status is WorkStatus.SUCCEEDED
    scene.resend("b")
    scene.refuse("b", attempt=2)
    assert scene.sent[-1] == "a/undo"
    assert lawful(scene)


def test_L18_what_was_resent_may_have_been_done_before_so_it_is_undone() -> None:
    scene = play(chain("a", retry=TWICE))
    scene.resend()
    scene.fail("a")
    assert scene.step("a").do.status is WorkStatus.UNKNOWN, "nobody knows of the first attempt"
    assert scene.sent == ["a/do", "a/do #2", "a/undo"]
    assert lawful(scene)


def test_L31_a_resend_may_add_one_attempt_to_those_of_the_policy() -> None:
    scene = play(chain("a", retry=ONCE))
    scene.resend()
    assert scene.sent == ["a/do", "a/do #2"]
    scene.wait(30)
    assert scene.last(StepTimedOut).retry_at is None, "one attempt a verb"
    assert scene.step("a").do.unanswered == 2
    assert lawful(scene)


def test_an_undo_in_flight_is_sent_again() -> None:
    scene = turned()
    events = scene.resend()
    assert [type(event) for event in events] == [OperatorResent, CompensationIssued]
    assert scene.last(OperatorResent).direction is UNDO
    assert scene.sent[-1] == "a/undo #2"
    undo = scene.step("a").undo
    assert undo is not None
    assert undo.unanswered == 0, "of an undo only the attempts are counted"
    scene.undone("a")
    assert scene.status is SagaStatus.COMPENSATED
    assert lawful(scene)


def test_all_in_flight_is_resent_or_one_of_it() -> None:
    saga = Saga("trip", Trip)
    for name in ("room", "car"):
        saga.check(after=START)(do(name))
    scene = play(saga)
    scene.resend("car")
    assert scene.sent == ["room/do", "car/do", "car/do #2"]
    events = scene.resend()
    told = [(e.step, e.attempt) for e in events if isinstance(e, OperatorResent)]
    assert told == [("room", 1), ("car", 2)]
    assert scene.sent[-2:] == ["room/do #2", "car/do #3"]
    assert lawful(scene)


def test_the_pivot_may_be_resent_and_a_stuck_saga_stays_stuck() -> None:
    scene = paying()
    scene.resend()
    scene.succeed("pay")
    assert scene.sent == ["hold/do", "pay/do", "pay/do #2", "ticket/do"]
    saga = Saga("trip", Trip)
    pay = saga.pivot(do("pay"))
    for name in ("ticket", "mail"):
        saga.step(after=pay)(do(name))
    scene = play(saga)
    scene.succeed("pay")
    scene.refuse("ticket")
    scene.resend()
    assert scene.sent[-1] == "mail/do #2"
    assert scene.status is SagaStatus.STUCK
    assert lawful(scene)


def test_what_is_resent_waits_anew_for_its_answer() -> None:
    scene = play(chain("a", retry=TWICE))
    scene.wait(29)
    scene.resend()
    assert scene.wait(29) == []
    assert scene.wait(1) != []


# ── each of them ─────────────────────────────────────────────────────────────────────────────────

VERBS: dict[str, tuple[Callable[[], Scene], OperatorVerb]] = {
    "cancel": (started, Cancel("ann", "why", "v-1")),
    "compensate": (started, Compensate("ann", "why", "v-1")),
    "resume": (waiting, Resume("ann", "why", "v-1")),
    "resend": (started, Resend("ann", "why", "v-1")),
    "retry": (stuck_at_ticket, RetryStuck("ann", "why", "v-1")),
}
each = pytest.mark.parametrize(("moment", "verb"), VERBS.values(), ids=VERBS)


@each
def test_L34_it_is_in_the_log_with_who_why_and_by_which_message(
    moment: Callable[[], Scene], verb: OperatorVerb
) -> None:
    events = moment().feed(verb)
    assert {event.cause for event in events} == {"v-1"}
    assert events[0].model_dump().items() >= {"actor": "ann", "reason": "why"}.items()


@each
def test_L42_the_same_message_again_does_nothing(
    moment: Callable[[], Scene], verb: OperatorVerb
) -> None:
    scene = moment()
    scene.feed(verb)
    assert scene.feed(verb) == []


@each
def test_it_needs_an_actor_and_a_reason(moment: Callable[[], Scene], verb: OperatorVerb) -> None:
    for nobody in (replace(verb, actor=""), replace(verb, reason=" ")):
        with pytest.raises(InvalidInput, match="who intervenes and why"):
            moment().feed(nobody)


@each
@pytest.mark.requirement("R059")
def test_at_the_expected_version_it_acts_and_at_any_other_nothing_happens(
    moment: Callable[[], Scene], verb: OperatorVerb
) -> None:
    scene = moment()
    seen, before = scene.state.version, scene.log
    for other in (seen - 1, seen + 1):
        with pytest.raises(ConflictError) as caught:
            scene.feed(replace(verb, expected_version=other))
        assert caught.value.message == f"Saga s-1 is at version {seen}, not {other}."
        assert caught.value.hint == (
            "Look at it again with `es-saga status s-1`, then decide anew."
        )
    assert scene.log == before
    assert scene.feed(replace(verb, expected_version=seen)) != []


@each
def test_a_redelivery_is_no_conflict_though_the_version_is_another_by_now(
    moment: Callable[[], Scene], verb: OperatorVerb
) -> None:
    scene = moment()
    asked = replace(verb, expected_version=scene.state.version)
    scene.feed(asked)
    assert scene.feed(asked) == []


def test_a_closed_saga_that_has_moved_on_is_a_conflict_and_else_illegal() -> None:
    scene = play(chain("a"))
    seen = scene.state.version
    scene.succeed("a")
    for verb, error in (
        (Resend("ann", "why", "v-1", expected_version=seen), ConflictError),
        (Resend("ann", "why", "v-1"), IllegalOperation),
    ):
        with pytest.raises(SagaError) as caught:
            scene.feed(verb)
        assert type(caught.value) is error


def test_a_deadline_that_has_passed_is_noticed_with_the_verb() -> None:
    """What an operator does is followed up like everything else."""
    scene = play(with_pivot(deadline=timedelta(seconds=60)))
    scene.now += 61
    events: list[SagaEvent] = scene.resend()
    assert [type(event).__name__ for event in events] == [
        "OperatorResent",
        "StepRetried",
        "DeadlineExceeded",
        "CompensationStarted",
    ]
    assert lawful(scene)


def test_a_bug_is_told_again_in_full() -> None:
    scene, _ = broken()
    first = scene.last(SagaStuck)
    scene.resume()
    assert scene.last(SagaStuck).why == first.why
    assert "Traceback" in scene.last(SagaStuck).detail

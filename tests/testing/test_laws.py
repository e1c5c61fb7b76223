"""The laws object to what breaks them, to nothing else, and to whatever they are shown."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_saga.core.events import SagaEvent, SagaStarted, StepTimedOut
from es_saga.core.messages import Direction, Envelope, Refusal
from es_saga.core.policy import OnFailedUndo, Retry
from es_saga.core.state import SagaState
from es_saga.engine.alerts import Alert, AlertKind
from es_saga.engine.ports import Recorded
from es_saga.testing.laws import (
    DATA_LAWS,
    LAWS,
    NOT_JUDGED,
    SYSTEM_LAWS,
    judge,
    judge_system,
    sourcing,
)
from es_saga.testing.scenes import given as told_of
from es_saga.testing.story import Effect, Reservation, Row, Story, System
from tests.core.journey import trip
from tests.core.run import Run
from tests.core.sagas import TWICE, Do, Done, Trip, chain, with_pivot
from tests.core.worlds import runs
from tests.testing import broken
from tests.testing.broken import (
    ambiguity,
    nested,
    parallel,
    pivot,
    save_points,
    shape,
    tcc,
    undoing,
)
from tests.testing.broken import sourcing as broken_sourcing
from tests.testing.broken import system as broken_system
from tests.testing.nonsense import stories
from tests.testing.told import SAGA, Told, did, undid

_BROKEN = [
    *shape.BROKEN,
    *pivot.BROKEN,
    *save_points.BROKEN,
    *ambiguity.BROKEN,
    *undoing.BROKEN,
    *broken_sourcing.BROKEN,
    *parallel.BROKEN,
    *tcc.BROKEN,
]
_BROKEN_SYSTEMS = [
    *broken_system.BROKEN_SYSTEMS,
    *tcc.BROKEN_SYSTEMS,
    *nested.BROKEN_SYSTEMS,
]

_TCC = frozenset({"L71", "L72", "L73"})
"""Laws of sagas that hold, confirm and cancel: `tests/core/test_tcc.py` plays them."""

_ISOLATION = range(63, 71)
"""The laws of these numbers are about isolation."""

_CODE = frozenset({"L38"})
"""Laws that no history can break, only the code that folds it; they have tests of their own."""


def test_every_law_of_the_list_is_there_or_said_not_to_be() -> None:
    there = [law.number for law in LAWS]
    assert len(set(there)) == len(there)
    numbers = {*there, *(law.number for law in SYSTEM_LAWS)}
    wanted = {f"L{n:02}" for n in range(1, 76) if n not in _ISOLATION}
    assert numbers | NOT_JUDGED.keys() == wanted
    assert numbers.isdisjoint(NOT_JUDGED)


def test_the_laws_of_shared_data_are_apart() -> None:
    assert [law.number for law in DATA_LAWS] == ["L63", "L64", "L70"]


def test_every_law_says_what_it_wants_and_when() -> None:
    told = [(str(law), law.sentence, law.applies_when) for law in LAWS]
    told += [(str(law), law.sentence, law.applies_when) for law in SYSTEM_LAWS]
    told += [(str(law), law.sentence, law.applies_when) for law in DATA_LAWS]
    for law, sentence, when in told:
        assert len(sentence) > 20, law
        assert when.endswith("."), law


def test_there_is_a_broken_history_for_every_law() -> None:
    assert {one.law for one in _BROKEN} | _CODE == {law.number for law in LAWS}
    assert {one.law for one in _BROKEN_SYSTEMS} == {law.number for law in SYSTEM_LAWS}


def _case(one: broken.Broken | broken.BrokenSystem) -> object:
    return pytest.param(one, id=f"{one.law}: {one.why}", marks=pytest.mark.law(one.law))


@pytest.mark.parametrize("one", [_case(one) for one in _BROKEN])
def test_what_breaks_a_law_is_told_once(one: broken.Broken) -> None:
    told = [found for found in judge(one.story).violations if found.law == one.law]
    assert [(found.event, found.why) for found in told] == [(one.event, one.why)]


@pytest.mark.parametrize("one", [_case(one) for one in _BROKEN_SYSTEMS])
def test_what_breaks_a_law_of_systems_is_told_once(one: broken.BrokenSystem) -> None:
    told = [f for f in judge_system(one.system, of_stories=()).violations if f.law == one.law]
    assert [(found.event, found.why) for found in told] == [(one.event, one.why)]


def test_L38_a_fold_that_is_no_function_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(state: SagaState, event: SagaEvent) -> SagaState:
        return state

    story = Told(chain("a")).do("a").story()
    monkeypatch.setattr(sourcing, "evolve", forgetful)
    (found,) = judge(story, [law for law in LAWS if law.number == "L38"]).violations
    assert str(found) == "L38 (s-1, event 2): folding it once more gave another state"


def test_a_violation_reads_well() -> None:
    story = Told(chain("reserve", "charge")).do("reserve").ok("reserve").do("charge").ok("charge")
    story.back().undo("reserve")
    told = [str(found) for found in judge(story.story()).violations if found.law == "L06"]
    assert told == [
        "L06 (s-1, event 7): the undo of reserve was issued before the undo of charge, which "
        "depends on it, had succeeded"
    ]


# ── what the laws do not object to ───────────────────────────────────────────────────────────────


def test_the_core_breaks_no_law_and_every_law_has_something_to_look_at() -> None:
    applied: set[str] = set()

    @settings(
        max_examples=150,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(runs())
    def holds(run: Run) -> None:
        judged = judge(run.story)
        assert judged.violations == []
        applied.update(judged.applied)

    holds()
    assert applied == {law.number for law in LAWS} - _TCC


def test_a_law_that_has_nothing_to_look_at_does_not_apply() -> None:
    assert judge(Story(chain("a").definition, SAGA, [])).applied == {"L11"}
    begun = judge(Told(chain("a")).do("a").story()).applied
    assert {"L01", "L12", "L17", "L30", "L44"}.isdisjoint(begun)


@pytest.mark.requirement("R037", "R038", "R039")
def test_an_undo_that_failed_may_come_last_where_the_policy_goes_on() -> None:
    def story(on_failed_undo: OnFailedUndo) -> Story:
        told = Told(chain("a", "b", "c", on_failed_undo=on_failed_undo)).do("a").ok("a").do("b")
        told.ok("b").do("c").no("c").back().undo("b").undo_fails("b").undo("a").undone("a")
        told.stuck("b").retried().undo("b").undone("b").compensated()
        return told.story(did("a"), did("b"), undid("a"), undid("b"))

    assert judge(story(OnFailedUndo.ESCALATE)).violations == []
    halted = {found.law for found in judge(story(OnFailedUndo.HALT)).violations}
    assert {"L01", "L06", "L37"} <= halted


def test_undos_that_an_operator_asks_for_together_do_not_overtake_each_other() -> None:
    told = Told(chain("a", "b", "c")).do("a").ok("a").do("b").ok("b").do("c").no("c").back()
    told.undo("b").undo_fails("b").undo("a").undo_fails("a").stuck("b").retried()
    told.undo("a").undo("b").undone("a").undone("b").compensated()
    assert {found.law for found in judge(told.story()).violations} == {"L57"}


def test_a_step_that_waits_for_its_next_attempt_on_another_way_is_not_undone() -> None:
    told = Told(trip).do("seats").ok("seats").do("held").ok("held").do("car").ok("car")
    told.do("ritz").no("ritz").back(back_to="held").undo("car").undone("car")
    told.on("held", past=("car", "ritz")).do("car.2").silent("car.2", wait=1)
    assert judge(told.story()).violations == []


def test_a_foreign_log_is_judged_by_the_same_laws() -> None:
    """Other ids, no causes, no messages: what they would show is not held against it."""
    told = Told(chain("a", "b", "c")).do("a", command_id="tx-1").ok("a")
    told.do("b", command_id="tx-2").ok("b").do("c", command_id="tx-3").no("c").back()
    told.undo("b", command_id="tx-2-back").undone("b").undo("a", command_id="tx-1-back")
    judged = judge(told.undone("a").compensated().story())
    assert judged.violations == []
    assert {"L05", "L06", "L08", "L30", "L41", "L52"} <= judged.applied
    assert {"L27", "L42", "L43", "L44"}.isdisjoint(judged.applied)


def test_another_answer_to_the_same_attempt_is_no_redelivery() -> None:
    told = Told(chain("a", "b")).do("a").ok("a", cause="m-1").do("b").no("b", cause="m-2").back()
    told.undo("a").undo_fails("a", cause="m-3").stuck("a").retried(cause="m-4").undo("a")
    told.undo_fails("a", cause="m-3", refused=True, attempt=1).stuck("a")
    assert judge(told.story()).violations == []


def test_an_undo_that_a_human_waived_may_be_owed() -> None:
    told = Told(chain("a", "b")).do("a").ok("a").do("b").no("b").back().undo("a").undo_fails("a")
    told.stuck("a").skipped("a").compensated("a")
    assert judge(told.story(did("a"))).violations == []


@pytest.mark.requirement("R050")
def test_an_operator_may_shorten_a_wait_and_add_an_attempt() -> None:
    """Laws L31, L49: what was to be waited is in the log, and so is who would not."""
    saga = chain("a", retry=TWICE)
    told = Told(saga).do("a").fails("a", wait=2).wait(-1).resumed("a").wait(-1).again("a")
    told.resent("a").again("a").silent("a").back().undo("a")
    assert judge(told.story()).violations == []
    early = Told(saga).do("a").fails("a", wait=2).wait(-1).again("a")
    assert [found.law for found in judge(early.story()).violations] == ["L49"]
    thrice = Told(saga).do("a").fails("a", wait=2).wait(1).again("a").again("a")
    assert {found.law for found in judge(thrice.story()).violations} >= {"L31", "L49"}


def test_L18_an_attempt_that_nobody_waited_for_may_have_been_done() -> None:
    def told() -> Told:
        return Told(chain("a", retry=TWICE)).do("a").resent("a").again("a").fails("a").back()

    forgotten = judge(told().compensated().story()).violations
    assert {found.law for found in forgotten} >= {"L08", "L18"}
    assert judge(told().undo("a").undone("a").compensated().story()).violations == []


def test_a_function_that_is_called_again_frees_the_saga_and_what_else_waits_does_not() -> None:
    told = Told(chain("a", "b")).do("a").ok("a").stuck("b").resumed("b").stuck("b").turned_back()
    assert judge(told.back().undo("a").undone("a").compensated().story()).violations == []


def test_a_system_that_keeps_its_books_breaks_no_law() -> None:
    parent, child = nested.kept()
    ended = parent.story()
    told = Told(chain("a", "b")).do("a").ok("a").do("b").no("b").back().undo("a").undo_fails("a")
    stuck = told.stuck("a").retried().undo("a").undo_fails("a").stuck("a").story()
    stories = [ended, stuck._replace(saga_id="s-2"), child]
    log = [
        Recorded(part, number, one.saga_id, number, event, b"{}")
        for part, one in enumerate(stories)
        for number, event in enumerate(one.history, start=1)
    ]
    told_so: list[tuple[AlertKind, bool]] = [
        (AlertKind.STUCK, True),
        (AlertKind.STUCK, False),
        (AlertKind.DEADLINE, True),
        (AlertKind.STUCK, True),
    ]
    status: dict[str, Row] = {SAGA: {"status": "compensated"}, "s-2": {"status": "stuck"}}
    judged = judge_system(
        System(
            stories,
            log=log,
            alerts=[Alert("s-2", "trip", k, opened, "full", "a", 0.0, 1) for k, opened in told_so],
            status=status,
            rebuilt=dict(status),
            audit=[(row.saga_id, row.version, type(row.event).__name__) for row in log],
            rebuilding=[],
            reservations=[Reservation("s-1/a/do", "desk", "confirmed", 9.0, 8.0, 10.0)],
            totals={"seats": [7]},
            poisoned=frozenset({"s-2"}),
            settled=True,
        ),
        of_stories=(),
    )
    assert judged.violations == []
    assert judged.applied == {law.number for law in SYSTEM_LAWS}


def test_effects_and_messages_of_other_sagas_are_not_held_against_this_one() -> None:
    told = Told(chain("a")).do("a").ok("a").completed()
    other = Effect("s-2", "a", Direction.DO, "s-2/a/do", 0.0)
    mine = other._replace(saga_id=SAGA, command_id="s-1/a/do")
    message = Envelope(id="s-2/a/do/1", source="pm", type="Do", sagaid="s-2", commandid="s-2/a/do")
    judged = judge(told.story(other, mine, other))
    assert judged.violations == []
    assert {f.law for f in judge(told.story(mine, sent=[message])).violations} == {"L45"}


class Sold(Refusal):
    pass


def test_a_command_that_an_operator_begins_anew_waits_by_itself() -> None:
    """Law L31: jitter is of the command, so the next one may wait less. Found by random sagas."""
    minute = timedelta(minutes=1)
    saga = with_pivot(after_retry=Retry(first=minute, maximum=minute, attempts=None, jitter=1.0))
    scene = told_of(saga, Trip()).expect(Do).reply(Done(by="x")).expect(Do).reply(Done(by="x"))
    waits: list[float] = []
    for _ in range(4):
        unanswered = scene.expect(Do).timeout()
        last = unanswered.history[-1]
        assert isinstance(last, StepTimedOut)
        assert last.retry_at is not None
        waits.append(last.retry_at - last.at)
        scene = unanswered.wait(waits[-1] + 1).expect(Do).refuse(Sold()).retry()
    assert waits != sorted(waits), "or it shows nothing"
    assert not judge(scene.expect(Do).story).violations


# ── whatever they are shown ──────────────────────────────────────────────────────────────────────


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories)
def test_any_nonsense_is_judged(story: Story) -> None:
    """Nothing raises; and what does not begin as a saga begins is found out."""
    judged = judge_system(System([story], alerts=[], audit=[], settled=True))
    if story.history and not isinstance(story.history[0], SagaStarted):
        assert {"L51", "L52"} <= {found.law for found in judged.violations}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs(), st.data())
def test_a_true_history_with_an_event_too_few_or_out_of_place_is_judged(
    run: Run, data: st.DataObject
) -> None:
    """Nothing raises; and without its first event it is no history."""
    history = list(run.log)
    taken = data.draw(st.integers(0, len(history) - 1))
    event = history.pop(taken)
    history.insert(data.draw(st.integers(0, len(history))), event)
    judge(run.story._replace(history=history))
    assert judge(run.story._replace(history=run.log[1:])).violations

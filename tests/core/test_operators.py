"""What operators may do, what they may not, and what each verb leads to."""

from __future__ import annotations

import pytest

from es_saga.core.after import START
from es_saga.core.definition import Saga
from es_saga.core.errors import IllegalOperation, InvalidInput, NotFound
from es_saga.core.events import (
    CompensationIssued,
    OperatorCancelled,
    OperatorResolved,
    OperatorRetried,
    OperatorSkipped,
    SagaCompensated,
    SagaStuck,
    StepStarted,
)
from es_saga.core.inputs import Cancel, RetryStuck
from es_saga.core.messages import MAX_PAYLOAD_BYTES, Direction, Outcome
from es_saga.core.policy import OnFailedUndo
from es_saga.core.state import REMEMBERED_VERBS, SagaStatus, WorkStatus
from es_saga.core.step import of
from tests.core.sagas import ONCE, Do, Done, Trip, Undo, add, chain, do, undo, with_pivot
from tests.core.scene import Scene, play


def stuck_at_ticket() -> Scene:
    """The step after the pivot was refused."""
    scene = play(with_pivot())
    scene.succeed("hold")
    scene.succeed("pay")
    scene.refuse("ticket")
    return scene


def stuck_at_pivot() -> Scene:
    """Whether the pivot was done is unknown."""
    scene = play(with_pivot(retry=ONCE))
    scene.succeed("hold")
    scene.wait(30)
    return scene


def stuck_at_undo(policy: OnFailedUndo = OnFailedUndo.ESCALATE) -> Scene:
    """`b` was refused, and then the undo of `a`."""
    scene = play(chain("a", "b", undo_retry=ONCE, on_failed_undo=policy))
    scene.succeed("a")
    scene.refuse("b")
    scene.undo_refused("a")
    return scene


# ── cancel ───────────────────────────────────────────────────────────────────────────────────────


def test_a_cancel_before_the_pivot_undoes_everything() -> None:
    scene = play(with_pivot())
    scene.cancel()
    assert scene.last(OperatorCancelled).refused is None
    scene.succeed("hold")
    scene.undone("hold")
    assert scene.status is SagaStatus.COMPENSATED
    assert scene.state.failure == ("cancelled: changed her mind", None, "")


@pytest.mark.requirement("R046")
def test_a_cancel_while_the_pivot_is_under_way_is_refused_with_a_recorded_reason() -> None:
    scene = play(with_pivot())
    scene.succeed("hold")
    scene.cancel()
    assert "under way" in (scene.last(OperatorCancelled).refused or "")
    assert scene.status is SagaStatus.RUNNING


@pytest.mark.requirement("R046")
def test_a_cancel_after_the_pivot_is_refused_with_a_recorded_reason() -> None:
    scene = play(with_pivot())
    scene.succeed("hold")
    scene.succeed("pay")
    scene.cancel()
    assert "has succeeded" in (scene.last(OperatorCancelled).refused or "")
    assert scene.status is SagaStatus.RUNNING


def test_a_stuck_saga_before_the_pivot_can_be_cancelled() -> None:
    scene, _ = poisoned()
    scene.cancel()
    scene.undone("a")
    assert scene.status is SagaStatus.COMPENSATED


def test_a_saga_that_is_being_compensated_is_not_cancelled() -> None:
    scene = play(chain("a", "b"))
    scene.succeed("a")
    scene.refuse("b")
    with pytest.raises(IllegalOperation, match="compensated already"):
        scene.cancel()


def test_a_closed_saga_takes_no_verb() -> None:
    scene = play(chain("a"))
    scene.succeed("a")
    with pytest.raises(IllegalOperation, match="closed"):
        scene.cancel()


def test_a_verb_that_comes_twice_acts_once() -> None:
    scene = play(chain("a"))
    verb = Cancel("ann", "changed her mind", "verb-1")
    assert scene.feed(verb)
    assert scene.feed(verb) == []


def test_the_last_verbs_are_remembered() -> None:
    scene = play(with_pivot())
    scene.succeed("hold")
    for _ in range(REMEMBERED_VERBS + 1):
        scene.cancel()
    assert len(scene.state.verbs) == REMEMBERED_VERBS


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("ann", "  ")])
def test_a_verb_needs_an_actor_and_a_reason(actor: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match="who intervenes and why"):
        play(chain("a")).feed(Cancel(actor, reason, "verb-1"))


def test_an_intervention_is_in_the_log_with_who_and_why() -> None:
    scene = stuck_at_ticket()
    scene.retry()
    event = scene.last(OperatorRetried)
    assert (event.actor, event.reason, event.at) == ("ann", "it is up again", scene.now)


# ── retry ────────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_that_goes_on_by_itself_is_not_retried() -> None:
    with pytest.raises(IllegalOperation, match="running, not stuck"):
        play(chain("a")).retry()


def test_what_was_refused_is_asked_for_again_under_a_new_key() -> None:
    scene = stuck_at_ticket()
    scene.retry()
    assert scene.sent[-1] == "ticket/do-2 #2"
    scene.succeed("ticket")
    scene.succeed("mail")
    assert scene.status is SagaStatus.COMPLETED
    assert scene.state.failure is None


def test_an_answer_to_the_round_before_is_ignored() -> None:
    scene = stuck_at_ticket()
    scene.retry()
    assert scene.reply("ticket", Outcome.SUCCEEDED, "Done", {"by": "x"}, round=1) == []


def test_what_is_unknown_is_asked_for_again_under_the_same_key() -> None:
    scene = stuck_at_pivot()
    scene.retry("pay")
    assert scene.sent[-1] == "pay/do #2"
    scene.wait(30)
    assert scene.status is SagaStatus.STUCK, "one attempt a retry: the policy is spent"


def test_a_failed_undo_is_asked_for_again() -> None:
    scene = stuck_at_undo()
    scene.retry("a")
    assert scene.sent[-1] == "a/undo-2 #2"
    scene.undone("a")
    assert scene.status is SagaStatus.COMPENSATED


def test_a_retry_names_a_step_that_it_is_stuck_at() -> None:
    scene = stuck_at_ticket()
    with pytest.raises(IllegalOperation, match="hold is not what saga s-1 is stuck at: ticket"):
        scene.retry("hold")


def test_a_retry_names_a_step_of_the_saga() -> None:
    with pytest.raises(NotFound, match="no step 'boat': hold, pay, ticket, mail"):
        stuck_at_ticket().retry("boat")


def test_a_retry_of_one_of_two_leaves_the_other() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(do("pay"))
    saga.step(after="pay")(do("ticket"))
    saga.step(after="pay")(do("mail"))
    scene = play(saga)
    scene.succeed("pay")
    scene.refuse("ticket")
    scene.refuse("mail")
    scene.retry("mail")
    assert scene.sent[-1] == "mail/do-2 #2"
    assert scene.status is SagaStatus.STUCK, "still at ticket"
    scene.retry()
    assert scene.sent[-1] == "ticket/do-2 #2"


def unknown_and_needed() -> Scene:
    saga = Saga("trip", Trip)
    step = saga.step(retry=ONCE, on_unknown="stuck")(do("a"))

    @step.compensation
    def undo_a(trip: Trip, done: Done) -> Undo:
        return Undo(step="a", by=done.by)

    scene = play(saga)
    scene.wait(30)
    return scene


def test_an_unknown_step_before_the_pivot_is_not_sent_again_by_a_retry() -> None:
    scene = unknown_and_needed()
    with pytest.raises(IllegalOperation, match="es-saga resolve s-1 --step a"):
        scene.retry()


# ── skip ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_after_the_pivot_can_be_waived() -> None:
    scene = stuck_at_ticket()
    scene.skip("ticket")
    assert scene.last(OperatorSkipped).step == "ticket"
    assert scene.step("ticket").do.status is WorkStatus.SKIPPED
    assert scene.sent[-1] == "mail/do"


def test_a_step_before_the_pivot_is_not_waived() -> None:
    with pytest.raises(IllegalOperation, match="not after the pivot"):
        stuck_at_pivot().skip("pay")


def test_a_step_that_is_done_is_not_waived() -> None:
    scene = stuck_at_ticket()
    scene.retry()
    scene.succeed("ticket")
    scene.refuse("mail")
    with pytest.raises(IllegalOperation, match="nothing to skip"):
        scene.skip("ticket")


def test_a_step_that_has_not_begun_is_not_waived() -> None:
    with pytest.raises(IllegalOperation, match="mail has not begun"):
        stuck_at_ticket().skip("mail")


def test_a_step_whose_reply_is_needed_is_not_waived() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(do("pay"))
    saga.step(do("ticket"))

    @saga.step
    def mail(trip: Trip, ticket: Done = of(saga.steps[1])) -> Do:
        return Do(step="mail", who=ticket.by)

    scene = play(saga)
    scene.succeed("pay")
    scene.refuse("ticket")
    with pytest.raises(IllegalOperation, match="mail needs the reply of ticket"):
        scene.skip("ticket")
    scene.resolve("ticket", reply={"by": "hand"})
    assert scene.last(StepStarted).command == {"step": "mail", "who": "hand"}


def test_a_failed_undo_can_be_waived_and_is_reported() -> None:
    scene = stuck_at_undo()
    scene.skip("a")
    assert scene.status is SagaStatus.COMPENSATED_WITH_EXCEPTIONS
    assert scene.last(SagaCompensated).exceptions[0].step == "a"


def test_the_undo_of_an_unknown_step_can_be_waived() -> None:
    scene = unknown_and_needed()
    scene.skip("a")
    assert scene.last(SagaCompensated).exceptions[0].error == "waived"


@pytest.mark.parametrize("step", ["a", "b"])
def test_an_undo_that_did_not_fail_is_not_waived(step: str) -> None:
    scene = play(chain("a", "c", "b", undo_retry=ONCE))
    scene.succeed("a")
    scene.succeed("c")
    scene.refuse("b")
    scene.undo_refused("c")
    scene.undone("a")
    with pytest.raises(IllegalOperation, match=f"No failed compensation of {step}"):
        scene.skip(step)


def test_an_undo_that_is_still_to_come_is_not_waived() -> None:
    scene = play(chain("a", "c", "b", undo_retry=ONCE, on_failed_undo=OnFailedUndo.HALT))
    scene.succeed("a")
    scene.succeed("c")
    scene.refuse("b")
    scene.undo_refused("c")
    with pytest.raises(IllegalOperation, match="No failed compensation of a"):
        scene.skip("a")


# ── resolve ──────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_pivot_found_done_goes_on() -> None:
    scene = stuck_at_pivot()
    scene.resolve("pay", reply={"by": "bank"})
    event = scene.last(OperatorResolved)
    assert (event.step, event.outcome) == ("pay", Outcome.SUCCEEDED)
    assert scene.step("pay").do.reply == {"by": "bank"}
    assert scene.sent[-1] == "ticket/do"


def test_an_unknown_pivot_found_not_done_goes_back() -> None:
    scene = stuck_at_pivot()
    scene.resolve("pay", Outcome.REFUSED)
    assert scene.sent[-1] == "hold/undo"
    assert scene.state.failure == ("looked it up", "pay", "")


def test_an_undo_done_by_hand_closes_the_saga() -> None:
    scene = stuck_at_undo()
    scene.resolve("a", direction=Direction.UNDO)
    assert scene.status is SagaStatus.COMPENSATED


def test_an_undo_is_not_resolved_as_refused() -> None:
    with pytest.raises(InvalidInput, match="resolved as succeeded"):
        stuck_at_undo().resolve("a", Outcome.REFUSED, direction=Direction.UNDO)


def test_nothing_is_resolved_as_failed() -> None:
    with pytest.raises(InvalidInput, match="succeeded or refused"):
        stuck_at_pivot().resolve("pay", Outcome.FAILED)


def test_a_step_after_the_pivot_is_not_resolved_as_refused() -> None:
    with pytest.raises(IllegalOperation, match="after the pivot"):
        stuck_at_ticket().resolve("ticket", Outcome.REFUSED)


def test_a_check_after_the_pivot_is_not_resolved_as_refused() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(after=START)(do("pay"))
    saga.check(do("look"))
    scene = play(saga)
    scene.succeed("pay")
    scene.refuse("look")
    with pytest.raises(IllegalOperation, match="after the pivot"):
        scene.resolve("look", Outcome.REFUSED)


def test_a_resolution_fits_the_model_of_the_reply() -> None:
    with pytest.raises(InvalidInput, match="no Done"):
        stuck_at_pivot().resolve("pay", reply={"from": "bank"})


@pytest.mark.parametrize(
    ("step", "direction", "found"),
    [
        ("hold", Direction.DO, "succeeded"),
        ("mail", Direction.DO, "not begun"),
        ("hold", Direction.UNDO, "not begun"),
    ],
)
def test_what_is_not_open_is_not_resolved(step: str, direction: Direction, found: str) -> None:
    with pytest.raises(IllegalOperation, match=f"{found}: there is nothing to resolve"):
        stuck_at_ticket().resolve(step, direction=direction)


def test_a_step_whose_undo_was_issued_is_not_resolved() -> None:
    scene = play(chain("a", retry=ONCE, undo_retry=ONCE))
    scene.wait(30)
    scene.undo_refused("a")
    with pytest.raises(IllegalOperation, match="was issued already"):
        scene.resolve("a", reply={"by": "x"})


# ── functions that raise ─────────────────────────────────────────────────────────────────────────


def poisoned() -> tuple[Scene, list[str]]:
    """`b` has a bug until the list is emptied."""
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


def test_a_step_function_that_raises_parks_its_saga_with_the_traceback() -> None:
    scene, _ = poisoned()
    stuck = scene.last(SagaStuck)
    assert scene.status is SagaStatus.STUCK
    assert stuck.why == "the function of b raised ZeroDivisionError: by zero"
    assert stuck.step == "b"
    assert "Traceback" in stuck.detail
    assert "in b" in stuck.detail


def with_two_failed_undos() -> Scene:
    """`b` before `a`, and both given up."""
    scene = play(chain("a", "b", "c", undo_retry=ONCE))
    scene.succeed("a")
    scene.succeed("b")
    scene.refuse("c")
    scene.undo_fails("b")
    scene.undo_fails("a")
    return scene


def test_undos_that_are_retried_together_go_again_in_reverse_order() -> None:
    scene = with_two_failed_undos()
    scene.retry()
    assert scene.sent[-1] == "b/undo #2"
    scene.wait(1)
    assert "a/undo #2" not in scene.sent
    scene.undone("b")
    assert scene.sent[-1] == "a/undo #2"
    scene.undone("a")
    assert scene.status is SagaStatus.COMPENSATED


def test_an_undo_that_fails_again_keeps_no_other_waiting() -> None:
    scene = with_two_failed_undos()
    scene.retry()
    scene.undo_fails("b")
    assert scene.sent[-1] == "a/undo #2"


def test_what_was_refused_is_not_resolved_as_done_while_the_rest_is_undone() -> None:
    scene = play(chain("a", "b", undo_retry=ONCE))
    scene.succeed("a")
    scene.refuse("b")
    scene.undo_fails("a")
    with pytest.raises(IllegalOperation, match="b is known not to have been done"):
        scene.resolve("b", reply={"by": "hand"})
    assert scene.status is SagaStatus.STUCK


def test_a_command_that_no_message_can_carry_parks_its_saga() -> None:
    saga = Saga("trip", Trip)

    @saga.pivot
    def pay(trip: Trip) -> Do:
        return Do(step="pay", who="x" * MAX_PAYLOAD_BYTES)

    scene = play(saga)
    assert scene.status is SagaStatus.STUCK
    assert "Do takes 262" in scene.last(SagaStuck).why
    assert "Send a reference" in scene.last(SagaStuck).detail


def test_a_mended_function_is_called_again_by_a_retry() -> None:
    scene, bugs = poisoned()
    bugs.clear()
    scene.retry("b")
    assert scene.sent[-1] == "b/do"
    scene.succeed("b")
    assert scene.status is SagaStatus.COMPLETED


def test_a_function_with_the_same_bug_parks_it_again() -> None:
    scene, _ = poisoned()
    scene.retry()
    assert scene.status is SagaStatus.STUCK
    assert scene.names.count("SagaStuck") == 2


def test_a_step_after_the_pivot_that_raises_can_be_waived() -> None:
    saga = Saga("trip", Trip)
    saga.pivot(do("pay"))

    @saga.step
    def mail(trip: Trip) -> Do:
        raise ZeroDivisionError

    scene = play(saga)
    scene.succeed("pay")
    scene.skip("mail")
    assert scene.status is SagaStatus.COMPLETED


def test_an_undo_function_that_raises_parks_its_saga_and_can_be_called_again() -> None:
    bugs = ["a"]
    saga = Saga("trip", Trip)
    step = saga.step(do("a"))

    @step.compensation
    def undo_a(trip: Trip, done: Done | None) -> Undo:
        if bugs:
            raise ZeroDivisionError("by zero")
        return Undo(step="a", by="mended")

    add(saga, "b")
    scene = play(saga)
    scene.succeed("a")
    scene.refuse("b")
    assert scene.last(SagaStuck).why.startswith("the function of compensation of a raised")
    bugs.clear()
    scene.feed(RetryStuck("ann", "mended", "verb-1", "a"))
    assert scene.last(CompensationIssued).command["by"] == "mended"


def test_branches_after_one_that_raised_begin_when_it_is_mended() -> None:
    bugs = ["flight"]
    saga = Saga("trip", Trip)

    @saga.step(after=START)
    def flight(trip: Trip) -> Do:
        if bugs:
            raise ZeroDivisionError
        return Do(step="flight", who=trip.who)

    flight.compensation(undo("flight"))
    add(saga, "room", after=())
    scene = play(saga)
    assert scene.sent == []
    bugs.clear()
    scene.retry()
    assert scene.sent == ["flight/do", "room/do"]


def test_a_function_that_makes_something_else_than_it_says_parks_its_saga() -> None:
    saga = Saga("trip", Trip)

    @saga.pivot
    def pay(trip: Trip) -> Do:
        return Undo(step="pay", by=None)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    scene = play(saga)
    assert "it returned Undo, not Do" in scene.last(SagaStuck).why


def test_an_error_that_cannot_even_say_what_it_is_parks_its_saga() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    saga = Saga("trip", Trip)

    @saga.pivot
    def pay(trip: Trip) -> Do:
        raise Mute

    assert play(saga).status is SagaStatus.STUCK

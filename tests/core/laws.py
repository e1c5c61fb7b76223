"""The laws of sagas, each a function that looks at a whole run and objects.

The numbers and sentences are those of the list of laws; what a participant or an engine has to keep
is judged elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import reduce

from es_saga.core.aggregate import evolve, fold
from es_saga.core.compiled import StepKind
from es_saga.core.decide import decide
from es_saga.core.errors import IllegalOperation, SagaError
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    LateReplyNoted,
    OperatorCancelled,
    OperatorEvent,
    OperatorResolved,
    OperatorRetried,
    OperatorSkipped,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaStarted,
    SagaStuck,
    StepFailed,
    StepRefused,
    StepRetried,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.inputs import Reply, RetryStuck, Tick
from es_saga.core.messages import Direction, command_id
from es_saga.core.policy import OnFailedUndo
from es_saga.core.state import CLOSED, SagaState, SagaStatus, WorkStatus
from tests.core.worlds import SAGA, Run, Turn

_ANSWERS = StepSucceeded | StepRefused | StepFailed | CompensationSucceeded | CompensationFailed
_SENDING = StepStarted | StepRetried | CompensationIssued
_DONE = (WorkStatus.SUCCEEDED, WorkStatus.SKIPPED)
_MAYBE = (WorkStatus.SUCCEEDED, WorkStatus.UNKNOWN)


# ── effects and shape ────────────────────────────────────────────────────────────────────────────


def l01_effects_are_all_or_none(run: Run) -> None:
    """A closed saga's effects are T1…Tn, or what was done and then undone."""
    excused = {exception.step for exception in run.saga.exceptions}
    for name, step in run.definition.steps.items():
        own = run.saga.steps.get(name)
        if step.kind is StepKind.CHECK or name in excused:
            continue
        if own is not None and own.do.status is WorkStatus.SKIPPED:
            continue
        wanted = 1 if run.saga.status is SagaStatus.COMPLETED else 0
        assert run.service.net[name] == wanted, f"{name} took effect {run.service.net[name]} times"
    assert max(run.service.effects.values(), default=0) <= 1, "an effect twice"


def l02_one_closing_event_and_then_only_notes(run: Run) -> None:
    closing = (SagaCompleted, SagaCompensated)
    ends = [index for index, event in enumerate(run.log) if isinstance(event, closing)]
    assert len(ends) == 1
    assert all(isinstance(event, LateReplyNoted) for event in run.log[ends[0] + 1 :])
    assert run.saga.status in CLOSED


def l03_one_success_a_key(run: Run) -> None:
    forward = Counter(event.step for event in run.log if isinstance(event, StepSucceeded))
    undone = Counter(event.step for event in run.log if isinstance(event, CompensationSucceeded))
    assert max((forward | undone).values(), default=0) <= 1


def l04_outcomes_refer_to_attempts_that_were_started(run: Run) -> None:
    started: set[tuple[str, bool, int]] = set()
    for event in run.log:
        if isinstance(event, _SENDING):
            started.add((event.step, isinstance(event, CompensationIssued), event.attempt))
        elif isinstance(event, _ANSWERS | StepTimedOut):
            undo = isinstance(event, CompensationSucceeded | CompensationFailed)
            assert (event.step, undo, event.attempt) in started, event


def l05_a_step_starts_after_its_predecessors(run: Run) -> None:
    for before, event, *_ in run.changes():
        if isinstance(event, StepStarted):
            for other in run.definition.steps[event.step].after:
                assert before.steps[other].do.status in _DONE, f"{event.step} before {other}"


def l06_what_depended_on_a_step_is_undone_first(run: Run) -> None:
    goes_on = run.definition.on_failed_undo is not OnFailedUndo.HALT
    for before, event, _, _ in _first_undos(run):
        for name, step in run.definition.steps.items():
            own = before.steps.get(name)
            if event.step not in step.ancestors or own is None or step.undo is None:
                continue
            if own.do.status in _MAYBE:
                assert own.undo is not None, f"{event.step} undone before {name}"
                given_up = own.undo.status in (WorkStatus.FAILED, WorkStatus.REFUSED)
                assert own.undo.status in _DONE or (goes_on and given_up)


def l07_only_what_was_sent_is_undone(run: Run) -> None:
    for before, event, _, _ in _first_undos(run):
        assert event.step in before.steps
        assert before.steps[event.step].do.attempt >= 1


def l08_compensated_means_each_undo_succeeded_once(run: Run) -> None:
    if run.saga.status is not SagaStatus.COMPENSATED:
        return
    done = Counter(event.step for event in run.log if isinstance(event, CompensationSucceeded))
    for event in run.log:
        if isinstance(event, OperatorResolved) and event.direction is Direction.UNDO:
            done[event.step] += 1
    for name, own in run.saga.steps.items():
        kind = run.definition.steps[name].kind
        owed = kind is StepKind.COMPENSATABLE and own.do.status in _MAYBE
        assert done[name] == (1 if owed else 0), f"{name}: {done[name]} undos"


def l09_nothing_forward_once_compensating(run: Run) -> None:
    for before, event, *_ in run.changes():
        assert not (before.backward and isinstance(event, StepStarted | StepRetried))


def l10_a_completed_saga_undid_nothing(run: Run) -> None:
    if run.saga.status is SagaStatus.COMPLETED:
        assert not any(isinstance(event, CompensationIssued) for event in run.log)


# ── the pivot ────────────────────────────────────────────────────────────────────────────────────


def l11_kinds_read_compensatable_pivot_retriable(run: Run) -> None:
    pivot = run.definition.pivot
    for name, step in run.definition.steps.items():
        assert step.after_pivot == (pivot in step.ancestors)
        assert (step.kind is StepKind.RETRIABLE) <= step.after_pivot
        assert (step.kind is StepKind.COMPENSATABLE) == (step.undo is not None)
        if pivot is not None and name != pivot:
            assert step.after_pivot or name in run.definition.steps[pivot].ancestors


def l12_nothing_is_undone_after_the_pivot(run: Run) -> None:
    for before, event, *_ in run.changes():
        if _pivot_status(run, before) is WorkStatus.SUCCEEDED:
            assert not isinstance(event, CompensationStarted | CompensationIssued | SagaCompensated)


def l13_what_follows_the_pivot_is_retried_or_escalated(run: Run) -> None:
    for turn in run.turns:
        for event in turn.events:
            if isinstance(event, StepFailed | StepTimedOut | StepRefused):
                step = run.definition.steps[event.step]
                final = isinstance(event, StepRefused) or event.retry_at is None
                if step.after_pivot and final:
                    assert turn.after is not None
                    assert turn.after.status is SagaStatus.STUCK


def l14_nothing_retriable_before_the_pivot(run: Run) -> None:
    for before, event, *_ in run.changes():
        if isinstance(event, StepStarted) and run.definition.steps[event.step].after_pivot:
            assert _pivot_status(run, before) is WorkStatus.SUCCEEDED


def l15_an_unknown_pivot_stops_both_directions(run: Run) -> None:
    unknown = (WorkStatus.STARTED, WorkStatus.BACKOFF, WorkStatus.UNKNOWN)
    for before, event, *_ in run.changes():
        if _pivot_status(run, before) in unknown:
            assert not isinstance(event, CompensationStarted | StepStarted)


def l17_cancel_undoes_before_the_pivot_and_is_refused_after(run: Run) -> None:
    for before, event, _, turn in run.changes():
        if isinstance(event, OperatorCancelled):
            pivot = _pivot_status(run, before)
            begun = pivot not in (None, WorkStatus.REFUSED, WorkStatus.FAILED)
            turned = any(isinstance(other, CompensationStarted) for other in turn.events)
            assert (event.refused is not None) == begun
            assert turned == (not begun)
            assert event.refused != ""


def _pivot_status(run: Run, state: SagaState) -> WorkStatus | None:
    own = state.steps.get(run.definition.pivot or "")
    return None if own is None else own.do.status


# ── unknown outcomes, late and foreign replies ───────────────────────────────────────────────────


def l18_what_stayed_unanswered_is_undone(run: Run) -> None:
    if not run.saga.backward:
        return
    waived = {exception.step for exception in run.saga.exceptions}
    for name, own in run.saga.steps.items():
        compensatable = run.definition.steps[name].undo is not None
        if compensatable and own.do.status is WorkStatus.UNKNOWN and name not in waived:
            assert own.undo is not None


def l18_a_spent_attempt_without_answer_is_never_taken_as_not_done(run: Run) -> None:
    for before, event, after, _ in run.changes():
        for name, own in after.steps.items():
            if own.do.status is WorkStatus.FAILED:
                assert own.do.unanswered == 0, f"{name} after {event} in {before.status}"


def l26_a_step_is_undone_once(run: Run) -> None:
    issued = Counter(event.step for _, event, _, _ in _first_undos(run))
    assert max(issued.values(), default=0) <= 1


def l27_a_reply_is_credited_to_what_it_names(run: Run) -> None:
    for turn in run.turns:
        if turn.forged:
            assert turn.events == [], "a forged reply"
        if not isinstance(turn.input, Reply):
            continue
        for event in turn.events:
            if isinstance(event, _ANSWERS | LateReplyNoted):
                assert (event.step, event.attempt) == (turn.input.key.step, turn.input.attempt)


def l28_a_closed_saga_stays_as_it_is(run: Run) -> None:
    for turn in run.turns:
        if turn.before is None or turn.before.closed is None or turn.after is None:
            continue
        assert all(isinstance(event, LateReplyNoted) for event in turn.events)
        assert turn.after.status is turn.before.status
        assert turn.after.next_due is None
        assert turn.after.current == ()
    notes = Counter(event.step for event in run.log if isinstance(event, LateReplyNoted))
    assert max(notes.values(), default=0) <= 1, "one note a step"


def l29_what_was_refused_is_not_undone(run: Run) -> None:
    for before, event, _, _ in _first_undos(run):
        assert before.steps[event.step].do.status in _MAYBE


# ── failing undos, operators ─────────────────────────────────────────────────────────────────────


def l30_an_open_undo_is_never_hidden(run: Run) -> None:
    """Exactly the undos that did not succeed stand among the exceptions."""
    owed: set[str] = set()
    for name, own in run.saga.steps.items():
        undoable = run.definition.steps[name].kind is StepKind.COMPENSATABLE
        undone = own.undo is not None and own.undo.status is WorkStatus.SUCCEEDED
        if run.saga.backward and undoable and own.do.status in _MAYBE and not undone:
            owed.add(name)
    assert {exception.step for exception in run.saga.exceptions} == owed
    with_exceptions = run.saga.status is SagaStatus.COMPENSATED_WITH_EXCEPTIONS
    assert with_exceptions == bool(owed)


def l31_waits_never_decrease(run: Run) -> None:
    """Where the participant asked for nothing: after timeouts."""
    last: dict[str, float] = {}
    for event in run.log:
        if isinstance(event, StepTimedOut) and event.retry_at is not None:
            wait = event.retry_at - event.at
            assert wait >= last.get(event.step, 0.0) - 1e-6
            last[event.step] = wait


def l31_no_more_attempts_than_the_policy_allows(run: Run) -> None:
    """One more each time an operator asks for one."""
    asked = sum(isinstance(event, OperatorRetried) for event in run.log)
    for name, own in run.saga.steps.items():
        step = run.definition.steps[name]
        if step.retry.attempts is not None:
            assert own.do.attempt <= step.retry.attempts + asked
        if own.undo is not None and step.undo is not None and step.undo.retry.attempts is not None:
            assert own.undo.attempt <= step.undo.retry.attempts + asked


def l32_a_spent_undo_needs_a_human_or_is_reported(run: Run) -> None:
    for turn in run.turns:
        spent = any(
            isinstance(event, CompensationFailed) and event.retry_at is None
            for event in turn.events
        )
        after = turn.after
        if not spent or after is None or after.stuck is not None or after.closed is not None:
            continue
        assert run.definition.on_failed_undo is not OnFailedUndo.HALT
        assert after.current, "something else is still being undone"
    waived = {event.step for event in run.log if isinstance(event, OperatorSkipped)}
    if run.definition.on_failed_undo is not OnFailedUndo.REPORT:
        assert {exception.step for exception in run.saga.exceptions} <= waived


def l33_one_alert_at_a_time(run: Run) -> None:
    for before, event, after, _ in run.changes():
        assert (after.status is SagaStatus.STUCK) == (after.stuck is not None)
        if isinstance(event, SagaStuck):
            assert before.stuck is None
            assert event.why
            assert event.step


def l34_interventions_are_events_with_actor_and_reason(run: Run) -> None:
    for turn in run.turns:
        interventions = [event for event in turn.events if isinstance(event, OperatorEvent)]
        assert len(interventions) <= 1
        for event in interventions:
            assert event.actor
            assert event.reason
            assert event.cause


def l35_retry_never_asks_again_for_what_was_done(run: Run) -> None:
    for before, event, *_ in run.changes():
        if isinstance(event, StepRetried | StepStarted) and event.step in before.steps:
            assert before.steps[event.step].do.status not in _DONE
        if isinstance(event, CompensationIssued):
            undo = before.steps[event.step].undo
            assert undo is None or undo.status not in _DONE


def l36_only_a_stuck_saga_is_retried(run: Run) -> None:
    for turn in run.turns:
        if not isinstance(turn.input, RetryStuck) or turn.before is None:
            continue
        if turn.before.status is not SagaStatus.STUCK:
            seen = turn.input.message_id in turn.before.verbs
            assert seen or isinstance(turn.error, IllegalOperation)


def l37_one_failed_undo_does_not_lose_the_others(run: Run) -> None:
    """Policies A and C undo the rest before they end; B begins no other before a human came."""
    halts = run.definition.on_failed_undo is OnFailedUndo.HALT
    for before, event, _, _ in run.changes():
        failed = _failed_undos(before)
        if halts and isinstance(event, CompensationIssued) and not before.steps[event.step].undo:
            assert not failed
        ends = isinstance(event, SagaStuck) and "failed" in event.why
        if not halts and (isinstance(event, SagaCompensated) or ends):
            for name, own in before.steps.items():
                if run.definition.steps[name].undo and own.do.status in _MAYBE:
                    assert own.undo is not None
                    assert not own.undo.open


def _failed_undos(state: SagaState) -> list[str]:
    given_up = (WorkStatus.FAILED, WorkStatus.REFUSED)
    undos = ((name, own.undo) for name, own in state.steps.items())
    return [name for name, undo in undos if undo is not None and undo.status in given_up]


# ── event sourcing ───────────────────────────────────────────────────────────────────────────────


def l38_folding_gives_the_same_state_at_every_prefix(run: Run) -> None:
    for index, (before, _, _, _) in enumerate(run.changes(), start=1):
        assert fold(SAGA, run.log[:index]) == before
    assert fold(SAGA, run.log) == run.saga


def l39_a_rebuilt_saga_decides_as_the_living_one(run: Run) -> None:
    """Rebuilding asks for nothing by itself: the same inputs lead to the same events."""
    count = 0
    for turn in run.turns:
        rebuilt = fold(SAGA, run.log[:count])
        assert _decided(run, turn, rebuilt) == turn.events
        count += len(turn.events)


def l40_a_stored_history_and_the_events_after_it_equal_the_whole(run: Run) -> None:
    stored = [type(event).model_validate_json(event.model_dump_json()) for event in run.log]
    assert stored == run.log
    middle = len(stored) // 2
    state = fold(SAGA, stored[:middle])
    assert reduce(evolve, stored[middle:], state) == run.saga if state else middle == 0


def l41_deciding_twice_asks_for_the_same(run: Run) -> None:
    for turn in run.turns:
        assert _decided(run, turn, turn.before) == turn.events


def l41_a_command_id_is_a_function_of_its_key(run: Run) -> None:
    for _, event, after, _ in run.changes():
        if isinstance(event, _SENDING):
            undo = isinstance(event, CompensationIssued)
            own = after.steps[event.step]
            work = own.undo if undo else own.do
            assert work is not None
            direction = Direction.UNDO if undo else Direction.DO
            assert event.command_id == command_id(SAGA, event.step, direction, work.round)


def l42_redelivery_appends_nothing(run: Run) -> None:
    for turn in run.turns:
        if not isinstance(turn.input, Tick) and turn.error is None:
            assert _decided(run, turn, turn.after) == []


def l49_a_timer_acts_when_something_is_due_and_only_then(run: Run) -> None:
    for turn in run.turns:
        if not isinstance(turn.input, Tick) or turn.before is None:
            continue
        due = turn.before.next_due
        assert bool(turn.events) == (due is not None and due <= turn.now)


def l51_a_saga_keeps_its_definition(run: Run) -> None:
    begun = [event for event in run.log if isinstance(event, SagaStarted)]
    assert len(begun) == 1
    assert run.saga.origin.definition == run.definition.version == begun[0].definition
    assert run.saga.origin.fingerprint == run.definition.fingerprint == begun[0].fingerprint


def l56_nothing_is_undone_while_a_branch_is_in_flight(run: Run) -> None:
    for before, event, *_ in run.changes():
        if isinstance(event, CompensationIssued):
            assert all(own.do.status is not WorkStatus.STARTED for own in before.steps.values())


def _first_undos(run: Run) -> Iterator[tuple[SagaState, CompensationIssued, SagaState, Turn]]:
    for change in run.changes():
        event = change.event
        if isinstance(event, CompensationIssued) and change.before.steps[event.step].undo is None:
            yield change.before, event, change.after, change.turn


def _decided(run: Run, turn: Turn, state: SagaState | None) -> list[SagaEvent]:
    """Decide once more, with the code as it was at the time."""
    now_broken = set(run.built.broken)
    run.built.broken.clear()
    run.built.broken.update(turn.broken)
    try:
        return decide(run.definition, state, turn.input, turn.now)
    except SagaError:
        return []
    finally:
        run.built.broken.clear()
        run.built.broken.update(now_broken)

"""Laws that take the inputs to see: what each of them led to, and what it leads to a second time.

What a history alone shows is judged by `es_saga.testing.laws`.
"""

from __future__ import annotations

from dataclasses import replace

from es_saga.core.aggregate import fold
from es_saga.core.compiled import Definition
from es_saga.core.decide import decide
from es_saga.core.errors import ConflictError, IllegalOperation, SagaError
from es_saga.core.events import (
    CompensationStarted,
    LateReplyNoted,
    OperatorResent,
    OperatorResumed,
    SagaEvent,
)
from es_saga.core.inputs import OperatorVerb, Resend, Resume, RetryStuck, Tick
from es_saga.core.state import SagaState, SagaStatus
from es_saga.core.unfolding import unfolded
from es_saga.testing.laws import judge
from tests.core.run import SAGA, Run, Turn


def every_law_of_a_story_holds_after_each_input(run: Run) -> None:
    """Effects and commands are looked at in the end."""
    known = 0
    for turn in run.turns:
        known += len(turn.events)
        if turn.events:
            story = run.story._replace(history=run.log[:known], effects=None, sent=None)
            assert judge(story).violations == []
    assert judge(run.story).violations == []


def l27_what_names_nothing_is_credited_to_nothing(run: Run) -> None:
    for turn in run.turns:
        assert not (turn.forged and turn.events), "a forged reply"


def l28_a_closed_saga_stays_as_it_is(run: Run) -> None:
    for turn in run.turns:
        if turn.before is None or turn.before.closed is None or turn.after is None:
            continue
        assert all(isinstance(event, LateReplyNoted) for event in turn.events)
        assert turn.after.status is turn.before.status
        assert turn.after.next_due is None
        assert turn.after.current == ()


def l33_a_saga_is_stuck_where_it_says_so(run: Run) -> None:
    for _, _, after, _ in run.changes():
        assert (after.status is SagaStatus.STUCK) == (after.stuck is not None)


def l36_only_a_stuck_saga_is_retried(run: Run) -> None:
    for turn in run.turns:
        if not isinstance(turn.input, RetryStuck) or turn.before is None:
            continue
        if turn.before.status is not SagaStatus.STUCK:
            seen = turn.input.message_id in turn.before.verbs
            assert seen or isinstance(turn.error, IllegalOperation)


def l46_what_is_resumed_or_resent_is_sent_at_once(run: Run) -> None:
    """Or its function raises once more, or the saga turns back, for a step beside it has failed
    meanwhile; and every sending has another message id."""
    for turn in run.turns:
        if isinstance(turn.input, Resume | Resend) and turn.events and turn.after is not None:
            named = [e for e in turn.events if isinstance(e, OperatorResumed | OperatorResent)]
            assert named
            for event in named:
                own = turn.after.steps.get(event.step)
                work = own and (own.undo or own.do)
                stuck_at = turn.after.stuck.step if turn.after.stuck is not None else None
                turned = any(isinstance(e, CompensationStarted) for e in turn.events)
                sent = work is not None and work.attempt > 0
                assert stuck_at == event.step or sent or turned
                if isinstance(event, OperatorResent):
                    assert work is not None
                    assert work.attempt == event.attempt + 1
    ids = [envelope.id for envelope in run.published]
    assert len(ids) == len(set(ids))


def l47_a_verb_for_another_version_does_nothing(run: Run) -> None:
    """Whoever looked at another version decides again; a redelivery is no conflict."""
    for turn in run.turns:
        if not isinstance(turn.input, OperatorVerb) or turn.before is None:
            continue
        seen, at = turn.input.message_id in turn.before.verbs, turn.before.version
        if turn.input.expected_version in (None, at):
            looked = turn._replace(input=replace(turn.input, expected_version=at))
            assert _decided(run, looked, turn.before) == turn.events
        else:  # it came again, and the saga has moved on
            assert seen or isinstance(turn.error, ConflictError)
        for other in (at - 1, at + 1):
            moved_on = replace(turn.input, expected_version=other)
            try:
                events = decide(run.definition, turn.before, moved_on, turn.now)
            except ConflictError:
                assert not seen
            else:
                assert seen
                assert events == []


def l39_a_rebuilt_saga_decides_as_the_living_one(run: Run) -> None:
    """Rebuilding asks for nothing by itself: the same inputs lead to the same events."""
    count = 0
    for turn in run.turns:
        rebuilt = fold(SAGA, run.log[:count])
        assert rebuilt == turn.before
        assert _decided(run, turn, rebuilt) == turn.events
        count += len(turn.events)


def l41_deciding_twice_asks_for_the_same(run: Run) -> None:
    for turn in run.turns:
        assert _decided(run, turn, turn.before) == turn.events


def l42_redelivery_appends_nothing(run: Run) -> None:
    for turn in run.turns:
        if not isinstance(turn.input, Tick) and turn.error is None:
            assert _decided(run, turn, turn.after) == []


def l49_a_timer_acts_when_something_is_due_and_only_then(run: Run) -> None:
    for turn in run.turns:
        if not isinstance(turn.input, Tick) or turn.before is None:
            continue
        due = turn.before.next_due
        if due is None or due > turn.now:
            assert not turn.events
        elif not turn.events:
            assert _only_held(run.definition, turn.before, turn.now)


def _only_held(definition: Definition, state: SagaState, now: float) -> bool:
    """All that is due are undos whose turn it is not yet (L57)."""
    whole = unfolded(definition, state)
    undoing = [name for name, own in state.steps.items() if own.undoing]
    due = [
        (name, own)
        for name, own in state.steps.items()
        if (work := own.undo or own.do).due is not None and work.due <= now
    ]
    return all(
        own.undoing and any(name in whole.steps[other].ancestors for other in undoing)
        for name, own in due
    )


def l53_in_a_fair_world_every_saga_is_closed(run: Run) -> None:
    assert run.saga.closed is not None


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

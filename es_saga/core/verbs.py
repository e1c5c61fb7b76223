"""What operators may do, and when: every verb is an event with actor and reason (law L34).

Illegal in the saga's state: IllegalOperation, nothing recorded. One exception: a cancel that comes
after the pivot is refused *with a recorded reason* (law L17).

    verb        legal where                                  what it does
    cancel      it goes forward                              as compensate, or records the refusal
    compensate  it goes forward, and the pivot is not begun  undoes it
    retry       it is stuck                                  asks again for what was given up
    skip        it is stuck after the pivot, or at an undo   waives that
    resolve     it is stuck                                  says what became of the work
    resume      something waits for its next attempt, or     does it now
                a function of the saga's own raised
    resend      something is in flight                       sends it again, as another attempt
"""

from __future__ import annotations

from es_saga.core.compiled import StepDefinition
from es_saga.core.errors import ConflictError, IllegalOperation, InvalidInput, NotFound
from es_saga.core.events import (
    OperatorCancelled,
    OperatorCompensated,
    OperatorResent,
    OperatorResolved,
    OperatorResumed,
    OperatorRetried,
    OperatorSkipped,
)
from es_saga.core.inputs import (
    Cancel,
    Compensate,
    OperatorVerb,
    Resend,
    Resolve,
    Resume,
    RetryStuck,
    Skip,
)
from es_saga.core.messages import Direction, Outcome, of_each
from es_saga.core.reaction import Reaction
from es_saga.core.state import GIVEN_UP, SagaState, SagaStatus, StepState, Work, WorkStatus


def operate(reaction: Reaction, verb: OperatorVerb) -> None:
    """Emit the operator's event, once a message.

    Raises:
        IllegalOperation: the state does not allow it; the message says why.
        ConflictError: it is not at the expected version any more.
        NotFound: no such step.
        InvalidInput: no actor or reason, or a reply that does not fit.
    """
    state = reaction.state
    if not verb.actor.strip() or not verb.reason.strip():
        raise InvalidInput("Say who intervenes and why.", hint="Give an actor and a reason.")
    if verb.message_id in state.verbs:
        return
    if verb.expected_version not in (None, state.version):
        raise ConflictError(
            f"Saga {state.saga_id} is at version {state.version}, not {verb.expected_version}.",
            hint=f"Look at it again with `es-saga status {state.saga_id}`, then decide anew.",
        )
    if state.closed is not None:
        raise IllegalOperation(f"Saga {state.saga_id} is {state.status}: it is closed.")
    match verb:
        case Cancel():
            _cancel(reaction, verb)
        case Compensate():
            _compensate(reaction, verb)
        case Resume():
            _resume(reaction, verb)
        case Resend():
            _resend(reaction, verb)
        case _:
            _mend(reaction, verb)


def _mend(reaction: Reaction, verb: RetryStuck | Skip | Resolve) -> None:
    state = reaction.state
    if state.status is not SagaStatus.STUCK:
        sooner = "It goes on by itself; `resume` and `resend` have it go on sooner."
        hint = _awaited(reaction) or sooner
        raise IllegalOperation(f"Saga {state.saga_id} is {state.status}, not stuck.", hint=hint)
    if isinstance(verb, RetryStuck):
        _retry(reaction, verb)
    elif isinstance(verb, Skip):
        _skip(reaction, verb)
    else:
        _resolve(reaction, verb)


# ── turning back ─────────────────────────────────────────────────────────────────────────────────


def _cancel(reaction: Reaction, verb: Cancel) -> None:
    refused = _no_way_back(reaction)
    reaction.emit(
        OperatorCancelled(
            at=reaction.now,
            cause=verb.message_id,
            actor=verb.actor,
            reason=verb.reason,
            refused=refused,
        )
    )
    if refused is None:
        reaction.turn_back(f"cancelled: {verb.reason}", None)


def _compensate(reaction: Reaction, verb: Compensate) -> None:
    refused = _no_way_back(reaction)
    if refused is not None:
        raise IllegalOperation(
            f"Saga {reaction.state.saga_id} cannot be undone: {refused}.",
            hint="Once it is stuck: retry it, or resolve or skip what it is stuck at.",
        )
    reaction.emit(
        OperatorCompensated(
            at=reaction.now, cause=verb.message_id, actor=verb.actor, reason=verb.reason
        )
    )
    reaction.turn_back(f"turned back: {verb.reason}", None)


def _no_way_back(reaction: Reaction) -> str | None:
    """Why what goes forward cannot be turned back; None: it can."""
    state = reaction.state
    if state.backward and state.back_to is None:
        raise IllegalOperation(f"Saga {state.saga_id} is being compensated already.")
    if not reaction.definition.conducted:
        raise IllegalOperation(
            f"Nobody conducts saga {state.saga_id}: it is only watched.",
            hint="Have one of its services publish the event that turns it back.",
        )
    if not reaction.pivot_begun():
        return None
    if state.held:
        return "it is done, and the saga that runs it decides what becomes of it"
    pivot = reaction.definition.pivot
    if pivot is None:
        return "all of it is done and is being made final: the saga can only go on"
    if state.steps[pivot].do.status is WorkStatus.SUCCEEDED:
        return f"the pivot {pivot} has succeeded: the saga can only go on"
    return f"the pivot {pivot} is under way and its outcome not known yet"


# ── going on sooner ──────────────────────────────────────────────────────────────────────────────


def _resume(reaction: Reaction, verb: Resume) -> None:
    state = reaction.state
    found = _live(reaction, verb.step, WorkStatus.BACKOFF)
    stuck_at = state.stuck.step if state.stuck is not None else None
    if stuck_at is not None and verb.step in (None, stuck_at) and _nothing_sent(state, stuck_at):
        found.append(stuck_at)
    if not found:
        raise IllegalOperation(_nothing_to(reaction, verb), hint=_instead(reaction, verb))
    for name in found:
        reaction.emit(
            OperatorResumed(
                at=reaction.now,
                cause=verb.message_id,
                actor=verb.actor,
                reason=verb.reason,
                step=name,
                direction=Direction.UNDO if state.backward else Direction.DO,
            )
        )


def _resend(reaction: Reaction, verb: Resend) -> None:
    state = reaction.state
    found = _live(reaction, verb.step, WorkStatus.STARTED)
    if not found:
        raise IllegalOperation(_nothing_to(reaction, verb), hint=_instead(reaction, verb))
    for name in found:
        work = _live_work(state, state.steps[name])
        assert work is not None, "it is in flight"
        reaction.emit(
            OperatorResent(
                at=reaction.now,
                cause=verb.message_id,
                actor=verb.actor,
                reason=verb.reason,
                step=name,
                direction=Direction.UNDO if state.backward else Direction.DO,
                attempt=work.attempt,
            )
        )


def _live(reaction: Reaction, step: str | None, status: WorkStatus) -> list[str]:
    """Steps whose work, in the direction in which the saga goes, stands so and may be sent.

    On the way back no step is asked for again (law L09), and no undo whose turn it is not (L57).
    What nobody was asked for is not asked for again.
    """
    state, steps = reaction.state, reaction.definition.steps
    if step is not None:
        _known(reaction, step)
    return [
        name
        for name, own in state.steps.items()
        if step in (None, name)
        and (work := _live_work(state, own)) is not None
        and work.status is status
        and not (status is WorkStatus.STARTED and steps[name].asks_nobody)
        and not reaction.held(steps[name])
    ]


def _live_work(state: SagaState, own: StepState) -> Work | None:
    return own.undo if state.backward else own.do


def _nothing_to(reaction: Reaction, verb: Resume | Resend) -> str:
    state = reaction.state
    lacking = "waits for another attempt" if isinstance(verb, Resume) else "is in flight"
    if verb.step is None:
        return f"Nothing of saga {state.saga_id}, which is {state.status}, {lacking}."
    own = state.steps.get(verb.step)
    work = None if own is None else _live_work(state, own)
    what = f"The undo of {verb.step}" if state.backward else verb.step
    if work is not None and work.open and reaction.held(reaction.definition.steps[verb.step]):
        return f"{what} waits until what depends on it is undone."
    return f"{what} is {'not begun' if work is None else work.status}: nothing {lacking} there."


def _instead(reaction: Reaction, verb: Resume | Resend) -> str:
    """What an operator may want, where there was nothing to send."""
    state = reaction.state
    if state.backward and any(own.do.open for own in state.steps.values()):
        return "A step is in flight, and is not asked for again: its answer decides what is owed."
    if _live(reaction, None, WorkStatus.STARTED) and isinstance(verb, Resume):
        return f"What is in flight is sent again by `es-saga resend {state.saga_id}`."
    if _live(reaction, None, WorkStatus.BACKOFF) and isinstance(verb, Resend):
        return f"What waits is sent at once by `es-saga resume {state.saga_id}`."
    if state.stuck is not None:
        return "It is stuck: retry it, or resolve or skip what it is stuck at."
    return _awaited(reaction) or f"`es-saga status {state.saga_id}` says what it waits for."


def _awaited(reaction: Reaction) -> str | None:
    """What a saga waits for, and how that comes; None: for the answers of those it has asked."""
    state, steps = reaction.state, reaction.definition.steps
    if state.held:
        return "It is done, and held until the saga that runs it ends."
    if not reaction.definition.conducted:
        return "Nobody conducts it: it goes on when its services publish what is expected."
    for name in state.waiting:
        wait = steps[name].wait
        if wait is None or wait.message is None:
            return f"It sleeps until {name} is over."
        told = f"`es-saga signal {state.saga_id} {steps[name].asks} --input …` tells it."
        return f"It waits for {steps[name].asks}: {told}"
    return None


# ── what is stuck ────────────────────────────────────────────────────────────────────────────────


def _known(reaction: Reaction, step: str) -> StepDefinition:
    found = reaction.definition.steps.get(step)
    if found is None:
        names = ", ".join(reaction.definition.steps)
        raise NotFound(f"Saga type {reaction.definition.name!r} has no step {step!r}: {names}.")
    return found


def _retry(reaction: Reaction, verb: RetryStuck) -> None:
    state = reaction.state
    if verb.step is not None:
        _known(reaction, verb.step)
    stuck_at = state.stuck.step if state.stuck else None
    raised = stuck_at is not None and _nothing_sent(state, stuck_at)
    candidates = [
        name
        for name, own in state.steps.items()
        if (work := own.undo if state.backward else own.do) is not None and work.status in GIVEN_UP
    ]
    if raised and stuck_at is not None:
        candidates.append(stuck_at)
    if verb.step is not None and verb.step not in candidates:
        raise IllegalOperation(
            f"{verb.step} is not what saga {state.saga_id} is stuck at: "
            f"{', '.join(candidates) or stuck_at}."
        )
    if not candidates:
        raise IllegalOperation(
            f"Whether {stuck_at} was done is unknown, and sending it again could do it.",
            hint=f"Find out, then `es-saga resolve {state.saga_id} --step {stuck_at}`.",
        )
    reaction.emit(
        OperatorRetried(
            at=reaction.now,
            cause=verb.message_id,
            actor=verb.actor,
            reason=verb.reason,
            step=verb.step,
        )
    )


def _nothing_sent(state: SagaState, step: str) -> bool:
    """Stuck because a step's or an undo's own function raised: calling it again is the retry."""
    own = state.steps.get(step)
    if own is None:
        return True
    return state.backward and own.undo is None and bool(state.stuck and state.stuck.detail)


def _skip(reaction: Reaction, verb: Skip) -> None:
    state = reaction.state
    step = _known(reaction, verb.step)
    own = state.steps.get(verb.step)
    if state.backward:
        if not (reaction.owes_undo(step) and own is not None and _undo_given_up(state, verb.step)):
            raise IllegalOperation(f"No failed compensation of {verb.step} is owed.")
    else:
        if not step.after_pivot:
            raise IllegalOperation(
                f"{verb.step} is not after the pivot: skipping it would leave work undone.",
                hint="Cancel the saga, or retry the step.",
            )
        if own is not None and own.do.status not in GIVEN_UP:
            raise IllegalOperation(f"{verb.step} is {own.do.status}: there is nothing to skip.")
        if own is None and not (state.stuck and state.stuck.step == verb.step):
            raise IllegalOperation(f"{verb.step} has not begun.")
        for other in reaction.definition.steps.values():
            if other.name not in state.steps and any(
                b.source in (verb.step, of_each(verb.step)) for b in other.binds
            ):
                raise IllegalOperation(
                    f"{other.name} needs the reply of {verb.step}.",
                    hint=f"Use `resolve --step {verb.step}` with a reply instead.",
                )
    reaction.emit(
        OperatorSkipped(
            at=reaction.now,
            cause=verb.message_id,
            actor=verb.actor,
            reason=verb.reason,
            step=verb.step,
        )
    )


def _undo_given_up(state: SagaState, step: str) -> bool:
    undo = state.steps[step].undo
    if undo is None:
        return state.stuck is not None and state.stuck.step == step
    return undo.status in GIVEN_UP


def _resolve(reaction: Reaction, verb: Resolve) -> None:
    state = reaction.state
    step = _known(reaction, verb.step)
    own = state.steps.get(verb.step)
    work = None if own is None else own.do if verb.direction is Direction.DO else own.undo
    if work is None or work.status not in GIVEN_UP:
        raise IllegalOperation(
            f"{verb.step} ({verb.direction}) is {work.status if work else 'not begun'}: "
            f"there is nothing to resolve."
        )
    if verb.outcome is Outcome.FAILED:
        raise InvalidInput("Work is resolved as succeeded or refused.")
    reply = None
    if verb.direction is Direction.UNDO:
        if verb.outcome is Outcome.REFUSED:
            raise InvalidInput(
                "A compensation is resolved as succeeded.", hint="To give it up, `skip` it."
            )
    elif verb.outcome is Outcome.SUCCEEDED:
        reply = step.check_reply(verb.reply)
    elif step.after_pivot:
        raise IllegalOperation(f"{verb.step} comes after the pivot: it cannot end refused.")
    if verb.direction is Direction.DO and own is not None and own.undo is not None:
        raise IllegalOperation(f"The compensation of {verb.step} was issued already.")
    if (
        verb.direction is Direction.DO
        and verb.outcome is Outcome.SUCCEEDED
        and state.backward
        and work.status is not WorkStatus.UNKNOWN
    ):
        raise IllegalOperation(
            f"{verb.step} is known not to have been done, and the saga is being undone.",
            hint="Whoever has done it by hand since has to undo it by hand.",
        )
    reaction.emit(
        OperatorResolved(
            at=reaction.now,
            cause=verb.message_id,
            actor=verb.actor,
            reason=verb.reason,
            step=verb.step,
            direction=verb.direction,
            outcome=verb.outcome,
            reply=reply,
        )
    )

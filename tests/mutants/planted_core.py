"""Mistakes of an interpreter that its scenes show best, and those of time and of operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from es_saga.core import aggregate, decide, interventions, replies, verbs, verify
from es_saga.core.compiled import StepDefinition
from es_saga.core.errors import IllegalOperation
from es_saga.core.events import OperatorResent, OperatorRetried, StepSucceeded
from es_saga.core.inputs import Cancel, Reply, Resume, RetryStuck
from es_saga.core.messages import CommandKey, Direction, Outcome
from es_saga.core.policy import Retry
from es_saga.core.reaction import Reaction
from es_saga.core.state import GIVEN_UP, SagaState, SagaStatus, StepState, Work, WorkStatus


def takes_a_refusal_for_an_error(patch: pytest.MonkeyPatch) -> None:
    real = replies.credit

    def credit(reaction: Reaction, reply: Reply) -> None:
        if reply.outcome is Outcome.REFUSED:
            reply = reply._replace(outcome=Outcome.FAILED)
        real(reaction, reply)

    patch.setattr(decide, "credit", credit)


def announces_a_refusal_when_no_answer_comes(patch: pytest.MonkeyPatch) -> None:
    """The card was charged, the answer could not be published: "payment failed"."""

    def pass_do_time(reaction: Reaction, step: StepDefinition, own: StepState) -> None:
        if own.do.status is WorkStatus.STARTED and (own.do.due or 0) <= reaction.now:
            key = CommandKey(reaction.state.saga_id, step.name, Direction.DO, own.do.round)
            reaction.cause = f"nothing came for {step.name}"
            refusal = Reply(key, own.do.attempt, Outcome.REFUSED, "PaymentFailed", {}, "")
            replies.credit(reaction, refusal)

    patch.setattr(decide, "_pass_do_time", pass_do_time)


def forgets_which_message_came(patch: pytest.MonkeyPatch) -> None:
    real = Reaction.__init__

    def init(self: Reaction, *of: Any) -> None:
        real(self, *of)
        self.cause = None

    patch.setattr(Reaction, "__init__", init)


def counts_attempts_from_nought(patch: pytest.MonkeyPatch) -> None:
    def succeeded(*, attempt: int, **fields: Any) -> StepSucceeded:
        return StepSucceeded(attempt=attempt - 1, **fields)

    patch.setattr(replies, "StepSucceeded", succeeded)


def accepts_steps_without_an_undo(patch: pytest.MonkeyPatch) -> None:
    def check_compensation(*of: Any) -> None:
        """Nothing."""

    patch.setattr(vars(verify)["Verifier"], "check_compensation", check_compensation)


def undoes_what_the_pivot_made_final(patch: pytest.MonkeyPatch) -> None:
    def give_up(reaction: Reaction, step: StepDefinition, own: StepState) -> None:
        reaction.turn_back(own.do.error or "unknown", step.name)

    patch.setattr(decide, "_give_up", give_up)


def starts_what_follows_the_pivot_at_once(patch: pytest.MonkeyPatch) -> None:
    real = vars(decide)["_go_forward"]

    def go_forward(reaction: Reaction) -> None:
        real(reaction)
        for name, step in reaction.definition.steps.items():
            if name not in reaction.state.steps and not reaction.state.closed:
                reaction.begin(step)

    patch.setattr(decide, "_go_forward", go_forward)


def goes_on_while_it_undoes(patch: pytest.MonkeyPatch) -> None:
    real = vars(decide)["_go_backward"]

    def go_backward(reaction: Reaction) -> None:
        for name, step in reaction.definition.steps.items():
            if name not in reaction.state.steps:
                reaction.state = reaction.state._replace(backward=False)
                reaction.begin(step)
                reaction.state = reaction.state._replace(backward=True)
        real(reaction)

    patch.setattr(decide, "_go_backward", go_backward)


def waits_less_each_time(patch: pytest.MonkeyPatch) -> None:
    def wait(self: Retry, command_id: str, attempt: int) -> float:
        return self.first.total_seconds() / attempt

    patch.setattr(Retry, "wait", wait)


def tries_once_more_than_it_may(patch: pytest.MonkeyPatch) -> None:
    real = Retry.another

    def another(self: Retry, attempt: int, error: str | None = None) -> bool:
        return real(self, attempt - 1, error)

    patch.setattr(Retry, "another", another)


def drops_a_cancel_that_came_too_late(patch: pytest.MonkeyPatch) -> None:
    real = vars(verbs)["_cancel"]

    def cancel(reaction: Reaction, verb: Cancel) -> None:
        before = len(reaction.events)
        real(reaction, verb)
        if reaction.pivot_begun():
            last = reaction.events[before]
            reaction.events[before] = last.model_copy(update={"refused": None})

    patch.setattr(verbs, "_cancel", cancel)


def asks_again_under_a_new_id(patch: pytest.MonkeyPatch) -> None:
    real = Reaction.id_of

    def id_of(self: Reaction, step: str, direction: Direction, round: int = 1) -> str:
        own = self.state.steps.get(step)
        again = own.do.attempt if own is not None and direction is Direction.DO else 0
        return real(self, step, direction, round + again)

    patch.setattr(Reaction, "id_of", id_of)


def sends_again_what_had_succeeded(patch: pytest.MonkeyPatch) -> None:
    """An operator's retry takes in every step."""
    patch.setattr(interventions, "GIVEN_UP", frozenset({*GIVEN_UP, WorkStatus.SUCCEEDED}))


def retries_under_the_refused_key(patch: pytest.MonkeyPatch) -> None:
    def again(work: Work, at: float) -> Work:
        return work._replace(status=WorkStatus.BACKOFF, due=at, ended=None)

    patch.setattr(interventions, "_again", again)


def undoes_whatever_an_operator_wants_undone(patch: pytest.MonkeyPatch) -> None:
    def no_way_back(reaction: Reaction) -> None:
        if reaction.state.backward:
            raise IllegalOperation

    patch.setattr(verbs, "_no_way_back", no_way_back)


def takes_what_was_resent_for_not_done(patch: pytest.MonkeyPatch) -> None:
    """The attempt that nobody waited for is forgotten, and the next one fails for certain."""
    rules = vars(aggregate)["_RULES"]
    real: Callable[[SagaState, OperatorResent], SagaState] = rules[OperatorResent]

    def resent(state: SagaState, event: OperatorResent) -> SagaState:
        before, after = state.steps[event.step], real(state, event)
        own = after.steps[event.step]
        do = own.do._replace(unanswered=before.do.unanswered)
        return after._replace(steps={**after.steps, event.step: own._replace(do=do)})

    patch.setitem(rules, OperatorResent, resent)


def does_not_say_that_it_was_resumed(patch: pytest.MonkeyPatch) -> None:
    def resume(reaction: Reaction, verb: Resume) -> None:
        for name, own in reaction.state.steps.items():
            if own.do.status is WorkStatus.BACKOFF and not reaction.state.backward:
                reaction.send_again(reaction.definition.steps[name])

    patch.setattr(verbs, "_resume", resume)


def forgets_who_intervened(patch: pytest.MonkeyPatch) -> None:
    real = vars(verbs)["operate"]

    def operate(reaction: Reaction, verb: Any) -> None:
        real(reaction, verb)
        reaction.events[:] = [
            one.model_copy(update={"actor": ""}) if "actor" in one.__dict__ else one
            for one in reaction.events
        ]

    patch.setattr(decide, "operate", operate)


def lets_a_running_saga_be_retried(patch: pytest.MonkeyPatch) -> None:
    real = vars(verbs)["operate"]

    def operate(reaction: Reaction, verb: Any) -> None:
        if reaction.state.closed is None and isinstance(verb, RetryStuck):
            _note_retry(reaction, verb)
        else:
            real(reaction, verb)

    patch.setattr(decide, "operate", operate)


def _note_retry(reaction: Reaction, verb: RetryStuck) -> None:
    if verb.message_id not in reaction.state.verbs:
        reaction.emit(
            OperatorRetried(
                at=reaction.now, cause=verb.message_id, actor=verb.actor, reason=verb.reason
            )
        )


def takes_every_timer_for_due(patch: pytest.MonkeyPatch) -> None:
    real = vars(decide)["_pass_do_time"]

    def pass_do_time(reaction: Reaction, step: StepDefinition, own: StepState) -> None:
        due = None if own.do.due is None else reaction.now
        real(reaction, step, own._replace(do=own.do._replace(due=due)))

    patch.setattr(decide, "_pass_do_time", pass_do_time)


def undoes_after_the_end(patch: pytest.MonkeyPatch) -> None:
    """Whatever it has completed is undone when somebody cancels."""
    real = vars(decide)["_go_forward"]

    def go_forward(reaction: Reaction) -> None:
        real(reaction)
        if reaction.state.closed is not None:
            reaction.state = reaction.state._replace(closed=None, status=SagaStatus.RUNNING)
            reaction.turn_back("changed my mind", None)

    patch.setattr(decide, "_go_forward", go_forward)

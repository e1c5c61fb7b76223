"""A reference participant: a fence and a list of effects, as small as it can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from es_saga.core.inputs import Reply
from es_saga.core.messages import CommandKey, Direction, Outcome, command_id
from es_saga.testing.story import Effect


class Answer(NamedTuple):
    outcome: Outcome
    error: str = ""
    retry_after: float | None = None


SUCCEEDED = Answer(Outcome.SUCCEEDED)
REFUSED = Answer(Outcome.REFUSED)


@dataclass
class Service:
    """Acts once a key; an undo before its command is remembered (laws L19 to L25)."""

    fence: dict[CommandKey, Answer] = field(default_factory=dict[CommandKey, Answer])
    failures: dict[tuple[CommandKey, int], Answer] = field(
        default_factory=dict[tuple[CommandKey, int], Answer]
    )
    """What was answered with a failure stays one for that attempt and those before it."""
    effects: list[Effect] = field(default_factory=list[Effect])

    def handle(
        self, key: CommandKey, undoes: CommandKey, attempt: int, wish: Answer, at: float
    ) -> Reply:
        """Answer one delivery of a command; `wish` is what happens if it has to run."""
        return reply_to(key, attempt, self._answer(key, undoes, attempt, wish, at))

    def _answer(
        self, key: CommandKey, undoes: CommandKey, attempt: int, wish: Answer, at: float
    ) -> Answer:
        known = self.fence.get(key)
        if known is not None:
            return known
        for (failed, until), failure in self.failures.items():
            if failed == key and attempt <= until:
                return failure
        if key.direction is Direction.UNDO:
            forward = self.fence.get(undoes)
            if forward is None or forward.outcome is Outcome.REFUSED:
                self.fence.setdefault(undoes, REFUSED)
                self.fence[key] = SUCCEEDED
                return SUCCEEDED
        if wish.outcome is Outcome.FAILED:
            self.failures[key, attempt] = wish
            return wish
        self.settle(key, wish.outcome, at)
        return wish

    def settle(self, key: CommandKey, outcome: Outcome, at: float) -> None:
        """Do it, or refuse it, for good; also what an operator does by hand."""
        self.fence[key] = Answer(outcome)
        if outcome is Outcome.SUCCEEDED:
            saga_id, step, direction, _ = key
            self.effects.append(Effect(saga_id, step, direction, command_id(*key), at))


def reply_to(key: CommandKey, attempt: int, answer: Answer) -> Reply:
    """The message that carries an answer."""
    data: object = None
    if answer.outcome is Outcome.SUCCEEDED and key.direction is Direction.DO:
        data = {"step": key.step}
    elif answer.outcome is Outcome.REFUSED:
        data = {"why": "no"}
    elif answer.outcome is Outcome.FAILED:
        data = {"error": answer.error, "detail": "as told"}
    kind = {Outcome.SUCCEEDED: "Done", Outcome.REFUSED: "No", Outcome.FAILED: answer.error}
    message_id = f"{key.saga_id}/{key.step}/{key.direction}-{key.round}/{attempt}/r"
    return Reply(
        key,
        attempt,
        answer.outcome,
        kind[answer.outcome],
        data,
        message_id,
        retry_after=answer.retry_after,
    )

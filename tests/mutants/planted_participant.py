"""Mistakes of a participant: of its fence, and of what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from es_saga.core.messages import Envelope, Outcome
from es_saga.participant import fence, reply, runner
from es_saga.participant.fence import Record, Rule, Status, Verdict, is_undo
from es_saga.participant.reply import Answer
from es_saga.participant.work import Work
from tests.testing import faulty


def forgets_the_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runner, "judge", faulty.no_fence)


def forgets_an_undo_that_came_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runner, "judge", faulty.hanging_fence)


def has_a_fence_for_commands_and_none_for_undos(patch: pytest.MonkeyPatch) -> None:
    def judge(command: Envelope, known: Mapping[str, Record]) -> Verdict:
        verdict = fence.judge(command, known)
        return Verdict(Rule.RUN) if is_undo(command) else verdict

    patch.setattr(runner, "judge", judge)


def announces_a_failure_once_the_answer_was_lost(patch: pytest.MonkeyPatch) -> None:
    """It charged, its publish failed, and whoever asks again hears that it was refused."""

    def judge(command: Envelope, known: Mapping[str, Record]) -> Verdict:
        rule, record = fence.judge(command, known)
        if rule is Rule.REPEAT and record is not None and record.status == Status.SUCCEEDED:
            record = record._replace(status=Status.REFUSED)
        return Verdict(rule, record)

    patch.setattr(runner, "judge", judge)


# ── the kit alone ────────────────────────────────────────────────────────────────────────────────


def remembers_nothing(patch: pytest.MonkeyPatch) -> None:
    def remember(connection: sa.Connection, records: Sequence[Record]) -> None:
        """Nothing."""

    patch.setattr(runner, "remember", remember)


def keeps_what_it_wrote_before_it_refused(patch: pytest.MonkeyPatch) -> None:
    def has_written(self: Work) -> bool:
        return False

    patch.setattr(Work, "has_written", has_written)


def answers_a_refusal_with_an_error(patch: pytest.MonkeyPatch) -> None:
    def answer_of(*of: Any) -> Answer:
        answer = reply.answer_of(*of)
        if answer.outcome is Outcome.REFUSED:
            raise RuntimeError(answer.type)
        return answer

    patch.setattr(runner, "answer_of", answer_of)

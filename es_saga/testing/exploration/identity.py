"""When two situations are the same to every future: the key they are told apart by.

Kept: how each step and undo stands, what its participant remembers, how many attempts are left, the
operator's rounds. Left out: times, attempt numbers that no policy counts, message ids, the wording
of errors, the order in which independent steps began, and which of several interchangeable steps is
in which state.
"""

from __future__ import annotations

from collections.abc import Mapping

from es_saga.core.messages import Direction
from es_saga.core.state import UNDECIDED, StepState, Work, WorkStatus
from es_saga.testing.exploration.moves import Situation
from es_saga.testing.exploration.roles import Role, interchangeable

Key = tuple[object, ...]


class Identity:
    """The key of a situation, for the steps of one definition."""

    def __init__(self, roles: Mapping[str, Role], *, symmetry: bool) -> None:
        self._roles = roles
        self._groups = interchangeable(roles) if symmetry else []

    def __call__(self, situation: Situation) -> Key:
        saga = situation.saga
        stuck = saga.stuck
        stuck_at = stuck.step if stuck is not None else None
        parts: list[object] = []
        for name, role in self._roles.items():
            own = saga.steps.get(name)
            here = stuck_at == name
            parts.append((here, _step(own, role, situation)) if own is not None else here)
        for group in self._groups:  # sorted by hash: any order will do that depends on them alone
            for place, part in zip(
                group, sorted((parts[at] for at in group), key=hash), strict=True
            ):
                parts[place] = part
        raised = stuck is not None and bool(stuck.detail)
        heard = tuple(sorted(saga.signals))
        family = saga.held, saga.decided is not None and saga.decided.close
        course = (saga.status, saga.backward, saga.back_to, saga.ways)
        return (*course, saga.deadline_noted, raised, heard, family, *parts)


def _step(own: StepState, role: Role, situation: Situation) -> Key:
    do = _work(own.do, role, Direction.DO, situation)
    undo = None if own.undo is None else _work(own.undo, role, Direction.UNDO, situation)
    done = all(work.status is WorkStatus.SUCCEEDED for work in (own.do, own.undo or own.do))
    return not done and own.late, do, undo


def _work(work: Work, role: Role, direction: Direction, situation: Situation) -> Key:
    services, status = situation.services, work.status
    slot = role.slot(direction, work.round)
    settled = services.fates.get(slot)
    if status is WorkStatus.SUCCEEDED and settled is not None:
        return status, settled.fate  # how it came to succeed makes no difference any more
    left: object = None
    if status in UNDECIDED:
        most = role.policy(direction).attempts
        left = (0 if most is None else max(most - work.attempt, 0), work.unanswered > 0)
    if settled is not None:
        return status, work.round, left, settled.fate
    failures = services.failures
    latest = failures.get((slot, work.attempt))
    sent = range(situation.asked.get(slot, work.attempt), work.attempt)
    older = any((slot, attempt) not in failures for attempt in sent)
    return status, work.round, left, latest, older

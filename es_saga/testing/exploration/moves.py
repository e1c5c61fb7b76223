"""What can happen next to a saga among unreliable messages: every move, from any situation.

The network needs no memory of its own. Delivery is at least once and in any order, so whatever was
sent may arrive now, again, late, or never; and what was sent follows from the saga's state. So does
a crash of the process manager: between commit and publish it is a command that was not delivered
(and is sent again under the same id), before the commit it is an answer that did not arrive.

Time is abstract: whatever is waited for may end at any moment, alone or together with all else that
is due. This allows every order of timers that real clocks can bring about, and some that they
cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from es_saga.core.compiled import StepKind
from es_saga.core.events import CompensationIssued, SagaEvent, StepRetried, StepStarted
from es_saga.core.inputs import (
    Cancel,
    Compensate,
    FromParent,
    Input,
    Reply,
    Resend,
    Resolve,
    Resume,
    RetryStuck,
    Signal,
    Skip,
    Start,
    Tick,
)
from es_saga.core.messages import CommandKey, Direction, Outcome
from es_saga.core.state import GIVEN_UP, SagaState, StepState, Work, WorkStatus
from es_saga.testing.exploration.bounds import Bounds
from es_saga.testing.exploration.roles import Role
from es_saga.testing.exploration.services import ANSWERS, Delivery, Fate, Services, Slot, Wish

OPERATOR = "operator"

AFTERWARDS = 1e-3
"""Seconds by which a timer that is not looked at yet is put off."""


_NOTHING: Mapping[Slot, int] = MappingProxyType({})


class Situation(NamedTuple):
    """A saga's state, what its participants did and remember, and the time."""

    saga: SagaState
    services: Services
    now: float
    asked: Mapping[Slot, int] = _NOTHING
    """The first attempt under each command id; those up to the present one followed."""


class Move(NamedTuple):
    """One thing that can happen: outside first, then `input`, if any, reaches the saga."""

    what: str
    faults: int
    """How far it is from the good course: 0 or 1."""
    before: Situation
    input: Input | None = None


class Unit(NamedTuple):
    """One direction of one step that was asked for."""

    role: Role
    own: StepState
    work: Work
    direction: Direction
    slot: Slot
    first: int
    """Its first attempt under this command id."""

    @property
    def label(self) -> str:
        name = self.role.step.name
        return name if self.direction is Direction.DO else f"the undo of {name}"

    @property
    def silence(self) -> str:
        """What it is when nothing is heard of it."""
        observed, attempt = self.role.step.observed, self.work.attempt
        if observed is None:
            return f"no answer to {self.label} (attempt {attempt}) in time"
        told = observed.done if self.direction is Direction.DO else observed.undone
        assert told is not None, "it is undone by an event"
        return f"{told.__name__} does not come in time (attempt {attempt})"

    def delivery(self, saga_id: str, attempt: int) -> Delivery:
        quiet = self.role.step.kind in (StepKind.CHECK, StepKind.WAIT)
        return Delivery(saga_id, self.slot, attempt, self.own.do.round, reads_only=quiet)


def units(situation: Situation, roles: Mapping[str, Role]) -> Iterator[Unit]:
    """Everything that was asked for, and not asked for anew since."""
    asked = situation.asked
    for name, own in situation.saga.steps.items():
        role = roles[name]
        slot = role.slot(Direction.DO, own.do.round)
        if slot in asked:
            yield Unit(role, own, own.do, Direction.DO, slot, asked[slot])
        if own.undo is None:
            continue
        slot = role.slot(Direction.UNDO, own.undo.round)
        if slot in asked:
            yield Unit(role, own, own.undo, Direction.UNDO, slot, asked[slot])


def note_asked(
    asked: Mapping[Slot, int],
    events: Iterable[SagaEvent],
    saga: SagaState,
    roles: Mapping[str, Role],
) -> Mapping[Slot, int]:
    """`asked` with what these events, which led to `saga`, ask for first."""
    for event in events:
        if not isinstance(event, StepStarted | StepRetried | CompensationIssued):
            continue
        own = saga.steps[event.step]
        undo = own.undo if isinstance(event, CompensationIssued) else None
        direction = Direction.DO if undo is None else Direction.UNDO
        slot = roles[event.step].slot(direction, (undo or own.do).round)
        if slot not in asked:
            asked = {**asked, slot: event.attempt}
    return asked


def moves(situation: Situation, roles: Mapping[str, Role], bounds: Bounds) -> Iterator[Move]:
    """All that can happen within the bounds, whatever the number of faults."""
    found = list(units(situation, roles))
    asked = [unit for unit in found if unit.role.step.wait is None]
    for unit in asked:
        yield from _participant(situation, unit, bounds)
    for unit in asked:
        yield from _answers(situation, unit)
    if situation.saga.closed is not None:
        return
    yield from _parent(situation)
    yield from _signals(situation, roles)
    yield from _timers(situation, found)
    if not bounds.operators:
        return
    if situation.saga.stuck is not None:
        yield from _operator(situation, found, bounds.rounds)
    if not situation.saga.backward:
        verb = Cancel(OPERATOR, "changed my mind", _verb_id(situation))
        yield Move("the operator cancels the saga", 1, situation, verb)
    yield from _meddling(situation, found)


# ── participants and messages ────────────────────────────────────────────────────────────────────


def _participant(situation: Situation, unit: Unit, bounds: Bounds) -> Iterator[Move]:
    """A command arrives for the first time, or the first time since it failed."""
    services, work = situation.services, unit.work
    if unit.slot in services.fates:
        return
    latest = (unit.slot, work.attempt) not in services.failures
    attempts = range(work.attempt, unit.first - 1, -1)
    attempt = next((a for a in attempts if (unit.slot, a) not in services.failures), None)
    if attempt is None:
        return
    undo = unit.direction is Direction.UNDO
    given_up = not undo or _may_fail(services, bounds.failing_undos)
    late = "" if latest and work.status is WorkStatus.STARTED else f", late (attempt {attempt})"
    wishes = [Wish.DO]
    if given_up and (unit.role.undo_refusal if undo else unit.role.refusal) is not None:
        wishes.append(Wish.REFUSE)
    if latest and work.status is WorkStatus.STARTED:
        unlimited = unit.role.policy(unit.direction).attempts is None
        wishes += [Wish.FAIL, Wish.FAIL_FOR_GOOD] if unlimited and given_up else [Wish.FAIL]
    delivery = unit.delivery(situation.saga.saga_id, attempt)
    seen: Services | None = None
    for wish in wishes:
        after = services.deliver(delivery, wish, situation.now)
        if after == seen:
            return  # there was nothing to undo, so it does not matter what it wished
        seen = after
        empty = after.fates.get(unit.slot, (None,))[0] is Fate.EMPTY
        verb = "finds nothing to undo for" if empty else wish.value
        what = f"{unit.slot.service} {verb} {unit.role.step.name if empty else unit.label}{late}"
        faults = int(bool(late) or wish is not Wish.DO)
        yield Move(what, faults, situation._replace(services=after))


def _may_fail(services: Services, most: int | None) -> bool:
    """Whether one more undo may fail for good."""
    if most is None:
        return True
    refused = [it.fate for slot, it in services.fates.items() if slot.direction is Direction.UNDO]
    failed = [it for (slot, _), it in services.failures.items() if slot.direction is Direction.UNDO]
    return refused.count(Fate.REFUSED) + failed.count(Wish.FAIL_FOR_GOOD) < most


def _answers(situation: Situation, unit: Unit) -> Iterator[Move]:
    """The answer to a command arrives, for the first time or again."""
    services, work = situation.services, unit.work
    settled = services.fates.get(unit.slot)
    asked = work.status is WorkStatus.STARTED
    if settled is not None:
        outcome = ANSWERS[settled.fate]
        retry_after = None
        attempts = {work.attempt: asked, settled.attempt: asked and settled.attempt == work.attempt}
    else:
        failure = services.failures.get((unit.slot, work.attempt))
        if failure is None:
            return
        outcome, retry_after = Outcome.FAILED, -1.0 if failure is Wish.FAIL_FOR_GOOD else None
        attempts = {work.attempt: asked}
    for attempt, awaited in attempts.items():
        how = "" if awaited else " late, or again"
        reply = _reply(situation, unit, attempt, outcome, retry_after)
        what = f"the answer to {unit.label} arrives{how}: {outcome}"
        yield Move(what, int(not awaited), situation, reply)


def _signals(situation: Situation, roles: Mapping[str, Role]) -> Iterator[Move]:
    """What the saga waits for comes, or comes before that."""
    saga = situation.saga
    for name, role in roles.items():
        kind, message = role.step.asks, role.reply
        wait = role.step.wait
        if wait is None or wait.message is None or message is None or kind in saga.signals:
            continue
        signal = Signal(kind, message, f"{saga.saga_id}/{kind}")
        if name in saga.waiting:
            yield Move(f"{kind} comes", 0, situation, signal)
        else:
            yield Move(f"{kind} comes, and is not waited for", 1, situation, signal)


def _parent(situation: Situation) -> Iterator[Move]:
    """The saga that runs it decides, once: it is undone at any time, closed when it is held."""
    saga = situation.saga
    parent = saga.origin.parent
    if parent is None or not parent.undoable or saga.decided is not None:
        return
    begin = Start(saga.saga_id, saga.origin.data, message_id="decided", parent=parent)
    undo = FromParent(begin, "undo", f"{parent.saga_id}/run/undo")
    yield Move("its parent has it undone", int(not saga.held), situation, undo)
    if saga.held:
        close = FromParent(begin, "close", f"{parent.saga_id}/close_run/do")
        yield Move("its parent has it closed", 0, situation, close)


def _reply(
    situation: Situation, unit: Unit, attempt: int, outcome: Outcome, retry_after: float | None
) -> Reply:
    key = CommandKey(situation.saga.saga_id, unit.slot.step, unit.direction, unit.slot.round)
    type, data = "None", None
    if outcome is Outcome.FAILED:
        type, data = "Unavailable", {"error": "Unavailable", "detail": ""}
    elif outcome is Outcome.REFUSED:
        undo = unit.direction is Direction.UNDO
        type, data = (unit.role.undo_refusal if undo else unit.role.refusal) or "Undone", {}
    elif unit.direction is Direction.DO:
        data = unit.role.reply
    message_id = f"{key.saga_id}/{key.step}/{key.direction}-{key.round}/{attempt}/r"
    return Reply(key, attempt, outcome, type, data, message_id, retry_after)


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


def _timers(situation: Situation, found: list[Unit]) -> Iterator[Move]:
    saga = situation.saga
    waiting = [unit for unit in found if unit.work.due is not None and unit.work.open]
    for unit in waiting:
        name = unit.role.step.name
        before = _due(situation, name)
        if unit.role.step.wait is not None:
            asleep = unit.role.step.wait.message is None
            yield Move(f"{name} has waited long enough", int(not asleep), before, Tick())
        elif unit.work.status is WorkStatus.STARTED:
            yield Move(unit.silence, 1, before, Tick())
        else:
            yield Move(f"{unit.label} is due again", 0, before, Tick())
    if len(waiting) > 1:
        last = max(unit.work.due or 0.0 for unit in waiting)
        before = situation._replace(
            saga=_put_off_deadline(saga, last), now=max(last, situation.now)
        )
        yield Move("everything that is waited for is due at once", 1, before, Tick())
    if saga.origin.deadline is not None and not saga.deadline_noted:
        before = _due(situation, None)
        yield Move("the saga's deadline passes", 1, before, Tick())


def _due(situation: Situation, step: str | None) -> Situation:
    """Now `step` is due and nothing else; None: the saga's deadline."""
    saga = situation.saga
    work = None if step is None else (saga.steps[step].undo or saga.steps[step].do)
    due = saga.origin.deadline if work is None else work.due
    assert due is not None, "it is waited for"
    now = max(due, situation.now)
    steps = {name: own if name == step else _put_off(own, now) for name, own in saga.steps.items()}
    saga = saga._replace(steps=steps)
    if step is not None:
        saga = _put_off_deadline(saga, now)
    return situation._replace(saga=saga, now=now)


def _put_off(own: StepState, now: float) -> StepState:
    work = own.undo or own.do
    if work.due is None or work.due > now:
        return own
    later = work._replace(due=now + AFTERWARDS)
    return own._replace(do=later) if own.undo is None else own._replace(undo=later)


def _put_off_deadline(saga: SagaState, now: float) -> SagaState:
    deadline = saga.origin.deadline
    if deadline is None or deadline > now:
        return saga
    return saga._replace(origin=saga.origin._replace(deadline=now + AFTERWARDS))


# ── operators ────────────────────────────────────────────────────────────────────────────────────


def _meddling(situation: Situation, found: list[Unit]) -> Iterator[Move]:
    """What an operator may do to a saga that could go on by itself."""
    saga, verb_id = situation.saga, _verb_id(situation)
    if not saga.backward:
        verb = Compensate(OPERATOR, "does not look right", verb_id)
        faults = 1 if saga.stuck is None else 0
        yield Move("the operator has the saga undone", faults, situation, verb)
    for unit in found:
        if saga.backward is not (unit.direction is Direction.UNDO):
            continue
        if unit.work.status is WorkStatus.BACKOFF:
            sooner = Resume(OPERATOR, "up again", verb_id, unit.slot.step)
            yield Move(f"the operator has {unit.label} go on at once", 1, situation, sooner)
        elif unit.work.status is WorkStatus.STARTED:
            again = Resend(OPERATOR, "waited enough", verb_id, unit.slot.step)
            yield Move(f"the operator has {unit.label} sent again", 1, situation, again)


def _operator(situation: Situation, found: list[Unit], rounds: int) -> Iterator[Move]:
    """Every verb on everything the saga may be stuck at. An operator tells the truth."""
    saga, verb_id = situation.saga, _verb_id(situation)
    given_up = [
        unit
        for unit in found
        if unit.work.status in GIVEN_UP and saga.backward == (unit.direction is Direction.UNDO)
    ]
    refused = [u for u in given_up if u.work.status is WorkStatus.REFUSED]
    if all(unit.slot.round < rounds for unit in refused):
        verb = RetryStuck(OPERATOR, "up again", verb_id)
        yield Move("the operator has it tried again", 0, situation, verb)
    if len(given_up) > 1:
        for unit in given_up:
            if unit.slot.round < rounds or unit not in refused:
                verb = RetryStuck(OPERATOR, "up again", verb_id, unit.slot.step)
                what = f"the operator has {unit.label} tried again"
                yield Move(what, 0, situation, verb)
    stuck_at = saga.stuck.step if saga.stuck else None
    skippable = dict.fromkeys([*(unit.slot.step for unit in given_up), *filter(None, [stuck_at])])
    for step in skippable:
        what = f"the operator waives {'the undo of ' if saga.backward else ''}{step}"
        yield Move(what, 0, situation, Skip(OPERATOR, "never mind", verb_id, step))
    for unit in found:
        if unit.work.status in GIVEN_UP:
            yield from _resolutions(situation, unit)


def _resolutions(situation: Situation, unit: Unit) -> Iterator[Move]:
    """What an operator finds at the participant, or makes true there by hand and then tells."""
    services, step, role = situation.services, unit.slot.step, unit.role
    settled = services.fates.get(unit.slot)
    delivery = unit.delivery(situation.saga.saga_id, unit.work.attempt)

    def told(what: str, services: Services, outcome: Outcome) -> Move:
        done = outcome is Outcome.SUCCEEDED and unit.direction is Direction.DO
        reply = role.reply if done else None
        verb_id = _verb_id(situation)
        verb = Resolve(OPERATOR, "looked", verb_id, step, unit.direction, outcome, reply)
        return Move(f"the operator {what}", 0, situation._replace(services=services), verb)

    if settled is not None and ANSWERS[settled.fate] is Outcome.SUCCEEDED:
        yield told(f"finds {unit.label} done", services, Outcome.SUCCEEDED)
        return
    if unit.direction is Direction.UNDO:
        forward = role.slot(Direction.DO, unit.own.do.round)
        known = services.fates.get(forward)
        if known is not None and known.fate is Fate.DONE:
            by_hand = services.carry_out(delivery, situation.now)
        else:
            by_hand = services.settle(unit.slot, Fate.EMPTY, unit.work.attempt)
            by_hand = by_hand if known else by_hand.settle(forward, Fate.UNDONE, 1)
        yield told(f"does {unit.label} by hand", by_hand, Outcome.SUCCEEDED)
        return
    by_hand = services.carry_out(delivery, situation.now)
    yield told(f"does {unit.label} by hand", by_hand, Outcome.SUCCEEDED)
    if settled is None:
        services = services.settle(unit.slot, Fate.REFUSED, unit.work.attempt)
    yield told(f"sees to it that {unit.label} is not done", services, Outcome.REFUSED)


def _verb_id(situation: Situation) -> str:
    """Another one for every verb of a run: each is an event, and so changes the version."""
    return f"verb-{situation.saga.version}"

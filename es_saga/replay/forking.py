"""What if: a history forked where somebody answers otherwise, and played on to its other end.

    fork = what_if(definition, replay, {"charge": "CardDeclined"})
    print(fork.version, fork.replay.state.status)

It all happens in memory and in virtual time. Until the fork the history is what it was. From there
on today's code decides. The same command, asked again, gets the answer that is on record, as long
after it was sent; operators do what they did, where that is still possible; what is not on record
is made up, and succeeds. What is waited for is an answer like any other, which the world outside
gives; a sleep and a save-point have none. Who runs the saga decides what it did.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from itertools import count, zip_longest
from typing import Final, NamedTuple

from es_saga.core.compiled import Definition
from es_saga.core.decide import react
from es_saga.core.errors import CorruptHistory, InvalidInput, SagaError
from es_saga.core.events import (
    Json,
    Parent,
    SagaEvent,
    SagaHeld,
    StepRetried,
    StepStarted,
)
from es_saga.core.inputs import FromParent, Input, Reply, Signal, Start, Tick
from es_saga.core.messages import (
    CommandKey,
    Direction,
    Outcome,
    command_id,
    parse_command_id,
)
from es_saga.core.nested import closing
from es_saga.core.state import SagaState, Sent, Work, WorkStatus
from es_saga.core.unfolding import unfolded
from es_saga.replay.again import decide_again
from es_saga.replay.answers import Answer, Refusals, answer_of, made_up, refusals_of
from es_saga.replay.cut import Steps, first_answer, steps_of
from es_saga.replay.inputs import DONE
from es_saga.replay.likeness import alike
from es_saga.replay.record import LAST, Attempt, Record, Told, attempt_of, sent_by, work_of
from es_saga.replay.replaying import Replay

ANSWER_SECONDS: Final = 0.05
"""How long an answer takes that is made up."""

MAX_TURNS: Final = 50_000
"""Inputs after which a saga that is played on goes in circles."""


class Fork(NamedTuple):
    """A history as it would have gone on."""

    replay: Replay
    """All of it, what was before the fork included."""
    version: int | None
    """The first event that tells another story than the history does; None: none does."""
    notes: tuple[str, ...]
    """What was made up, and what of the history had no place any more."""


def what_if(
    definition: Definition,
    replay: Replay,
    answers: Mapping[str, str | Json],
    *,
    refusals: Refusals | None = None,
) -> Fork:
    """Fork a history at the first answer to one of these steps.

    Args:
        answers: by step; see `es_saga.replay.answers` for what can be written. With none at all it
            is forked where today's code first decides otherwise.
        refusals: those that are known by name; default: those that stand beside the commands.

    Raises:
        InvalidInput: no such step, or it was never asked; no such answer; another version.
    """
    known = refusals_of(definition) if refusals is None else refusals
    steps = steps_of(definition, replay)
    data = replay.state.origin.data
    told: dict[str, Answer] = {}
    for step, answer in answers.items():
        if step not in steps:
            names = ", ".join(unfolded(definition, replay.state).steps)
            raise InvalidInput(f"Saga {definition.name!r} has no step {step!r}: {names}.")
        told[step] = answer_of(steps[step], answer, known, data)
    again = decide_again(definition, replay)
    asked = {step: steps[step] for step in told}
    cut = min(first_answer(replay, asked), again.version)
    play = _Play(definition, replay, Record(replay, again), told, asked, cut)
    play.play()
    forked = replay.with_events(play.events)
    return Fork(forked, _first_difference(replay, forked), tuple(play.notes))


def _first_difference(replay: Replay, forked: Replay) -> int | None:
    pairs = zip_longest(replay.events, forked.events)
    return next((n for n, (was, now) in enumerate(pairs, 1) if not alike(was, now)), None)


class _Play:
    """One saga, played on."""

    def __init__(
        self,
        definition: Definition,
        replay: Replay,
        record: Record,
        told: Mapping[str, Answer],
        asked: Steps,
        cut: int,
    ) -> None:
        self.events: list[SagaEvent] = list(replay.events[:cut])
        self.notes: list[str] = []
        self._definition = definition
        self._record = record
        self._told = told
        self._used: Counter[str] = Counter()
        self._state = replay.state_at(cut)
        self._now = replay.events[cut - 1].at if cut else replay.events[0].at
        self._waiting: list[tuple[float, int, int, Input]] = []
        """By time, and at one time in the order of the record."""
        self._number = count()
        self._saga_id = replay.saga_id
        self._data = replay.state.origin.data
        self._said = {step.asks: name for name, step in asked.items() if step.wait is not None}
        """What would come from outside, and the step that waits for it."""
        for verb in record.verbs:
            if verb.version > cut:
                self._bring(verb)
        if self._state is None:
            start = replay.reactions[0].input
            assert start is not None, "a history begins with one"
            self._feed(start)
        else:
            parent = self._state.origin.parent
            if self._state.held and parent is not None:
                self._hold(record.held or self._now, parent)
            self._await_what_is_in_flight(self._state, cut)

    # ── who answers what, and when ───────────────────────────────────────────────────────────────

    def _await_what_is_in_flight(self, state: SagaState, cut: int) -> None:
        """Answers that are still to come, also to attempts that nobody waits for."""
        for attempt, asked in self._record.asked.items():
            work = work_of(state, attempt.step, attempt.direction)
            if work is None or attempt.number > work.attempt:
                continue
            if self._is_told(attempt):
                if _in_flight(work, attempt):
                    self._tell(attempt, asked.at)
                continue
            for answer in self._record.answers[attempt]:
                if answer.version > cut:
                    self._expect(answer.at, answer.input, answer.version)
            if _in_flight(work, attempt) and not self._is_settled(attempt):
                self._make_up(attempt, self._now, asked.sent)
        for step in state.waiting:
            self._wait(step, self._now, state)

    def _bring(self, verb: Told) -> None:
        """What came from outside comes again; to a step that it is told for, with what was said."""
        given = verb.input
        step = self._said.get(given.type) if isinstance(given, Signal) else None
        if isinstance(given, Signal) and step is not None:
            data = self._told[step].data
            if data is None or Attempt(step, Direction.DO, 1) in self._record.silent:
                return  # nothing comes; or in time, as soon as it is waited for
            given = given._replace(data=data)
        self._expect(verb.at, given, verb.version)

    def _wait(self, name: str, at: float, state: SagaState) -> None:
        """A step asks nobody: what it waits for comes as it did, as was said, or as made up."""
        step = unfolded(self._definition, state).steps[name]
        if step.reply is None or self._coming(step.asks):
            return  # it sleeps, or has not long to wait
        if name in self._told:
            data = self._told[name].data
        elif Attempt(name, Direction.DO, state.steps[name].do.attempt) in self._record.silent:
            return
        else:
            data = made_up(step, self._data)
            self.notes.append(f"made up: {step.asks} comes; {name}=timeout: what if it does not")
        if data is not None:
            signal = Signal(step.asks, data, f"{self._saga_id}/{name}/made-up")
            self._expect(at + ANSWER_SECONDS, signal)

    def _coming(self, kind: str) -> bool:
        waiting = (given for *_, given in self._waiting if isinstance(given, Signal))
        return any(given.type == kind for given in waiting)

    def _hold(self, at: float, parent: Parent) -> None:
        """What its parent decides: as on record, as long after; made up, that it is closed."""
        record = self._record
        if record.closing is not None and record.held is not None:
            later = _as_late(record.held, record.closing, at)
            self._expect(later, record.closing.input, record.closing.version)
        elif not any(isinstance(given, FromParent) for *_, given in self._waiting):
            self.notes.append("made up: its parent has it closed")
            begun_by = parse_command_id(parent.command_id)
            order = command_id(begun_by.saga_id, closing(begun_by.step), Direction.DO)
            begin = Start(self._saga_id, self._data, message_id=order, parent=parent)
            self._expect(at + ANSWER_SECONDS, FromParent(begin, "close", order))

    def _ask(self, attempt: Attempt, at: float, state: SagaState) -> None:
        """A command is sent."""
        if self._is_told(attempt):
            self._tell(attempt, at)
            return
        record, sent = self._record, sent_by(state, attempt)
        known = record.asked.get(attempt)
        if known is not None and known.sent == sent and self._is_settled(attempt):
            for answer in record.answers[attempt]:
                self._expect(_as_late(known.at, answer, at), answer.input, answer.version)
            return
        work = work_of(state, attempt.step, attempt.direction)
        remembered = record.settled(attempt, 1 if work is None else work.round)
        if remembered is not None and remembered[0].sent == sent:
            known, answer = remembered
            assert isinstance(answer.input, Reply), "it is an answer"
            message = f"{command_id(*answer.input.key)}/{attempt.number}/r"
            again = answer.input._replace(attempt=attempt.number, message_id=message)
            self._expect(_as_late(known.at, answer, at), again, answer.version)
            return
        self._make_up(attempt, at, sent)

    def _is_told(self, attempt: Attempt) -> bool:
        """Whether it was said what becomes of this attempt."""
        if attempt.direction is Direction.UNDO or attempt.step not in self._told:
            return False
        times = self._told[attempt.step].times
        return times is None or self._used[attempt.step] < times

    def _is_settled(self, attempt: Attempt) -> bool:
        return bool(self._record.answers[attempt]) or attempt in self._record.silent

    def _tell(self, attempt: Attempt, at: float) -> None:
        """What was said becomes of it, when the answer on record came."""
        self._used[attempt.step] += 1
        answer = self._told[attempt.step]
        if answer.outcome is None:
            return
        reply = _reply(self._saga_id, attempt, answer)
        known, instead = self._record.asked.get(attempt), self._record.answers[attempt]
        if known is not None and instead:
            self._expect(_as_late(known.at, instead[0], at), reply, instead[0].version)
        else:
            self._expect(at + ANSWER_SECONDS, reply)

    def _make_up(self, attempt: Attempt, at: float, sent: Sent) -> None:
        step = unfolded(self._definition, self._state).steps[attempt.step]
        undo = attempt.direction is Direction.UNDO
        data = None if undo else made_up(step, {**self._data, **sent.data})
        work = f"the undo of {attempt.step}" if undo else attempt.step
        self.notes.append(f"made up: {work} is done")
        done = Answer(Outcome.SUCCEEDED, DONE, data)
        self._expect(at + ANSWER_SECONDS, _reply(self._saga_id, attempt, done))

    def _expect(self, at: float, given: Input, version: int = LAST) -> None:
        heapq.heappush(self._waiting, (at, version, next(self._number), given))

    # ── playing ──────────────────────────────────────────────────────────────────────────────────

    def play(self) -> None:
        """To the end, or until nothing more happens by itself.

        Raises:
            InvalidInput: it goes on for ever.
        """
        for _ in range(MAX_TURNS):
            if not self._turn():
                break
        else:
            raise InvalidInput(f"After {MAX_TURNS} turns it is not over: it goes on for ever.")
        begun = {event.step for event in self.events if isinstance(event, StepStarted)}
        unused = [step for step in self._told if step not in begun]
        self.notes += [f"{step} was not begun, so its answer was not needed" for step in unused]

    def _turn(self) -> bool:
        """The next thing that happens; False: nothing more does."""
        due = None if self._state is None else self._state.next_due
        look = None if due is None else self._record.looked_at(max(due, self._now))
        if look is not None and not (self._waiting and self._waiting[0][:2] <= look):
            self._now = look[0]
            if self._feed(Tick()):
                return True
        if not self._waiting:
            return False
        at, _, _, given = heapq.heappop(self._waiting)
        self._now = max(self._now, at)
        self._feed(given)
        return True

    def _feed(self, given: Input) -> bool:
        """Whether it led to anything."""
        if isinstance(given, Reply):
            given = self._in_its_round(given)
        try:
            events, self._state = react(self._definition, self._state, given, self._now)
        except CorruptHistory:
            raise
        except SagaError as error:
            # What was possible in the history need not be in the fork.
            self.notes.append(f"left out: {error.message}")
            return False
        self.events += events
        waiting = self._state.waiting
        for event in events:
            if isinstance(event, StepStarted | StepRetried) and event.step in waiting:
                self._wait(event.step, event.at, self._state)
            if isinstance(event, SagaHeld) and self._state.origin.parent is not None:
                self._hold(event.at, self._state.origin.parent)
            attempt = attempt_of(event, waiting)
            work = attempt and work_of(self._state, attempt.step, attempt.direction)
            if attempt is not None and work is not None and _in_flight(work, attempt):
                self._ask(attempt, event.at, self._state)
        return bool(events)

    def _in_its_round(self, reply: Reply) -> Reply:
        """An answer to what is asked now, however often an operator had it asked anew."""
        assert self._state is not None, "nobody is asked before the start"
        work = work_of(self._state, reply.key.step, reply.key.direction)
        return reply if work is None else reply._replace(key=reply.key._replace(round=work.round))


def _in_flight(work: Work, attempt: Attempt) -> bool:
    return work.status is WorkStatus.STARTED and work.attempt == attempt.number


def _as_late(since: float, answer: Told, at: float) -> float:
    """When an answer comes to what is sent at `at`: as long after it as on record."""
    return answer.at if at == since else at + (answer.at - since)


def _reply(saga_id: str, attempt: Attempt, answer: Answer) -> Reply:
    assert answer.outcome is not None, "it is an answer"
    step, direction, number = attempt
    message = f"{command_id(saga_id, step, direction)}/{number}/r"
    key = CommandKey(saga_id, step, direction, 1)
    return Reply(key, number, answer.outcome, answer.type, answer.data, message)

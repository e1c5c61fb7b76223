"""A history told as a test: a scene that leads to the same events, as a file for pytest.

The scene is played while it is written down, so what is returned is known to lead to the history.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from es_saga.core.compiled import Definition
from es_saga.core.errors import InvalidInput, SagaError
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    Json,
    SagaEvent,
    StepRefused,
    StepStarted,
    StepTimedOut,
)
from es_saga.core.inputs import (
    Cancel,
    Compensate,
    FromParent,
    Input,
    OperatorVerb,
    Reply,
    Resend,
    Resolve,
    Resume,
    RetryStuck,
    Signal,
    Skip,
    Tick,
)
from es_saga.core.messages import Command, Direction, Message, Outcome, check_id
from es_saga.core.state import SagaStatus, WorkStatus
from es_saga.core.unfolding import unfolded
from es_saga.replay.again import decide_again, name_of
from es_saga.replay.answers import Refusals, refusals_of
from es_saga.replay.home import Home, home_of
from es_saga.replay.inputs import TIMES, Kind
from es_saga.replay.known_by import asking_of, event_of
from es_saga.replay.likeness import alike
from es_saga.replay.reactions import Reaction
from es_saga.replay.record import Attempt, attempt_of, unasked, work_of
from es_saga.replay.refusals import RefusalMaker
from es_saga.replay.replaying import Replay
from es_saga.replay.scene_file import Call, SceneFile
from es_saga.testing.scenes import Asked, Scene, given
from es_saga.testing.stage import NOON, AnyCommand, Asking

MAX_DETAIL_CHARS: Final = 60
"""Longer details of a failure are left out of the test."""

_MILLISECONDS: Final = 1_000

_AGAIN: Final[dict[type[Input], str]] = {RetryStuck: "retry", Resume: "resume", Resend: "resend"}


class Stumble(Exception):
    """The scene does not go where the history went."""

    def __init__(self, version: int, why: str) -> None:
        self.version = version
        super().__init__(why)


def scene(
    definition: Definition,
    replay: Replay,
    app: str | None = None,
    *,
    refusals: Refusals | None = None,
) -> str:
    """A test file whose scene reproduces the history.

    Times are those of the saga's own timers where that leads to the same events; else everything
    happens as long after the start as it did.

    Args:
        app: `module:attribute`, where the saga itself is in no module's namespace.
        refusals: those that are known by name; default: those that stand beside the commands.

    Raises:
        InvalidInput: no scene leads there; the first event that it fails at is named. Or today's
            code decides otherwise; or the saga cannot be imported.
    """
    check_id(replay.saga_id)
    again = decide_again(definition, replay)
    if again.divergence is not None:
        raise InvalidInput(
            f"Today's code does not reproduce this history: {again.divergence}",
            hint="Fork it there first: what_if without answers, then a test of the fork.",
        )
    home = home_of(definition, app)
    known = refusals_of(definition) if refusals is None else refusals
    stumble: Stumble | None = None
    for punctual in (False, True):
        maker = RefusalMaker(known)
        telling = _Telling(definition, replay, home, maker, punctual=punctual)
        for event in replay.events:
            if isinstance(event, StepRefused) and definition.conducted:
                # First, for undos are refused without their data.
                maker.refusal(event.refusal_type, event.refusal)
        try:
            telling.tell(again.inputs)
        except Stumble as error:
            stumble = error
            continue
        return SceneFile(telling.replay, telling.data, telling.calls, maker, home).text()
    assert stumble is not None, "it was tried twice"
    what = name_of(replay.events[stumble.version - 1])
    raise InvalidInput(f"No scene can tell event {stumble.version}, {what}: {stumble}")


class _Telling:
    """A history, played as a scene and written down."""

    def __init__(
        self,
        definition: Definition,
        replay: Replay,
        home: Home,
        refusals: RefusalMaker,
        *,
        punctual: bool,
    ) -> None:
        self.definition = unfolded(definition, replay.state)
        self.replay = replay
        self.refusals = refusals
        self.calls: list[Call] = []
        self.data = definition.data.model_validate(replay.state.origin.data)
        self._punctual = punctual
        self._unasked = unasked(replay.events)
        origin = replay.state.origin
        self._scene: Scene = given(
            home.saga,
            self.data,
            saga_id=replay.saga_id,
            key=origin.key,
            child=origin.parent is not None,
        )
        self._new: list[SagaEvent] = []
        """What was sent and is not expected yet."""

    def tell(self, inputs: Sequence[Input]) -> None:
        """From the start to the end.

        Raises:
            Stumble: it goes another way.
        """
        for reaction, came in zip(self.replay.reactions, inputs, strict=True):
            try:
                self._tell(reaction, came)
            except (AssertionError, TypeError, SagaError) as error:
                raise Stumble(reaction.first, str(error).partition("\n")[0]) from error
            self._compare(reaction.last)
            events = self.replay.events[reaction.first - 1 : reaction.last]
            self._new += [event for event in events if attempt_of(event, self._unasked) is not None]
        try:
            self._expect()
            self._end()
        except (AssertionError, TypeError, SagaError) as error:
            raise Stumble(len(self.replay), str(error).partition("\n")[0]) from error
        self._compare(len(self.replay))
        if len(self._scene.history) != len(self.replay):
            at = min(len(self._scene.history) + 1, len(self.replay))
            raise Stumble(at, "the scene ends elsewhere")

    def _compare(self, until: int) -> None:
        pairs = zip(self.replay.events[:until], self._scene.history, strict=False)
        for version, (had, have) in enumerate(pairs, 1):
            if not alike(had, have):
                raise Stumble(version, f"the scene leads to {name_of(have)} there")

    # ── one reaction ─────────────────────────────────────────────────────────────────────────────

    def _tell(self, reaction: Reaction, came: Input) -> None:
        if reaction.first == 1 or len(self._scene.history) >= reaction.last:
            return  # timers have gone ahead: what was due by then has happened
        if self._punctual:
            self._wait_until(reaction)
        if isinstance(came, Tick):
            self._pass_time(reaction)
        elif isinstance(came, Reply):
            self._expect()
            if self.definition.conducted:
                self._answer(came, reaction)
            else:
                known = self.replay.state.origin.data
                self._do(Call("tells", (event_of(self.definition, came, known),)))
        elif isinstance(came, Signal):
            self._expect()
            self._hear(came)
        elif isinstance(came, FromParent):
            self._expect()
            self._do(Call("parent_closes" if came.order == "close" else "parent_undoes"))
        else:
            self._expect()
            self._operate(came)

    def _wait_until(self, reaction: Reaction) -> None:
        """As long after the start as it was; timers are looked at when they were."""
        late = reaction.kind in TIMES
        since = (reaction.at - self.replay.events[0].at) - (self._scene.now - NOON)
        whole = math.ceil if late else math.floor
        seconds = whole(round(since * _MILLISECONDS, 3)) / _MILLISECONDS
        if seconds > 0:
            self._expect()
            self._do(Call("wait", (seconds,)))

    def _pass_time(self, reaction: Reaction) -> None:
        """A next attempt comes by itself when it is expected."""
        if self._punctual or reaction.kind is Kind.RETRY:
            return
        self._expect()
        if reaction.kind is Kind.DEADLINE:
            self._do(Call("wait", (round(self._until_deadline(), 3),)))
            return
        event = self.replay.events[reaction.first - 1]
        step: str = getattr(event, "step", "")
        if step in self._unasked:
            own = self._scene.state.steps[step]
            due = (own.undo or own.do).due
            assert due is not None, "it waits for so long"
            seconds = math.ceil(round((due - self._scene.now) * _MILLISECONDS, 3)) / _MILLISECONDS
            self._do(Call("wait", (seconds,)))
            return
        assert isinstance(event, StepTimedOut | CompensationFailed), "an attempt's time is over"
        direction = Direction.DO if isinstance(event, StepTimedOut) else Direction.UNDO
        self._on(Attempt(event.step, direction, event.attempt))
        self._do(Call("timeout"))

    def _until_deadline(self) -> float:
        deadline = self._scene.state.origin.deadline
        assert deadline is not None, "it has passed"
        return deadline - self._scene.now

    def _expect(self) -> None:
        """What was sent is expected, all of it."""
        if self._new:
            commands = tuple(self._command(event) for event in self._new)
            self._new = []
            self._do(Call("expect", commands))

    def _command(self, event: SagaEvent) -> AnyCommand:
        """By value where that is possible."""
        attempt = attempt_of(event, self._unasked)
        assert attempt is not None, "it was sent"
        kind = self._kind(attempt.step, attempt.direction)
        assert issubclass(kind, Command), "somebody was asked"
        data = self._sent(event, attempt)
        model = kind.model_validate(data)
        return model if model.model_dump(mode="json") == data else kind

    def _sent(self, event: SagaEvent, attempt: Attempt) -> Json:
        """Of a command that is sent again, what was sent first."""
        if isinstance(event, StepStarted | CompensationIssued):
            return event.command
        first = Attempt(attempt.step, Direction.DO, 1)
        begun = next(one for one in self.replay.events if attempt_of(one, self._unasked) == first)
        assert isinstance(begun, StepStarted), "what is sent again was sent before"
        return begun.command

    def _kind(self, step: str, direction: Direction) -> Asking:
        return asking_of(self.definition.steps[step], direction)

    # ── answers ──────────────────────────────────────────────────────────────────────────────────

    def _answer(self, reply: Reply, reaction: Reaction) -> None:
        step, direction = reply.key.step, reply.key.direction
        work = work_of(self._scene.state, step, direction)
        assert work is not None, "it was asked for"
        awaited = work.status is WorkStatus.STARTED and work.attempt == reply.attempt
        self._on(Attempt(step, direction, reply.attempt))
        if reply.outcome is Outcome.FAILED:
            self._do(self._failure(reply))
            return
        answer: Message | None = None
        if reply.outcome is Outcome.REFUSED:
            data = None if direction is Direction.UNDO else reply.data
            answer = self.refusals.refusal(reply.type, data)
        elif direction is Direction.DO:
            answer = self._reply(step, reply.data)
        arguments = () if answer is None else (answer,)
        if awaited and reaction.kind is not Kind.LATE:
            self._do(Call("refuse" if reply.outcome is Outcome.REFUSED else "reply", arguments))
            return
        options = () if reply.attempt == 1 else (("attempt", reply.attempt),)
        self._do(Call("late", arguments, options))

    def _reply(self, step: str, data: Any) -> Message | None:
        model = self.definition.steps[step].reply
        return None if model is None else model.model_validate(data)

    @staticmethod
    def _failure(reply: Reply) -> Call:
        """A long detail is left out: it is a traceback, or somebody's data."""
        detail = str(reply.data.get("detail", ""))
        short = detail and len(detail) <= MAX_DETAIL_CHARS and detail.isprintable()
        arguments = (reply.type, detail) if short else (reply.type,)
        wish = reply.retry_after
        return Call("fail", arguments, () if wish is None else (("retry_after", wish),))

    def _on(self, attempt: Attempt) -> None:
        """Go to the command that is spoken of, unless it was the last word."""
        if self._speaks_of(attempt):
            return
        event = next(
            event
            for event in reversed(self.replay.events)
            if (found := attempt_of(event, self._unasked)) and found[:2] == attempt[:2]
        )
        self._do(Call("on", (self._command(event),)))
        if not self._speaks_of(attempt):
            raise AssertionError(f"{attempt.step} cannot be told from another step")

    def _speaks_of(self, attempt: Attempt) -> bool:
        asked: Scene | Asked[Any] = self._scene
        return isinstance(asked, Asked) and asked.asked.key[1:3] == attempt[:2]

    def _hear(self, signal: Signal) -> None:
        step = self.definition.waits_for(signal.type)
        assert step is not None, "it was heard"
        self._do(Call("signal", (self._reply(step.name, signal.data),)))

    # ── operators ────────────────────────────────────────────────────────────────────────────────

    def _operate(self, verb: Input) -> None:
        assert isinstance(verb, OperatorVerb), "a human did it"
        said = (("reason", verb.reason), ("actor", verb.actor))
        backward = Direction.UNDO if self._scene.state.backward else Direction.DO
        match verb:
            case Cancel():
                self._do(Call("cancel", (verb.reason,), (("actor", verb.actor),)))
            case Compensate():
                self._do(Call("compensate", (verb.reason,), (("actor", verb.actor),)))
            case RetryStuck() | Resume() | Resend():
                self._do(Call(_AGAIN[type(verb)], self._which(verb.step, backward), said))
            case Skip():
                self._do(Call("skip", (self._kind(verb.step, backward),), said))
            case Resolve():
                work = work_of(self._scene.state, verb.step, verb.direction)
                assert work is not None, "it was asked for"
                assert self.definition.conducted, (
                    "what nobody was asked for is resolved in no scene"
                )
                self._on(Attempt(verb.step, verb.direction, work.attempt))
                if verb.outcome is Outcome.REFUSED:
                    self._do(Call("resolve_not_done", (), said))
                else:
                    reply = (
                        self._reply(verb.step, verb.reply)
                        if verb.direction is Direction.DO
                        else None
                    )
                    self._do(Call("resolve", () if reply is None else (reply,), said))

    def _which(self, step: str | None, direction: Direction) -> tuple[Asking, ...]:
        """The command that a verb names; none where it stands for several steps, or for all."""
        if step is None:
            return ()
        kind, steps = self._kind(step, direction), self.definition.steps.values()
        sending = [asking_of(one, Direction.DO) for one in steps]
        sending += [asking_of(one, Direction.UNDO) for one in steps if one.undo is not None]
        return (kind,) if sending.count(kind) == 1 else ()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def _end(self) -> None:
        state = self.replay.state
        if state.status is SagaStatus.COMPLETED:
            self._do(Call("completed"))
        elif state.status is SagaStatus.COMPENSATED:
            self._do(Call("compensated"))
        elif state.status is SagaStatus.COMPENSATED_WITH_EXCEPTIONS:
            owed = [self._kind(one.step, Direction.UNDO) for one in state.exceptions]
            self._do(Call("compensated", (), (("owing", owed),)))
        elif state.stuck is not None:
            self._do(Call("stuck"))
        elif state.held:
            self._do(Call("held"))

    def _do(self, said: Call) -> None:
        self._scene = getattr(self._scene, said.method)(*said.arguments, **dict(said.options))
        self.calls.append(said)

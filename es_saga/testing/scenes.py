"""Scenes: a saga told step by step, in the words of its own messages and in virtual time.

    (given(order, PlaceOrder(order_id="1", sku="lamp", pence=1999))
        .expect(ReserveStock).reply(StockReserved(reservation="r-1"))
        .expect(ChargeCard).refuse(CardDeclined(reason="limit"))
        .expect(ReleaseStock).reply()
        .compensated())

A scene runs on the pure core: no database, no broker, no waiting. It is a value: every method gives
the scene that follows, so two endings may be told from one beginning.

- `expect` names everything that was sent since the last answer, no more and no less. A command that
  waits for its next attempt is waited for; nothing in flight times out on the way.
- Then it is answered: `reply`, `refuse`, `fail`, `timeout`. Of several in flight `on` says which;
  it also goes back to one that was settled, for an answer that comes `late`.
- From outside comes what it waits for, by `signal`, and what a service `tells`.
- Time moves only by `wait`, by `timeout`, and up to the next attempt that is expected.
- Everything is decided twice, so functions of a saga that are not pure are found out.

What does not hold raises AssertionError, with the history and with what came instead. What the saga
refuses, an operator's verb for instance, raises the SagaError that the operator would see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar, overload

from es_saga.core.definition import Saga
from es_saga.core.events import Json, SagaEvent
from es_saga.core.inputs import Reply, Resolve, Start
from es_saga.core.messages import (
    Command,
    Direction,
    Event,
    Message,
    Outcome,
    Refusal,
    command_id,
    reply_type,
)
from es_saga.core.state import SagaState, SagaStatus
from es_saga.core.unfolding import unfolded
from es_saga.testing.belonging import Belonging, parent_of
from es_saga.testing.hearing import Hearing, opening_of
from es_saga.testing.meddling import Meddling
from es_saga.testing.stage import AnyCommand, Asking, Sent, Stage, listed, name_of, open_stage
from es_saga.testing.story import Story

D = TypeVar("D", bound=Message)
R = TypeVar("R")
R1 = TypeVar("R1")


def given(
    saga: Saga[D],
    data: D,
    *,
    saga_id: str | None = None,
    key: str | None = None,
    child: bool = False,
) -> Scene:
    """A saga that has just been started with this input; its id is `<name>-1` unless given.

    A choreography is begun by its first event, whose key makes the id.

    Args:
        child: another saga runs it: it does not complete before that one lets it.

    Raises:
        DefinitionError: the saga cannot be run.
    """
    definition = saga.definition
    if not definition.conducted:
        assert isinstance(data, Event), "a choreography is begun by one"
        return Scene(open_stage(definition, opening_of(definition, data, saga_id, key)))
    checked = definition.check_input(data.model_dump(mode="json"))
    chosen, parent = saga_id or f"{saga.name}-1", parent_of(definition) if child else None
    start = Start(chosen, checked, key=key, message_id="start", parent=parent)
    return Scene(open_stage(definition, start))


class Scene(Meddling["Scene"], Belonging["Scene"], Hearing["Scene"]):
    """One saga, as far as its story was told. See `given`."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)

    # ── what the saga sends ──────────────────────────────────────────────────────────────────────

    @overload
    def expect(self, command: type[Command[R1]], /) -> Asked[R1]: ...
    @overload
    def expect(self, command: Command[R1], /) -> Asked[R1]: ...
    @overload
    def expect(self, first: AnyCommand, second: AnyCommand, /, *more: AnyCommand) -> Scene: ...
    def expect(self, *commands: AnyCommand) -> Scene:
        """Exactly these were sent, in any order: each by its type, or by value."""
        __tracebackhide__ = True
        stage = self._stage.up_to(len(commands))
        came = listed(stage.new)
        sent: Sent | None = None
        for wanted in commands:
            sent = next((sent for sent in stage.new if sent.fits(wanted)), None)
            if sent is None:
                stage.fail(f"expected {name_of(wanted)}, but {came}")
            stage = stage.expected(sent)
        if stage.new:
            names = ", ".join(map(name_of, commands))
            stage.fail(f"expected {names} and nothing else, but {came}")
        if sent is None or len(commands) > 1:
            return Scene(stage)
        asked: Asked[Any] = Asked(stage, sent)
        return asked

    @overload
    def on(self, command: type[Command[R1]], /) -> Asked[R1]: ...
    @overload
    def on(self, command: Command[R1], /) -> Asked[R1]: ...
    def on(self, command: AnyCommand, /) -> Asked[Any]:
        """Go to a command that was expected before: what comes next answers it."""
        __tracebackhide__ = True
        sent = next((sent for sent in reversed(self._stage.told) if sent.fits(command)), None)
        if sent is None:
            self._stage.fail(f"{name_of(command)} was not expected before")
        return Asked(self._stage, sent)

    def nothing_sent(self) -> Scene:
        """Nothing was sent that has not been expected."""
        __tracebackhide__ = True
        if self._stage.new:
            self._stage.fail(f"{listed(self._stage.new)}, and not expected")
        return Scene(self._stage)

    # ── what happens to it ───────────────────────────────────────────────────────────────────────

    def wait(self, seconds: float) -> Scene:
        """Time passes; whatever becomes due meanwhile happens, each at its own time."""
        __tracebackhide__ = True
        return Scene(self._settled().pass_time(self.now + seconds))

    def duplicate(self) -> Scene:
        """The last message arrives once more, and changes nothing (law L42)."""
        __tracebackhide__ = True
        after = self._stage.feed(self._stage.inputs[-1])
        if after.history != self.history:
            after.fail(f"the same message again led to event {len(self.history) + 1}")
        return Scene(self._stage)

    # ── where it stands ──────────────────────────────────────────────────────────────────────────

    def waiting(self) -> Scene:
        """Nothing is in flight: it waits for a message from outside, or for its time."""
        __tracebackhide__ = True
        return self._is(SagaStatus.WAITING)

    def completed(self) -> Scene:
        """Every step is done."""
        __tracebackhide__ = True
        return self._is(SagaStatus.COMPLETED)

    def compensated(self, *, owing: Sequence[Asking] = ()) -> Scene:
        """Everything that was done is undone, but for these undos: they failed or were waived."""
        __tracebackhide__ = True
        if not owing:
            return self._is(SagaStatus.COMPENSATED)
        scene = self._is(SagaStatus.COMPENSATED_WITH_EXCEPTIONS)
        owed = sorted(each.step for each in self.state.exceptions)
        if owed != sorted(self._stage.step_of(command) for command in owing):
            self._stage.fail(f"the undos it owes are those of {', '.join(owed)}")
        return scene

    def stuck(self, command: Asking | None = None) -> Scene:
        """It cannot go on without a human; at this command or event, if one is named."""
        __tracebackhide__ = True
        scene, stuck = self._is(SagaStatus.STUCK), self.state.stuck
        if command is not None and stuck is not None and stuck.step != self._stage.step_of(command):
            self._stage.fail(
                f"expected it to be stuck at {name_of(command)}, but it is at {stuck.step}"
            )
        return scene

    def _is(self, status: SagaStatus) -> Scene:
        __tracebackhide__ = True
        stage = self._settled()
        if self.state.status is not status:
            stage.fail(f"expected it to be {status}, but it is {self.state.status}")
        return Scene(stage)

    # ── what there is to see ─────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> SagaState:
        return self._stage.saga

    @property
    def history(self) -> Sequence[SagaEvent]:
        return self._stage.history

    @property
    def sent(self) -> Sequence[Sent]:
        """What was sent and has not been expected yet."""
        return self._stage.new

    @property
    def now(self) -> float:
        """Virtual time, in seconds since the epoch."""
        return self._stage.now

    @property
    def story(self) -> Story:
        """For `es_saga.testing.laws` to judge."""
        return Story(self._stage.definition, self._stage.saga_id, self.history)

    def __str__(self) -> str:
        return str(self._stage)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _settled(self) -> Stage:
        __tracebackhide__ = True
        return self.nothing_sent()._stage

    def _at(self, stage: Stage) -> Scene:
        return Scene(stage)


class Asked(Scene, Generic[R]):
    """A scene whose last word was a command; `R` is what it answers."""

    def __init__(self, stage: Stage, sent: Sent) -> None:
        super().__init__(stage)
        self._sent = sent

    @property
    def asked(self) -> Sent:
        """The command that the last word was about, as it was sent."""
        return self._sent

    @overload
    def reply(self: Asked[None], /) -> Scene: ...
    @overload
    def reply(self, reply: R, /) -> Scene: ...
    def reply(self: Asked[Any], reply: Any = None, /) -> Scene:
        """The participant did it."""
        __tracebackhide__ = True
        return self._answered(self._done(reply))

    def refuse(self, refusal: Refusal, /) -> Scene:
        """The participant's business answer is no."""
        __tracebackhide__ = True
        return self._answered(_no(refusal))

    def fail(
        self,
        error: str = "Unavailable",
        detail: str = "",
        *,
        attempts: int = 1,
        retry_after: float | None = None,
    ) -> Scene:
        """The participant could not: a technical error, and nothing was done.

        Args:
            attempts: how many fail one after the other, this one and those sent again.
            retry_after: seconds the participant asks to wait; negative: never again.
        """
        __tracebackhide__ = True
        data = {"error": error, "detail": detail}
        scene = self._answered(_Answer(Outcome.FAILED, error, data, retry_after))
        if attempts == 1:
            return scene
        again = self._again(scene)
        return again.fail(error, detail, attempts=attempts - 1, retry_after=retry_after)

    def timeout(self, *, attempts: int = 1) -> Scene:
        """No answer comes; time moves on until none is awaited. Others may time out meanwhile.

        Args:
            attempts: how many stay unanswered one after the other, this one and those sent again.
        """
        __tracebackhide__ = True
        due = self._awaited().work(self._sent).due
        assert due is not None, "what is in flight is awaited until some time"
        scene = Scene(self._stage.pass_time(due))
        return scene if attempts == 1 else self._again(scene).timeout(attempts=attempts - 1)

    @overload
    def late(self: Asked[None], /, *, attempt: int = 1) -> Scene: ...
    @overload
    def late(self, answer: R | Refusal, /, *, attempt: int = 1) -> Scene: ...
    def late(self: Asked[Any], answer: Any = None, /, *, attempt: int = 1) -> Scene:
        """An answer that nobody waits for any more; to the first attempt, unless told otherwise."""
        __tracebackhide__ = True
        stage, key = self._settled(), self._sent.key
        for sent in stage.told:
            if (sent.key.step, sent.key.direction, sent.attempt) == (
                key.step,
                key.direction,
                attempt,
            ):
                break
        else:
            stage.fail(f"there was no attempt {attempt} of {self._sent.type}")
        if stage.in_flight(sent):
            stage.fail(f"{sent} is in flight: what answers it is not late")
        told = _no(answer) if isinstance(answer, Refusal) else self._done(answer)
        return _fed(stage, sent, told)

    @overload
    def resolve(self: Asked[None], /, *, reason: str = ..., actor: str = ...) -> Scene: ...
    @overload
    def resolve(self, reply: R, /, *, reason: str = ..., actor: str = ...) -> Scene: ...
    def resolve(
        self: Asked[Any],
        reply: Any = None,
        /,
        *,
        reason: str = "looked it up",
        actor: str = "operator",
    ) -> Scene:
        """An operator found out that it was done, or did it by hand."""
        __tracebackhide__ = True
        return self._resolved(actor, reason, self._done(reply))

    def resolve_not_done(self, *, reason: str = "looked it up", actor: str = "operator") -> Scene:
        """An operator found out that it was not done."""
        __tracebackhide__ = True
        return self._resolved(actor, reason, _Answer(Outcome.REFUSED, "", None))

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _done(self, reply: Message | None) -> _Answer:
        """Success; checked here too, for tests that no type checker reads."""
        wanted = reply_type(self._command())
        if not isinstance(reply, wanted):
            raise TypeError(f"{self._sent.type} answers with {wanted.__name__}, not {reply!r}.")
        if reply is None:
            return _Answer(Outcome.SUCCEEDED, "Done", None)
        return _Answer(Outcome.SUCCEEDED, type(reply).__name__, reply.model_dump(mode="json"))

    def _command(self) -> type[Command[Any]]:
        step = unfolded(self._stage.definition, self._stage.state).steps[self._sent.key.step]
        if self._sent.key.direction is Direction.DO:
            return step.command
        assert step.undo is not None, "its undo was sent"
        return step.undo.command

    def _awaited(self) -> Stage:
        """The stage, where this very sending is in flight."""
        __tracebackhide__ = True
        stage = self._settled()
        if not stage.in_flight(self._sent):
            status = stage.work(self._sent).status
            stage.fail(f"{self._sent} is not in flight, but {status}; is the answer `late`?")
        return stage

    def _answered(self, answer: _Answer) -> Scene:
        __tracebackhide__ = True
        return _fed(self._awaited(), self._sent, answer)

    def _again(self, scene: Scene) -> Asked[R]:
        """The same command, sent once more."""
        __tracebackhide__ = True
        stage = scene._stage.up_to(1)
        sent = next((sent for sent in stage.new if sent.key == self._sent.key), None)
        if sent is None:
            stage.fail(f"{self._sent} was not sent again")
        return Asked(stage.expected(sent), sent)

    def _resolved(self, actor: str, reason: str, found: _Answer) -> Scene:
        __tracebackhide__ = True
        stage, key = self._settled(), self._sent.key
        return Scene(
            stage.feed(
                Resolve(
                    actor, reason, stage.verb(), key.step, key.direction, found.outcome, found.data
                )
            )
        )


class _Answer(NamedTuple):
    """What a participant says became of a command."""

    outcome: Outcome
    type: str
    data: Json | None
    retry_after: float | None = None


def _no(refusal: Refusal) -> _Answer:
    return _Answer(Outcome.REFUSED, type(refusal).__name__, refusal.model_dump(mode="json"))


def _fed(stage: Stage, sent: Sent, answer: _Answer) -> Scene:
    __tracebackhide__ = True
    message = f"{command_id(*sent.key)}/{sent.attempt}/r"
    outcome, kind, data, retry_after = answer
    given = Reply(sent.key, sent.attempt, outcome, kind, data, message, retry_after)
    return Scene(stage.feed(given))

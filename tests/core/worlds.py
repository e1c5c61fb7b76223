"""A saga in an unreliable world: messages lost, late, doubled, forged; time passing; operators.

`runs()` draws a definition and a schedule, carries it out, and then lets a fair world finish it:
all functions mended, every answer arrives in the end, operators help.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from hypothesis import strategies as st

from es_saga.core.inputs import (
    Cancel,
    Compensate,
    Reply,
    Resend,
    Resume,
    RetryStuck,
    Signal,
    Skip,
    Start,
    Tick,
)
from es_saga.core.messages import Direction, Outcome
from es_saga.core.state import SagaStatus, Work, WorkStatus
from es_saga.testing.plans import build, plans
from tests.core.run import SAGA, Command, Deed, Run, key_of
from tests.core.service import REFUSED, SUCCEEDED, Answer, reply_to

T = TypeVar("T")

MAX_MOVES = 40
MAX_LATE_MOVES = 4
MAX_FAIR_ROUNDS = 120


# ── the schedule ─────────────────────────────────────────────────────────────────────────────────

_TROUBLE = [
    REFUSED,
    Answer(Outcome.FAILED, "Busy"),
    Answer(Outcome.FAILED, "Busy", retry_after=7.0),
    Answer(Outcome.FAILED, "Fatal"),
    Answer(Outcome.FAILED, "Terminal", retry_after=-1.0),
]
_MOODS = st.sampled_from([st.sampled_from([SUCCEEDED] * times + _TROUBLE) for times in (40, 12, 3)])
"""Participants that hardly ever, seldom or often say no, or fail."""

Wishes = dict[Direction, st.SearchStrategy[Answer]]


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """A saga's whole life."""
    run = Run(build(draw(plans())))
    wishes: Wishes = {direction: draw(_MOODS) for direction in Direction}
    run.feed(Start(SAGA, {"n": 1}, message_id="start"))
    for _ in range(draw(st.sampled_from([0, 5, 15, MAX_MOVES, MAX_MOVES]))):
        if run.saga.closed is None:
            _move(draw, run, wishes)
    _finish(run, _stumbles(draw, run))
    for _ in range(draw(st.integers(0, MAX_LATE_MOVES))):
        _move(draw, run, wishes)
    for reply in [*run.replies]:
        run.feed(reply)
    for command in [*run.commands]:
        run.feed(run.deliver(command, SUCCEEDED))
    return run


def _move(draw: st.DrawFn, run: Run, wishes: Wishes) -> None:
    rare = ["cancel", "start", "verb", "hasten"]
    moves = ["tick", "tick", "forge", "again", draw(st.sampled_from(rare))]
    moves += ["ask"] * 8 + ["deliver"] * 2 if run.commands else []
    moves += ["answer"] * 2 if run.replies else []
    moves += ["signal"] if _signals(run) else []
    moves += ["signal"] * 6 if run.saga.waiting else []
    moves += ["verb"] * 8 if run.saga.status is SagaStatus.STUCK else []
    match draw(st.sampled_from(moves)):
        case "ask":
            command = draw(_late(run.commands))
            run.feed(run.deliver(command, draw(wishes[command.key.direction])))
        case "deliver":
            command = draw(_late(run.commands))
            run.deliver(command, draw(wishes[command.key.direction]))
        case "answer":
            run.feed(draw(_late(run.replies)))
        case "tick":
            due = run.saga.next_due
            wait = draw(st.sampled_from([0.0, 0.5, 3.0]))
            run.now = max(run.now + wait, due if due is not None and not wait else 0.0)
            run.feed(Tick())
        case "signal":
            run.feed(draw(st.sampled_from(_signals(run))))
        case "forge":
            run.feed(_forged(draw, run), forged=True)
        case "cancel":
            run.feed(Cancel("bob", "changed my mind", run.verb_id()))
        case "verb":
            _verb(draw, run)
        case "hasten":
            _hasten(draw, run)
        case "again":
            true = [turn.input for turn in run.turns if not turn.forged]
            run.feed(draw(st.sampled_from(true)))
        case _:
            run.feed(Start(SAGA, {"n": draw(st.integers(1, 2))}, message_id="start-2"))


def _signals(run: Run) -> list[Signal]:
    """Everything that some step waits for, or may wait for."""
    steps = run.whole.steps.values()
    return [
        Signal(step.asks, {"step": step.name}, f"signal-{step.name}")
        for step in steps
        if step.wait is not None
    ]


def _late(items: list[T]) -> st.SearchStrategy[T]:
    """Often one of the newest, sometimes an old one again."""
    few = min(3, len(items))
    return st.sampled_from(items[-few:]) | st.sampled_from(items)


def _forged(draw: st.DrawFn, run: Run) -> Reply:
    """A reply to something that was never asked for."""
    step = draw(st.sampled_from([*run.whole.steps, "nobody"]))
    direction = draw(st.sampled_from(Direction))
    own = run.saga.steps.get(step)
    work: Work | None = None
    if own is not None:
        work = own.do if direction is Direction.DO else own.undo
    round, attempt, saga_id = 1, 1, SAGA
    if work is not None:
        round, attempt = work.round, max(work.attempt, 1)
        match draw(st.sampled_from(["saga", "round", "later", "earlier"])):
            case "saga":
                saga_id = "s-2"
            case "round":
                round += 1
            case "later":
                attempt = work.attempt + 1
            case _:
                attempt = 0
    answer = draw(st.sampled_from([SUCCEEDED, REFUSED, Answer(Outcome.FAILED, "Busy")]))
    return reply_to(key_of(step, direction, round, saga_id), attempt, answer)


def _hasten(draw: st.DrawFn, run: Run) -> None:
    """An operator who does not wait; half of them know what they look at."""
    step = draw(st.none() | st.sampled_from([*run.whole.steps]))
    seen = draw(st.none() | st.just(run.saga.version))
    verb = run.verb_id()
    if draw(st.booleans()):
        run.feed(Resume("eve", "up again", verb, step, expected_version=seen))
    else:
        run.feed(Resend("eve", "waited enough", verb, step, expected_version=seen))


def _verb(draw: st.DrawFn, run: Run) -> None:
    step = draw(st.sampled_from([*run.whole.steps]))
    if run.saga.stuck is not None and run.saga.stuck.step and draw(st.booleans()):
        step = run.saga.stuck.step
    verbs = ["retry", "retry one", "skip", "resolve", "mend", "compensate", "hasten"]
    match draw(st.sampled_from(verbs)):
        case "retry":
            run.feed(RetryStuck("ann", "up again", run.verb_id()))
        case "retry one":
            run.feed(RetryStuck("ann", "up again", run.verb_id(), step))
        case "skip":
            run.feed(Skip("ann", "never mind", run.verb_id(), step))
        case "compensate":
            run.feed(Compensate("ann", "leads nowhere", run.verb_id()))
        case "hasten":
            _hasten(draw, run)
        case "mend":
            run.built.broken.clear()
            if draw(st.booleans()):
                run.feed(RetryStuck("ann", "mended", run.verb_id()))
            else:
                run.feed(Resume("ann", "mended", run.verb_id()))
        case _:
            run.resolve(step, draw(st.sampled_from(Direction)), draw(st.sampled_from(Outcome)))


# ── the fair end ─────────────────────────────────────────────────────────────────────────────────


class Stumbles(NamedTuple):
    """What goes wrong on the way to the end; all else is fair."""

    noes: dict[Deed, Answer]
    """Answered so once, then done."""
    silences: dict[Deed, int]
    """As many attempts stay unanswered."""


def _stumbles(draw: st.DrawFn, run: Run) -> Stumbles:
    deeds = st.tuples(st.sampled_from([*run.whole.steps]), st.sampled_from(Direction))
    noes = st.sampled_from([REFUSED, Answer(Outcome.FAILED, "Terminal", retry_after=-1.0)])
    return Stumbles(
        draw(st.dictionaries(deeds, noes, max_size=5)),
        draw(st.dictionaries(deeds, st.integers(1, 3), max_size=3)),
    )


def _finish(run: Run, stumbles: Stumbles) -> None:
    """Let it come to its end: a few last faults, and an operator who knows what to do."""
    for _ in range(MAX_FAIR_ROUNDS):
        state = run.saga
        if state.closed is not None:
            return
        if state.stuck is not None:
            _help(run)
            continue
        asked = [one for one in _open(run) if one.attempt > stumbles.silences.get(one.deed, 0)]
        for command in asked:
            run.feed(run.deliver(command, stumbles.noes.pop(command.deed, SUCCEEDED)))
        if not asked:
            assert state.next_due is not None, "not closed, not stuck, and nothing will happen"
            run.now = max(run.now, state.next_due)
            if not run.feed(Tick()).events:
                run.now += 1.0  # what is due waits for its turn: the timer looks again in a second


def _open(run: Run) -> list[Command]:
    """The commands of the attempts in flight."""
    in_flight: list[Command] = []
    for name, own in run.saga.steps.items():
        for direction, work in ((Direction.DO, own.do), (Direction.UNDO, own.undo)):
            if work is not None and work.status is WorkStatus.STARTED:
                if name in run.saga.waiting:
                    continue
                key, undoes = (
                    key_of(name, direction, work.round),
                    key_of(name, Direction.DO, own.do.round),
                )
                in_flight.append(Command(key, undoes, work.attempt))
    return in_flight


def _help(run: Run) -> None:
    """Retry; where that is refused, find out what became of it.

    What the saga waits for comes when somebody asks where it is.
    """
    run.built.broken.clear()
    stuck_at = run.saga.stuck.step if run.saga.stuck is not None else None
    for signal in _signals(run) if stuck_at in run.saga.steps else ():
        if signal.data["step"] == stuck_at:
            run.feed(signal)
            return
    run.feed(RetryStuck("ann", "mended", run.verb_id()))
    stuck = run.saga.stuck
    if stuck is None:
        return
    assert stuck.step is not None, "it says where it is stuck"
    known = run.service.fence.get(key_of(stuck.step, Direction.DO))
    done = known is not None and known.outcome is Outcome.SUCCEEDED
    outcome = Outcome.SUCCEEDED if done else Outcome.REFUSED
    turn = run.resolve(stuck.step, Direction.DO, outcome)
    assert turn.error is None, "what cannot be retried can be resolved"

"""What can go wrong, as data: a `FaultPlan` says which faults befall which messages and moments.

A fault names the place where it strikes, by the readable ids that messages and histories have, so
that a plan still means the same when other faults are taken out of it:

    order-1/charge/do/1      the first attempt of a command
    order-1/charge/do/1/r    the answer to it
    order-1/start            the request that starts a saga
    order-1#3                the moment when a saga's history has three events
    order-1#stuck            the moment when it is stuck

Each strikes once. A plan is finite, and after it the world is fair (law L53).

Where newer releases come, every manager begins with the oldest version of each saga type; each one
that is begun after a release knows one version more, and the older ones, too. One that is withdrawn
comes again: until then nobody goes on with the sagas that have begun under its version.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, NamedTuple

from es_saga.core.compiled import Definition
from es_saga.core.messages import Direction, command_id
from es_saga.core.policy import Retry

RATE: Final = 0.2
"""How many of the commands that a saga may send meet with trouble, as a share."""

MAX_CRASHES: Final = 3
"""Deaths of processes, outages of the log and the like in one drawn plan, at most: each of them
can concern every saga of the world."""

MAX_MANAGERS: Final = 3

DUPLICATE_WINDOW_SECONDS: Final = 120.0
"""How long a broker remembers ids; a manager that is away for longer sends again outside it."""


class Moment(Enum):
    """When in the life of a message or a saga a fault strikes."""

    TRAVELLING = "a message is on its way"
    HANDLING = "a participant takes up a command"
    PUBLISHING = "a process hands a message to the broker"
    SETTLING = "a process acknowledges a message"
    WRITING = "a manager appends to a saga's history"
    WRITTEN = "a saga's history has come so far"


class Kind(Enum):
    """Everything that can go wrong; `seconds` of a fault mean what the sentence says."""

    LOST = Moment.TRAVELLING, "the broker loses it"
    DOUBLED = Moment.TRAVELLING, "it is delivered twice, the second time {seconds} s later"
    DELAYED = Moment.TRAVELLING, "it arrives {seconds} s late"

    REFUSED = Moment.HANDLING, "the participant refuses"
    FAILED = Moment.HANDLING, "the attempt fails; the participant asks to wait {seconds} s"
    FAILED_FOR_GOOD = Moment.HANDLING, "it fails, and the participant says: never again"
    DIES_ON_RECEIPT = Moment.HANDLING, "the participant dies before the effect, for {seconds} s"
    DIES_IN_DOUBT = Moment.HANDLING, "the participant dies between two commits, for {seconds} s"
    GARBLED = Moment.HANDLING, "it is done, and nobody can read the answer"
    WRONG_ATTEMPT = Moment.HANDLING, "an answer to an attempt that was never made comes, too"
    WRONG_SAGA = Moment.HANDLING, "an answer that names a saga that is none comes, too"
    POISON = Moment.HANDLING, "a message that names no command comes, too"

    DIES_BEFORE_PUBLISH = Moment.PUBLISHING, "the sender dies before it is sent, for {seconds} s"
    DIES_AFTER_PUBLISH = Moment.PUBLISHING, "the sender dies once it is sent, for {seconds} s"
    DIES_BEFORE_ACK = Moment.SETTLING, "the receiver dies before the ack, for {seconds} s"
    DIES_AFTER_ACK = Moment.SETTLING, "the receiver dies right after the ack, for {seconds} s"

    DIES_BEFORE_APPEND = Moment.WRITING, "the manager dies before it commits, for {seconds} s"
    DIES_AFTER_APPEND = Moment.WRITING, "the manager dies with the commit, for {seconds} s"
    LOG_AWAY = Moment.WRITING, "the log is out of reach, and nothing was written"
    LOG_UNSURE = Moment.WRITING, "the log is out of reach, but it was written"

    CLOCK_JUMPS = Moment.WRITTEN, "the manager's clock jumps by {seconds} s"
    RELEASED = Moment.WRITTEN, "the manager makes way for the next release, up {seconds} s later"
    WITHDRAWN = Moment.WRITTEN, "the manager makes way for the release before, for {seconds} s"
    USURPED = Moment.WRITTEN, "another manager believes the part its own, for {seconds} s"
    CANCELLED = Moment.WRITTEN, "{seconds} s later an operator cancels the saga"
    RETRIED = Moment.WRITTEN, "{seconds} s later an operator retries"
    SKIPPED = Moment.WRITTEN, "{seconds} s later an operator skips what it is stuck at"
    RESOLVED = Moment.WRITTEN, "{seconds} s later an operator settles by hand what it is stuck at"
    COMPENSATED = Moment.WRITTEN, "{seconds} s later an operator has the saga undone"
    RESUMED = Moment.WRITTEN, "{seconds} s later an operator has done at once what waits"
    RESENT = Moment.WRITTEN, "{seconds} s later an operator has sent again what is in flight"
    STARTED_AGAIN = Moment.WRITTEN, "{seconds} s later the saga is started again"

    def __init__(self, moment: Moment, sentence: str) -> None:
        self.moment = moment
        self.sentence = sentence

    def __repr__(self) -> str:
        return f"Kind.{self.name}"


RELEASES: Final = (Kind.RELEASED, Kind.WITHDRAWN)
"""What takes several versions of a saga type."""


class Fault(NamedTuple):
    """One thing that goes wrong, once."""

    kind: Kind
    at: str
    """The place: see the module's docstring."""
    seconds: float = 0.0

    def __repr__(self) -> str:
        seconds = f", {self.seconds!r}" if self.seconds else ""
        return f"Fault({self.kind!r}, {self.at!r}{seconds})"

    def __str__(self) -> str:
        return f"{self.at}: {self.kind.sentence.format(seconds=f'{self.seconds:g}')}"


@dataclass(frozen=True)
class FaultPlan:
    """Everything that goes wrong in one simulated world; an empty plan is a fair world."""

    faults: tuple[Fault, ...] = ()
    seed: int = 0
    """Of the latencies: which of two messages on their way at one time is the first to arrive."""
    managers: int = 1
    """Processes that share the log; each leads some of its parts."""
    scarce: tuple[tuple[str, int], ...] = ()
    """Shared records: of these commands, so many effects may stand at one time; one more is
    refused. Sagas that send the same command compete for them."""

    def keeping(self, faults: Iterable[Fault]) -> FaultPlan:
        """The same plan with these faults."""
        return replace(self, faults=tuple(faults))


# ── a plan out of a seed ─────────────────────────────────────────────────────────────────────────

_LATE: Final = (0.02, 1.0, 20.0, 100.0, 400.0)
_BRIEF: Final = (0.5, 1.0, 5.0)
_AWAY: Final = (0.5, 0.5, 1.0, 1.0, 5.0, 5.0, 40.0, DUPLICATE_WINDOW_SECONDS + 10)

_Choices = tuple[tuple[Kind, float], ...]
"""What may go wrong, each as often as it is to be drawn, with its seconds."""


def _choices(*weighed: tuple[int, Kind, tuple[float, ...]]) -> _Choices:
    return tuple(
        (kind, seconds)
        for weight, kind, options in weighed
        for seconds in options * (60 * weight // len(options))
    )


_ON_COMMANDS: Final = _choices(
    (5, Kind.REFUSED, (0.0,)),
    (3, Kind.FAILED, (0.0, 7.0)),
    (2, Kind.FAILED_FOR_GOOD, (0.0,)),
    (3, Kind.LOST, (0.0,)),
    (3, Kind.DOUBLED, _LATE),
    (4, Kind.DELAYED, _LATE),
    (1, Kind.GARBLED, (0.0,)),
    (1, Kind.WRONG_ATTEMPT, (0.0,)),
    (1, Kind.WRONG_SAGA, (0.0,)),
    (1, Kind.POISON, (0.0,)),
)
_ON_REPLIES: Final = _choices(
    (4, Kind.LOST, (0.0,)),
    (4, Kind.DOUBLED, _LATE),
    (5, Kind.DELAYED, _LATE),
)
_ON_PROCESSES: Final = _choices(
    (2, Kind.DIES_ON_RECEIPT, (*_BRIEF, *_BRIEF, 40.0)),
    (4, Kind.DIES_BEFORE_PUBLISH, _AWAY),
    (4, Kind.DIES_AFTER_PUBLISH, _AWAY),
    (3, Kind.DIES_BEFORE_ACK, _AWAY),
    (2, Kind.DIES_AFTER_ACK, _AWAY),
    (2, Kind.DIES_BEFORE_APPEND, _AWAY),
    (2, Kind.DIES_AFTER_APPEND, _AWAY),
    (2, Kind.LOG_AWAY, (0.0,)),
    (2, Kind.LOG_UNSURE, (0.0,)),
    (2, Kind.CLOCK_JUMPS, (-3600.0, -5.0, 5.0, 40.0, 3600.0)),
    (3, Kind.USURPED, (5.0, 60.0)),
)
_ON_HOLDS: Final = (
    *_ON_PROCESSES,
    *_choices((4, Kind.DIES_IN_DOUBT, (*_BRIEF, *_BRIEF, 40.0))),
)
_ON_SAGAS: Final = _choices(
    (4, Kind.CANCELLED, (0.0, 0.003, 2.0)),
    (2, Kind.STARTED_AGAIN, (0.0, 2.0)),
    (1, Kind.RETRIED, (0.0, 2.0)),
    (2, Kind.COMPENSATED, (0.0, 2.0)),
    (2, Kind.RESUMED, (0.02, 0.5, 2.0)),
    (2, Kind.RESENT, (0.0, 0.003, 2.0)),
)
_ON_STUCK: Final = _choices(
    (6, Kind.RETRIED, (1.0, 600.0)),
    (3, Kind.RESOLVED, (1.0, 60.0)),
    (2, Kind.SKIPPED, (1.0, 60.0)),
)


def draw(
    seed: int, sagas: Sequence[tuple[str, Definition]], *, rate: float = RATE, releases: int = 0
) -> FaultPlan:
    """The plan of a seed for these sagas: the same one every time, on every machine.

    Args:
        sagas: the id and the definition of each.
        rate: the share of commands that meet with trouble; 0 is a fair world.
        releases: so many newer ones may come, one after the other.
    """
    chance = random.Random(seed)
    faults: list[Fault] = []
    for saga_id, definition in sagas:
        for step in definition.steps.values():
            if chance.random() < rate:
                told = step.wait is not None  # nobody is asked
                faults += _on_command(chance, saga_id, step.name, Direction.DO, step.retry, told)
            if step.undo is not None and chance.random() < rate:
                faults += _on_command(chance, saga_id, step.name, Direction.UNDO, step.undo.retry)
        if chance.random() < rate / 2:
            faults.append(_one(chance, _ON_SAGAS, f"{saga_id}#{chance.randint(1, 9)}"))
        while rate and chance.random() < 0.5:
            faults.append(_one(chance, _ON_STUCK, f"{saga_id}#stuck"))
    for _ in range(chance.randint(0, MAX_CRASHES) if rate else 0):
        faults.append(_on_process(chance, *chance.choice(sagas)))
    plan = FaultPlan(
        tuple(faults),
        seed=seed,
        managers=chance.choice((1, 1, 2, MAX_MANAGERS)) if rate else 1,
        scarce=_scarce(chance, sagas) if chance.random() < rate / 2 else (),
    )
    released = chance.randint(0, releases) if rate and releases else 0
    if not released:
        return plan
    new = [_release(chance, chance.choice(sagas)[0]) for _ in range(released)]
    if chance.random() < 0.5:
        place = f"{chance.choice(sagas)[0]}#{chance.randint(1, 9)}"
        new.append(Fault(Kind.WITHDRAWN, place, chance.choice(_AWAY)))
    return plan.keeping((*plan.faults, *new))


def _release(chance: random.Random, saga_id: str) -> Fault:
    return Fault(Kind.RELEASED, f"{saga_id}#{chance.randint(1, 4)}", chance.choice(_BRIEF))


def may_doubt(definition: Definition) -> bool:
    """Whether a participant may have a transaction in doubt: something is held."""
    return any(step.confirms is not None for step in definition.steps.values())


def _one(chance: random.Random, choices: _Choices, at: str) -> Fault:
    kind, seconds = chance.choice(choices)
    return Fault(kind, at, seconds)


def _on_command(
    chance: random.Random,
    saga_id: str,
    step: str,
    direction: Direction,
    retry: Retry,
    told: bool = False,
) -> Iterator[Fault]:
    """Trouble for a command or for its answers: once, a few times, or until it is given up."""
    answers = chance.random() < 0.4 or told
    key = command_id(saga_id, step, direction)
    fault = _one(chance, _ON_REPLIES if answers else _ON_COMMANDS, key)
    times = chance.choice((1, 1, 1, 2, retry.attempts or 3))
    for attempt in range(1, min(times, 5) + 1):
        yield fault._replace(at=f"{key}/{attempt}{'/r' if answers else ''}")


def _on_process(chance: random.Random, saga_id: str, definition: Definition) -> Fault:
    """A death at a message, of whoever has it in hand, or trouble of a manager with its log."""
    fault = _one(chance, _ON_HOLDS if may_doubt(definition) else _ON_PROCESSES, "")
    if fault.kind.moment in (Moment.WRITING, Moment.WRITTEN):
        return fault._replace(at=f"{saga_id}#{chance.randint(1, 9)}")
    direction = Direction.UNDO if chance.random() < 0.2 else Direction.DO
    message = f"{command_id(saga_id, chance.choice(list(definition.steps)), direction)}/1"
    if fault.kind.moment is Moment.HANDLING:
        return fault._replace(at=message)
    answer = chance.random() < 0.5
    if answer is (fault.kind.moment is Moment.PUBLISHING):
        # A participant has it in hand: if that is away for long, every saga is given up.
        fault = fault._replace(seconds=min(fault.seconds, _BRIEF[-1]))
    return fault._replace(at=f"{message}/r" if answer else message)


def _scarce(
    chance: random.Random, sagas: Sequence[tuple[str, Definition]]
) -> tuple[tuple[str, int], ...]:
    """One kind of command of which fewer are granted than there are sagas."""
    _, definition = chance.choice(sagas)
    step = chance.choice(list(definition.steps.values()))
    return ((step.command.__name__, chance.randrange(len(sagas))),)

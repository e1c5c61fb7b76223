"""One line that looks for the schedule of failures which breaks a saga.

    def test_orders_survive_everything() -> None:
        check_saga(order)

Hypothesis draws inputs and faults, the simulated world plays them, the laws judge; what fails is
shrunk and told as a timeline, with a script that plays it again.

Given the participants, it plays their handlers, on databases of its own, and asks what must be true
of the data:

    def nothing_is_lost(books: Books, sagas: Sagas) -> None:
        pieces = books["stock"].scalar(sa.text("SELECT sum(on_hand + reserved) FROM stock"))
        assert pieces == 100

    def test_orders_lose_nothing() -> None:
        check_saga(order, participants=[stock, payments], invariant=nothing_is_lost)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Command, Message, reply_type
from es_saga.core.state import SagaStatus
from es_saga.participant.kit import Participant
from es_saga.testing.begin import Begin
from es_saga.testing.cast import unplayable
from es_saga.testing.exploring import Bounds, Exploration, explore
from es_saga.testing.faults import FaultPlan, Kind
from es_saga.testing.invariants import Invariant, Total
from es_saga.testing.kin import with_children
from es_saga.testing.outcome import Outcome
from es_saga.testing.simulation.listeners import Openings
from es_saga.testing.story import Story, Violation
from es_saga.testing.strategies import fault_plans, messages
from es_saga.testing.world import APART_SECONDS, World

EXAMPLES: Final = 200
"""Schedules tried by default."""

MAX_SAGAS: Final = 3
"""Sagas that run side by side in one schedule, at most."""

REPORT_EVERY: Final = 10
"""Schedules between two calls of `progress`."""

T = TypeVar("T")

Replies = Mapping[type[Command[Any]], Message]


FEW_FAULTS: Final = Bounds(faults=2)
"""Every schedule with up to two faults: most mistakes need no more, and it takes a moment."""

Finding = Outcome | Exploration


class LawBroken(AssertionError):
    """A saga breaks a law; the message tells how. `finding` can be looked at more closely."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(str(finding))

    @property
    def violation(self) -> Violation | None:
        """The first of the laws that are broken, and where; None: a function is not pure."""
        if isinstance(self.finding, Outcome):
            return self.finding.findings[0]
        found = self.finding.counterexample
        return found and found.violation

    @property
    def story(self) -> Story | None:
        """The saga that breaks it, if one alone does."""
        if isinstance(self.finding, Exploration):
            return self.finding.counterexample and self.finding.counterexample.story
        saga_id = self.finding.findings[0].saga_id
        return next((one for one in self.finding.stories if one.saga_id == saga_id), None)


@dataclass(kw_only=True)
class Checked:
    """What a check has seen."""

    saga: str
    earlier: tuple[int, ...] = ()
    """Versions that sagas began on, too."""
    exploration: Exploration
    children: tuple[Exploration, ...] = ()
    """Of the sagas that it runs, each as a child."""
    schedules: int = 0
    laws: set[str] = field(default_factory=set[str])
    """Numbers of the laws that had something to look at."""
    fates: Counter[SagaStatus] = field(default_factory=Counter[SagaStatus])
    """How often a saga ended how."""
    faults: Counter[Kind] = field(default_factory=Counter[Kind])
    """Faults that struck."""
    played: tuple[str, ...] = ()
    """The participants whose handlers were played."""
    unplayed: tuple[str, ...] = ()
    """Those for which models answered, since PostgreSQL is not installed."""
    seconds: float = 0.0

    @property
    def hint(self) -> str:
        """What would make more of the check; nothing, if all is well."""
        if self.unplayed:
            return (
                f"{', '.join(self.unplayed)}: transactions are prepared, which takes PostgreSQL, "
                "and that is not installed. Models answered. Install es-saga[postgres]."
            )
        if not self.played or not self.schedules or self.fates[SagaStatus.COMPLETED]:
            return ""
        return (
            "No saga completed. If the handlers do not know its inputs, give others: data=, or "
            'examples of their fields, as sku: str = Field(examples=["teapot"]).'
        )

    def __str__(self) -> str:
        fates = ", ".join(f"{count} {fate.value}" for fate, count in self.fates.most_common())
        played = f", with the handlers of {', '.join(self.played)}" if self.played else ""
        earlier = f" upgraded from v{', v'.join(map(str, self.earlier))}" if self.earlier else ""
        told = (
            f"{self.saga}{earlier}: {self.schedules:,} schedules with {self.faults.total():,} "
            f"faults of {len(self.faults)} kinds{played}, {len(self.laws)} laws hold; {fates} "
            f"({self.seconds:.1f} s)"
        )
        explored = map(str, (self.exploration, *self.children))
        return "\n".join(line for line in (told, self.hint, *explored) if line)


Progress = Callable[[str, int, int], None]
"""`("explored", 500, 1200)`: what, how many, and of how many as far as is known."""

CHECKS: Final[list[Checked]] = []
"""Every check of this process that has ended, for the report of the pytest plugin."""


def check_saga(
    saga: Saga[Any] | Definition,
    *,
    earlier: Iterable[Saga[Any] | Definition] = (),
    participants: Iterable[Participant] = (),
    data: st.SearchStrategy[Message] | None = None,
    replies: Replies | None = None,
    invariant: Invariant | Sequence[Invariant] = (),
    always: Invariant | Sequence[Invariant] = (),
    constant: Total | Sequence[Total] = (),
    residue: Collection[str] | None = None,
    openings: Openings | None = None,
    examples: int = EXAMPLES,
    seeded: int | None = None,
    bounds: Bounds = FEW_FAULTS,
    progress: Progress | None = None,
) -> Checked:
    """Play a saga under every kind of trouble, and judge it by the laws.

        check_saga(order)
        check_saga(order, participants=[stock, payments], invariant=nothing_is_lost)

    Args:
        earlier: versions of it that sagas may still be on: schedules begin under the first, and the
            next ones are released, and withdrawn for a while, as sagas run.
        participants: played by their own handlers, each on a database of its own, made as `serve`
            makes it (see `es_saga.testing.simulation.handlers`): SQLite in memory, or PostgreSQL
            for those that prepare transactions; in a choreography by their own reactions (see
            `es_saga.testing.simulation.listeners`). All others are models, which answer whatever
            suits. Where PostgreSQL is not installed, models answer for those, too, unless something
            is asked of the data. The annotations of handlers say what they may refuse; any other
            command may be refused, too.
        data: inputs; default: everything that the saga's model allows, and often the examples of
            its fields, `sku: str = Field(examples=["teapot"])`. Handlers get far with those only
            that they know.
        replies: what models answer; default: made up from the commands' promises.
        invariant: asked of the participants' databases, by name, and of the sagas, by id, once all
            is settled; raises AssertionError where something is wrong. One or several.
        always: likewise, and besides after each transaction of a participant.
        constant: what must never change, asked after each transaction of a participant: the sum of
            what is available, reserved and consumed, say (law L75). One or several.
        residue: where all sagas of a schedule were undone, the participants' tables are to be as
            they were, but for these tables (`"ledger"`) and columns (`"orders.status"`). None: they
            are not looked at.
        openings: of a choreography, by its first event: what somebody does at the participant that
            begins it, a function of a connection and the event. Without one it only tells it.
        examples: how many schedules to try.
        seeded: try others, those of this seed; without one it is the same schedules every time.
        bounds: how far to explore one saga alone first; `Bounds()`: up to three faults.
        progress: told every now and then what it is at, how far, and of how much.

    Raises:
        LawBroken: a law is, or an invariant, or a participant does what it must not, by the
            smallest schedule that it could make of it; or a function of the saga is not pure.
        DefinitionError: the saga cannot be run.
        InvalidInput: a given reply is not what its command promises, no example of a message could
            be made, a participant has no handler for a command or needs PostgreSQL, which is not
            installed, there is no such residue, or what is given as an earlier version is none.
    """
    began = time.perf_counter()
    participants, left = tuple(participants), list[Participant]()
    if not (invariant or always or constant or residue is not None):
        left = unplayable(participants)
    definition = saga.definition if isinstance(saga, Saga) else saga
    older = [_older(one, definition) for one in earlier]
    replies = _honest(replies or {})
    world = World(
        [*older, saga],
        participants=[one for one in participants if one not in left],
        replies=replies,
        invariant=invariant,
        always=always,
        constant=constant,
        residue=residue,
        openings=openings,
    )
    tell: Progress = progress or _say_nothing
    kin = with_children([definition])
    exploration, *children = (
        _explored(one, bounds, replies, participants, tell, child=one is not definition)
        for one in kin
    )
    asked = {by for one in world.definitions for by in _played_in(one)}
    checked = Checked(
        saga=definition.name,
        earlier=tuple(one.version for one in older),
        exploration=exploration,
        children=tuple(children),
        laws={law for one in (exploration, *children) for law in one.laws},
        played=tuple(name for name in world.cast.participants if name in asked),
        unplayed=tuple(one.name for one in left if one.name in asked),
    )

    def play(begins: list[Begin], plan: FaultPlan) -> None:
        outcome = world.run(begins, faults=plan)
        if outcome.findings:
            raise LawBroken(world.smaller(outcome))
        _note(checked, outcome)
        if checked.schedules % REPORT_EVERY == 0:
            tell("played", checked.schedules, examples)

    data = data if data is not None else messages(definition.data)
    schedules = _schedules(definition, data, older)
    if examples:
        _search(lambda schedule: play(*schedule), schedules, examples, seeded)
    checked.seconds = time.perf_counter() - began
    CHECKS.append(checked)
    return checked


def _played_in(definition: Definition) -> Iterator[str]:
    """Who takes part: by answering, or by telling."""
    if not definition.conducted:
        yield from (by for by, _ in definition.correlations)
    for step in definition.steps.values():
        if not step.asks_nobody:
            yield step.command.to


def _explored(
    definition: Definition,
    bounds: Bounds,
    replies: Replies,
    participants: Iterable[Participant],
    tell: Progress,
    *,
    child: bool,
) -> Exploration:
    """What was seen of one saga alone.

    Raises:
        LawBroken: it breaks a law, or a function of it is not pure.
    """
    by_step = {
        name: replies[step.command]
        for name, step in definition.steps.items()
        if step.command in replies
    }
    exploration = explore(
        definition,
        bounds=bounds,
        replies=by_step,
        participants=participants,
        child=child,
        progress=lambda done, waiting: tell("explored", done, done + waiting),
    )
    if not exploration:
        raise LawBroken(exploration)
    return exploration


def _older(one: Saga[Any] | Definition, definition: Definition) -> Definition:
    """A version that came before.

    Raises:
        InvalidInput: it did not, or it is a choreography.
    """
    older = one.definition if isinstance(one, Saga) else one
    if older.name != definition.name or older.version >= definition.version:
        raise InvalidInput(
            f"{older.name!r} version {older.version} is no earlier version of "
            f"{definition.name!r} version {definition.version}.",
            hint="The newest one is checked, and `earlier` has those before it, of the same name.",
        )
    if not definition.conducted:
        raise InvalidInput(
            f"Nobody conducts {definition.name!r}, and its services know no versions of it.",
            hint="Check each version by itself.",
        )
    return older


def _say_nothing(what: str, done: int, total: int) -> None: ...


def _schedules(
    definition: Definition, data: st.SearchStrategy[Message], earlier: Sequence[Definition]
) -> st.SearchStrategy[tuple[list[Begin], FaultPlan]]:
    """Some sagas of one type, and what goes wrong with them."""

    name = "saga" if definition.conducted else definition.name  # the id says the key, too
    ids = [f"{name}-{number}" for number in range(1, MAX_SAGAS + 1)]
    plans = {
        count: fault_plans(definition, ids[:count], earlier=earlier)
        for count in range(1, MAX_SAGAS + 1)
    }
    apart = APART_SECONDS if earlier else 0.0

    def of(inputs: list[Message]) -> st.SearchStrategy[tuple[list[Begin], FaultPlan]]:
        begins = [
            Begin(saga_id, definition.name, given.model_dump(mode="json"), apart * number)
            for number, (saga_id, given) in enumerate(zip(ids, inputs, strict=False))
        ]
        return st.tuples(st.just(begins), plans[len(inputs)])

    return st.lists(data, min_size=1, max_size=MAX_SAGAS).flatmap(of)


def _search(
    play: Callable[[T], None],
    schedules: st.SearchStrategy[T],
    examples: int,
    seeded: int | None,
) -> None:
    """Have Hypothesis call `play` until it raises. A finding is made smaller by its world, which
    knows which faults are alike: Hypothesis takes minutes for the same."""
    test = given(schedules)(play)
    test = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=seeded is None,
        report_multiple_bugs=False,
        print_blob=False,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much),
    )(test)
    if seeded is not None:
        test = seed(seeded)(test)
    test()


def _note(checked: Checked, outcome: Outcome) -> None:
    checked.schedules += 1
    checked.laws |= outcome.judgement.applied
    checked.fates.update(state.status for state in outcome.states.values())
    checked.faults += outcome.happened


def _honest(replies: Replies) -> Replies:
    """The same, once it is clear that each is what its command promises.

    Raises:
        InvalidInput: one is not: that is the participant's fault, not the saga's.
    """
    for command, reply in replies.items():
        promised = reply_type(command)
        if not isinstance(reply, promised):
            raise InvalidInput(
                f"The participant {command.to!r} is given to answer {command.__name__} with "
                f"{type(reply).__name__}; the command promises {promised.__name__}.",
                hint="Correct `replies`: it is not the saga that is wrong.",
            )
    return replies

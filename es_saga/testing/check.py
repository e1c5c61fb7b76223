"""One line that looks for the schedule of failures which breaks a saga.

    def test_orders_survive_everything() -> None:
        check_saga(order)

Hypothesis draws inputs and faults, the simulated world plays them, the laws judge; what fails is
shrunk and told as a timeline, with a script that plays it again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
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
from es_saga.testing.exploring import Bounds, Exploration, explore
from es_saga.testing.faults import FaultPlan, Kind
from es_saga.testing.outcome import Outcome
from es_saga.testing.simulation.people import Begin
from es_saga.testing.story import Story, Violation
from es_saga.testing.strategies import fault_plans, messages
from es_saga.testing.world import World

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
    exploration: Exploration
    schedules: int = 0
    laws: set[str] = field(default_factory=set[str])
    """Numbers of the laws that had something to look at."""
    fates: Counter[SagaStatus] = field(default_factory=Counter[SagaStatus])
    """How often a saga ended how."""
    faults: Counter[Kind] = field(default_factory=Counter[Kind])
    """Faults that struck."""
    seconds: float = 0.0

    def __str__(self) -> str:
        fates = ", ".join(f"{count} {fate.value}" for fate, count in self.fates.most_common())
        told = (
            f"{self.saga}: {self.schedules:,} schedules with {self.faults.total():,} faults of "
            f"{len(self.faults)} kinds, {len(self.laws)} laws hold; {fates} ({self.seconds:.1f} s)"
        )
        return f"{told}\n{self.exploration}"


Progress = Callable[[str, int, int], None]
"""`("explored", 500, 1200)`: what, how many, and of how many as far as is known."""

CHECKS: Final[list[Checked]] = []
"""Every check of this process that has ended, for the report of the pytest plugin."""


def check_saga(
    saga: Saga[Any] | Definition,
    *,
    participants: Iterable[Participant] = (),
    data: st.SearchStrategy[Message] | None = None,
    replies: Replies | None = None,
    examples: int = EXAMPLES,
    seeded: int | None = None,
    bounds: Bounds = FEW_FAULTS,
    progress: Progress | None = None,
) -> Checked:
    """Play a saga under every kind of trouble, and judge it by the laws.

    Args:
        participants: they say which refusals can come; any other command may be refused, too.
        data: inputs; default: everything that the saga's model allows.
        replies: what commands are answered with; default: made up from their models.
        examples: how many schedules to try.
        seeded: try others, those of this seed; without one it is the same schedules every time.
        bounds: how far to explore one saga alone first; `Bounds()`: up to three faults.
        progress: told every now and then what it is at, how far, and of how much.

    Raises:
        LawBroken: a law is, by the smallest schedule that it could make of it; or a function of
            the saga is not pure.
        DefinitionError: the saga cannot be run.
        InvalidInput: a given reply is not what its command promises, or no example of a message
            could be made.
    """
    began = time.perf_counter()
    definition = saga.definition if isinstance(saga, Saga) else saga
    replies = _honest(replies or {})
    by_step = {
        name: replies[step.command]
        for name, step in definition.steps.items()
        if step.command in replies
    }
    tell: Progress = progress or _say_nothing
    exploration = explore(
        definition,
        bounds=bounds,
        replies=by_step,
        participants=participants,
        progress=lambda done, waiting: tell("explored", done, done + waiting),
    )
    if not exploration:
        raise LawBroken(exploration)
    checked = Checked(saga=definition.name, exploration=exploration, laws=set(exploration.laws))

    def play(begins: list[Begin], plan: FaultPlan) -> None:
        world = World([saga], faults=plan, replies=replies)
        outcome = world.run(begins)
        if outcome.findings:
            raise LawBroken(world.smaller(outcome))
        _note(checked, outcome)
        if checked.schedules % REPORT_EVERY == 0:
            tell("played", checked.schedules, examples)

    schedules = _schedules(definition, data if data is not None else messages(definition.data))
    if examples:
        _search(lambda schedule: play(*schedule), schedules, examples, seeded)
    checked.seconds = time.perf_counter() - began
    CHECKS.append(checked)
    return checked


def _say_nothing(what: str, done: int, total: int) -> None: ...


def _schedules(
    definition: Definition, data: st.SearchStrategy[Message]
) -> st.SearchStrategy[tuple[list[Begin], FaultPlan]]:
    """Some sagas of one type, and what goes wrong with them."""

    def of(inputs: list[Message]) -> st.SearchStrategy[tuple[list[Begin], FaultPlan]]:
        ids = [f"saga-{number}" for number in range(1, len(inputs) + 1)]
        begins = [
            Begin(saga_id, definition.name, given.model_dump(mode="json"))
            for saga_id, given in zip(ids, inputs, strict=True)
        ]
        return st.tuples(st.just(begins), fault_plans(definition, ids))

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

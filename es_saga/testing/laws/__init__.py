"""The laws of sagas, as functions that look at what happened and object.

Each law has a number, a sentence, a condition, and explains what breaks it. Any history can be
judged, whoever wrote it: nothing here asks our engine what would have been right, and nonsense is
answered with violations, never with an exception. What is observed decides which laws apply: a bare
history is enough for most; effects and published commands bring in the others.

Sources, in brackets after a sentence: GS87 Garcia-Molina & Salem, Sagas, SIGMOD 1987 · FT flexible
transactions (Mehrotra 1992, Zhang 1994) · TCC try/confirm/cancel fences · LRA MicroProfile Long
Running Actions · CAL saga calculi (cCSP, StAC) · ES event-sourcing practice · R and D: rows of the
requirements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from types import ModuleType
from typing import Any, Final

from es_saga.testing.laws import (
    ambiguity,
    holds,
    isolation,
    nested,
    outbox,
    parallel,
    pivot,
    save_points,
    shape,
    sourcing,
    system,
    tcc,
    undoing,
)
from es_saga.testing.laws.isolation import Data, DataLaw
from es_saga.testing.laws.law import Law, StoryLaw, applicable
from es_saga.testing.laws.reading import Reading
from es_saga.testing.laws.system import Overview, SystemLaw
from es_saga.testing.story import Judgement, Story, System, Violation


def _laws_in(*modules: ModuleType) -> list[Law[Any, Any]]:
    found: list[Law[Any, Any]] = [
        one for module in modules for one in vars(module).values() if isinstance(one, Law)
    ]
    return sorted(found, key=attrgetter("number"))


LAWS: Final[tuple[StoryLaw, ...]] = tuple(
    _laws_in(shape, pivot, save_points, ambiguity, undoing, sourcing, outbox, parallel, tcc)
)
"""The laws of one saga, in the order of their numbers."""

SYSTEM_LAWS: Final[tuple[SystemLaw, ...]] = tuple(_laws_in(system, holds, nested))
"""The laws of several sagas together, and of what was kept and told of them."""

DATA_LAWS: Final[tuple[DataLaw, ...]] = tuple(_laws_in(isolation))
"""The laws of what sagas share in the participants' databases."""

AT_ALL_TIMES: Final = frozenset({"L64"})
"""Of these, those that hold in the middle of everything, too."""

NOT_JUDGED: Final[Mapping[str, str]] = {
    "L55": "no history shows it: a log that was encrypted and shredded does",
}
"""Numbers without a law here, and why. What L65 to L69 ask is promised by one helper each, in every
order: see `commutative`, `pessimistic_view`, `reread`, `version_file`, `by_value`.
"""


def judge(story: Story, laws: Sequence[StoryLaw] = LAWS) -> Judgement:
    """What the laws say of one saga."""
    return _judge(Reading(story), laws)


def _judge(reading: Reading, laws: Sequence[StoryLaw]) -> Judgement:
    applied = applicable(laws, reading)
    return Judgement(
        [
            Violation(law.number, reading.saga_id, None if index is None else index + 1, why)
            for law in applied
            for index, why in law(reading)
        ],
        frozenset(law.number for law in applied),
    )


def judge_system(
    system: System, laws: Sequence[SystemLaw] = SYSTEM_LAWS, of_stories: Sequence[StoryLaw] = LAWS
) -> Judgement:
    """What the laws say of several sagas: of each of them, and of them together."""
    seen = Overview(system, [Reading(story) for story in system.stories])
    judged = [_judge(reading, of_stories) for reading in seen.readings]
    applied = applicable(laws, seen)
    together = [
        Violation(law.number, saga_id, None if index is None else index + 1, why)
        for law in applied
        for saga_id, index, why in law(seen)
    ]
    return Judgement(
        [*(violation for one in judged for violation in one.violations), *together],
        frozenset(law.number for law in applied).union(*(one.applied for one in judged)),
    )


def judge_data(data: Data, *, settled: bool) -> Iterator[tuple[str, str]]:
    """Which laws a participant's database breaks, and how.

    Args:
        settled: every saga has ended or is stuck; else something goes on.
    """
    for one in applicable(
        [law for law in DATA_LAWS if settled or law.number in AT_ALL_TIMES], data
    ):
        for why in one(data):
            yield one.number, why


__all__ = [
    "DATA_LAWS",
    "LAWS",
    "NOT_JUDGED",
    "SYSTEM_LAWS",
    "Law",
    "StoryLaw",
    "SystemLaw",
    "judge",
    "judge_data",
    "judge_system",
]

"""The laws of sagas hold for random definitions under random schedules of faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings

from tests.core import laws
from tests.core.run import Run
from tests.core.worlds import runs

EXAMPLES = 40
"""Runs a law of inputs."""

STORIES = 300
"""Runs that all laws of a story judge."""

Law = Callable[[Run], None]

_LAWS: list[Law] = [
    law for name, law in vars(laws).items() if name[:1] == "l" and name[1:3].isdigit()
]


def _holds(law: Law, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(runs())
    def holds(run: Run) -> None:
        law(run)

    holds()


@pytest.mark.requirement("R010", "R025", "R032", "R033", "R037", "R038", "R039", "R045", "R046")
def test_every_law_of_a_story_holds_after_each_input() -> None:
    _holds(laws.every_law_of_a_story_holds_after_each_input, STORIES)


@pytest.mark.parametrize("law", [pytest.param(law, id=law.__name__) for law in _LAWS])
def test_law(law: Law) -> None:
    _holds(law, EXAMPLES)

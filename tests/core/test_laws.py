"""The laws of sagas hold for random definitions under random schedules of faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings

from tests.core import laws
from tests.core.run import Run
from tests.core.worlds import runs

RUNS = 300
"""To draw one takes far longer than to judge it; so all laws judge the same ones."""

Law = Callable[[Run], None]

_LAWS: list[Law] = [
    law for name, law in vars(laws).items() if name[:1] == "l" and name[1:3].isdigit()
]


@pytest.mark.requirement("R010", "R025", "R032", "R033", "R037", "R038", "R039", "R045", "R046")
@settings(max_examples=RUNS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_the_laws_hold(run: Run) -> None:
    """Of a story after each input, and of inputs; the traceback names the one that is broken."""
    laws.every_law_of_a_story_holds_after_each_input(run)
    for law in _LAWS:
        law(run)


def test_the_laws_of_inputs_are_found() -> None:
    assert len(_LAWS) == 11

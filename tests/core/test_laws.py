"""The laws of sagas hold for random definitions under random schedules of faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings

from tests.core import laws
from tests.core.worlds import Run, runs

EXAMPLES = 40
"""Runs a law. All laws see other runs, so the rules themselves see some 1,500."""

Law = Callable[[Run], None]

LAWS: list[Law] = [
    law for name, law in vars(laws).items() if name[:1] == "l" and name[1:3].isdigit()
]

ROWS = {
    "l05": ("R010",),
    "l06": ("R032",),
    "l07": ("R033",),
    "l08": ("R033",),
    "l12": ("R046",),
    "l13": ("R046",),
    "l18": ("R045",),
    "l37": ("R037", "R038", "R039"),
    "l41": ("R025",),
}
"""Requirements that a law shows."""


def _marked(law: Law) -> object:
    number, _, name = law.__name__.partition("_")
    marks = [pytest.mark.law(number.upper())]
    if number in ROWS:
        marks.append(pytest.mark.requirement(*ROWS[number]))
    return pytest.param(law, id=f"{number.upper()}-{name.replace('_', '-')}", marks=marks)


@pytest.mark.parametrize("law", [_marked(law) for law in LAWS])
def test_law(law: Law) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(runs())
    def holds(run: Run) -> None:
        law(run)

    holds()

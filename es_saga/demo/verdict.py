"""The verdict: how every saga ended, and what the participants' databases say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from es_saga.cli import compose
from es_saga.database import make_engine
from es_saga.demo.scenario import Fate, Scenario, Totals
from es_saga.demo.stage import Stage


class Entry(NamedTuple):
    """One total of a service: by how much it has changed, and should have."""

    what: str
    change: int
    expected: int

    @property
    def right(self) -> bool:
        """Whether not a penny is missing, nor one too many."""
        return self.change == self.expected


def entries(before: Totals, after: Totals, fates: Iterable[Fate]) -> dict[str, list[Entry]]:
    """Every total of every service, with what sagas of these fates must have done to it together.

    Raises:
        AssertionError: a fate leaves something that nobody counts.
    """
    expected = Counter[tuple[str, str]]()
    for fate in fates:
        for service, leaves in fate.leaves.items():
            for what, change in leaves.items():
                expected[service, what] += change
    found = {
        service: [
            Entry(what, value - before[service][what], expected.pop((service, what), 0))
            for what, value in totals.items()
        ]
        for service, totals in after.items()
    }
    assert not expected, f"nobody counts {', '.join(map('.'.join, expected))}"
    return found


def count(scenario: Scenario, stage: Stage) -> Totals:
    """What every service of the app holds now, from its own database."""
    counting: Mapping[str, Callable[[sa.Engine], dict[str, int]]] = compose.load(scenario.totals)
    found: dict[str, dict[str, int]] = {}
    for service in stage.app.participants:
        if service in counting:
            engine = make_engine(stage.settings.participant_url(service))
            try:
                found[service] = counting[service](engine)
            finally:
                engine.dispose()
    return found

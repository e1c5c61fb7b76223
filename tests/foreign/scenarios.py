"""Scenarios of other projects in our words: what happens, how it ends, and who plays it here.

Each source has a table, with one row for each of its scenarios. A row is played by its path, by one
test function, or not at all, and then it says why.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, ParamSpec

from es_saga import Saga
from es_saga.core.aggregate import fold
from es_saga.core.state import SagaStatus
from es_saga.testing import Scene, Story, Violation, judge
from es_saga.testing.outcome import Outcome
from es_saga.testing.timeline import timeline
from tests.core.sagas import Trip
from tests.foreign.path import SAGA_ID

P = ParamSpec("P")
Found = Scene | Story | Outcome

COMPLETED: Final = SagaStatus.COMPLETED
COMPENSATED: Final = SagaStatus.COMPENSATED
STUCK: Final = SagaStatus.STUCK


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row: a scenario, and how it is played."""

    id: str
    """As its source calls it; our own words where the source gives rules and no names."""
    situation: str
    end: SagaStatus | str
    """How the saga ends here; or what comes of it, where no saga comes to an end."""
    saga: Saga[Trip] | None = None
    path: str = ""
    """The saga's, see `tests.foreign.path`. Empty: a test plays it, unless it is `missing`."""
    ours: str = ""
    """Why we do it another way than the source, where we do."""
    missing: str = ""
    """Why it is not played."""


class Table:
    """The scenarios of one source.

    Args:
        source: the project, the files, and the commit or the day at which they were read.
    """

    def __init__(self, source: str, *rows: Scenario) -> None:
        self.source = source
        self.rows = {row.id: row for row in rows}
        assert len(self.rows) == len(rows), "a scenario has one row"
        self.players: Counter[str] = Counter()

    def plays(self, *ids: str) -> Callable[[Callable[P, Found | None]], Callable[P, None]]:
        """Decorator: the test plays these; the saga that it returns must come to their end."""
        rows = [self.rows[name] for name in ids]

        def register(test: Callable[P, Found | None]) -> Callable[P, None]:
            assert test.__name__.startswith("test_"), f"{test.__name__} would not run"
            self.players.update(ids)

            @functools.wraps(test)
            def played(*args: P.args, **kwargs: P.kwargs) -> None:
                found = test(*args, **kwargs)
                for row in rows:
                    came_to(row.end, found)

            return played

        return register


def came_to(end: SagaStatus | str, found: Found | None) -> None:
    """The saga came to this end, and broke no law on the way."""
    if not isinstance(end, SagaStatus):
        assert found is None, "a row about the end of a saga names its status"
        return
    assert found is not None, "a test returns the saga that it has played"
    violations: Sequence[Violation]
    if isinstance(found, Outcome):
        story, violations = found.stories[0], found.findings
    else:
        story = found.nothing_sent().story if isinstance(found, Scene) else found
        violations = judge(story).violations
    state = fold(SAGA_ID, story.history)
    assert state is not None, "it has begun"
    assert state.status is end, f"{end} was expected:\n{timeline(story.history)}"
    assert not violations, f"{violations}\n{timeline(story.history)}"

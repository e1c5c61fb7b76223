"""How the sagas are doing: what is counted is what a recount of the log finds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_saga import InvalidInput
from es_saga.adapters import migrate
from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    DeadlineExceeded,
    LateReplyNoted,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaStarted,
    SagaStuck,
    StepFailed,
    StepRefused,
    StepRetried,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)
from es_saga.core.messages import Direction, as_written, part_of
from es_saga.core.state import SagaState
from es_saga.database import make_engine
from es_saga.engine.ports import Recorded
from es_saga.projections import health as health_view
from es_saga.projections.alerts import ALERTS, IDLE_METADATA, AlertsView
from es_saga.projections.health import (
    LEAST_SECONDS,
    QUANTILE_ERROR,
    SAGA_COUNTS,
    SERVICES,
    STEP_COUNTS,
    bucket_of,
    health,
    quantile,
)
from es_saga.projections.queries import Queries
from es_saga.projections.status import STATUS
from es_saga.projections.view import Batch
from tests.core.run import Run
from tests.core.worlds import runs
from tests.projections.logs import NAMES, events_of
from tests.projections.test_lists import a_row

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
TABLES = tuple(health.metadata.tables)


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'log.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    found = make_engine(url)
    migrate.upgrade(found)
    health.metadata.create_all(found)
    yield found
    found.dispose()


History = tuple[str, Sequence[SagaEvent]]


def take_in(engine: sa.Engine, histories: Sequence[History], together: int) -> None:
    """Have the view take in sagas, one after the other."""
    before: Mapping[str, SagaState] = {}
    events = [
        Recorded(part_of(saga_id), number, saga_id, number, event, b"{}")
        for saga_id, history in histories
        for number, event in enumerate(history, 1)
    ]
    for first in range(0, len(events), together):
        batch = Batch.following(events[first : first + together], before)
        with engine.begin() as connection:
            health.apply(connection, batch)
        before = batch.states


def empty(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for table in TABLES:
            connection.exec_driver_sql(f"DELETE FROM {table}")


def rows(engine: sa.Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return {
            name: sorted(
                tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name}").all()
            )
            for name in TABLES
        }


# ── recounted ────────────────────────────────────────────────────────────────────────────────────

_SAGA: dict[type[SagaEvent], str] = {
    SagaStarted: "started",
    SagaCompleted: "completed",
    SagaStuck: "stuck",
    DeadlineExceeded: "overdue",
    LateReplyNoted: "late",
}
_STEP: dict[type[SagaEvent], tuple[str, str]] = {
    StepStarted: ("do", "sent"),
    StepRetried: ("do", "sent"),
    StepSucceeded: ("do", "succeeded"),
    StepRefused: ("do", "refused"),
    StepFailed: ("do", "failed"),
    StepTimedOut: ("do", "timed_out"),
    CompensationIssued: ("undo", "sent"),
    CompensationSucceeded: ("undo", "succeeded"),
}


def recount(saga_type: str, history: Sequence[SagaEvent]) -> Counter[tuple[Any, ...]]:
    """What happened, out of the events alone."""
    found: Counter[tuple[Any, ...]] = Counter()
    for event in history:
        name = _SAGA.get(type(event))
        if isinstance(event, CompensationStarted) and event.back_to is None:
            name = "turned"  # back to a save-point, it goes on from there
        if isinstance(event, SagaCompensated):
            name = "excepted" if event.exceptions else "compensated"
        if name is not None:
            found[saga_type, name] += 1
            found[saga_type, int(event.at // 60) * 60, name] += 1
        step: Any = event
        if isinstance(event, CompensationFailed):
            by_clock = event.cause is None and not event.refused
            how = "timed_out" if by_clock else "refused" if event.refused else "failed"
            found[saga_type, as_written(step.step), "undo", how] += 1
        elif type(event) in _STEP:
            found[saga_type, as_written(step.step), *_STEP[type(event)]] += 1
    return found


def counted(engine: sa.Engine) -> Counter[tuple[Any, ...]]:
    """What the view has counted."""
    found: Counter[tuple[Any, ...]] = Counter()
    with engine.connect() as connection:
        for row in connection.execute(sa.select(health_view.TOTALS)).mappings():
            found.update({(row["type"], name): row[name] for name in SAGA_COUNTS})
        for row in connection.execute(sa.select(health_view.MINUTES)).mappings():
            found.update({(row["type"], row["minute"], name): row[name] for name in SAGA_COUNTS})
        for row in connection.execute(sa.select(health_view.STEPS)).mappings():
            key = (row["type"], row["step"], row["direction"])
            found.update({(*key, name): row[name] for name in STEP_COUNTS})
    return +found


def test_the_counts_equal_a_recount_of_the_log(engine: sa.Engine) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
    @given(st.lists(runs(), min_size=1, max_size=2), st.integers(1, 100))
    def holds(some: list[Run], together: int) -> None:
        empty(engine)
        histories = [(f"s-{number}", run.log) for number, run in enumerate(some)]
        take_in(engine, histories, together)
        again: Counter[tuple[Any, ...]] = Counter()
        for run in some:
            again.update(recount(run.definition.name, run.log))
        assert counted(engine) == again

    holds()


@pytest.mark.law("L54")
def test_the_counts_do_not_depend_on_how_events_come_together(engine: sa.Engine) -> None:
    histories = [(f"h-{number}", events_of(name)) for number, name in enumerate(NAMES)]
    seen: list[dict[str, list[tuple[Any, ...]]]] = []
    for together in (1, 7, 1_000):
        empty(engine)
        take_in(engine, histories, together)
        seen.append(rows(engine))
    assert seen[0] == seen[1] == seen[2]
    assert all(seen[0].values())


# ── durations ────────────────────────────────────────────────────────────────────────────────────


@given(st.floats(LEAST_SECONDS, 1e8))
def test_a_duration_is_found_again_as_closely_as_promised(seconds: float) -> None:
    found = quantile({bucket_of(seconds): 1}, 0.5)
    assert found is not None
    assert abs(math.log(found / seconds)) <= math.log(1 + QUANTILE_ERROR) + 1e-6


@given(
    st.lists(st.floats(0.001, 1e5), min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.95, 1])
)
def test_a_quantile_is_that_of_the_durations_as_closely_as_promised(
    durations: list[float], fraction: float
) -> None:
    right = sorted(durations)[max(0, math.ceil(fraction * len(durations)) - 1)]
    found = quantile(Counter(map(bucket_of, durations)), fraction)
    assert found is not None
    assert abs(found / right - 1) <= QUANTILE_ERROR + 1e-6


def test_without_durations_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None


# ── asked ────────────────────────────────────────────────────────────────────────────────────────

START = 1_000_000.0
"""On no minute and no hour."""


def a_history(at: float, *, refused: bool = False) -> list[SagaEvent]:
    """Two steps: 2 s and 8 s; or the second one refused and the first undone within 1 s."""
    command: dict[str, Any] = {"command": {}, "to": "stock", "due": at + 60}
    reserve: dict[str, Any] = command | {"command_type": "Reserve"}
    charge: dict[str, Any] = command | {"command_type": "Charge", "to": "bank"}
    release: dict[str, Any] = command | {"command_type": "Release"}
    started = SagaStarted(at=at, saga_type="order", definition=1, fingerprint="f", data={})
    events: list[SagaEvent] = [
        started,
        StepStarted(at=at, step="reserve", command_id="x/reserve/do", **reserve),
        StepSucceeded(at=at + 2, step="reserve", attempt=1),
        StepStarted(at=at + 2, step="charge", command_id="x/charge/do", **charge),
        StepTimedOut(at=at + 4, step="charge", attempt=1, retry_at=at + 5),
        StepRetried(at=at + 5, step="charge", command_id="x/charge/do", attempt=2, due=at + 60),
    ]
    if not refused:
        done = StepSucceeded(at=at + 10, step="charge", attempt=2)
        return [*events, done, SagaCompleted(at=at + 10)]
    return [
        *events,
        StepRefused(at=at + 10, step="charge", attempt=2, refusal_type="No", refusal={}),
        CompensationStarted(at=at + 10, why="No", step="charge"),
        CompensationIssued(at=at + 10, step="reserve", command_id="x/reserve/undo", **release),
        CompensationSucceeded(at=at + 11, step="reserve", attempt=1),
        SagaCompensated(at=at + 11),
    ]


def near(seconds: float) -> Any:
    return pytest.approx(seconds, rel=QUANTILE_ERROR + 1e-6)


@pytest.mark.requirement("R080")
def test_vitals_tell_counts_rates_durations_and_what_waits_too_long(engine: sa.Engine) -> None:
    histories = [(f"s-{n}", a_history(START + n)) for n in range(9)]
    histories.append(("bad", a_history(START + 20, refused=True)))
    histories.append(("old", a_history(START - 9_000)))
    take_in(engine, histories, 1_000)
    AlertsView.metadata.create_all(engine)
    IDLE_METADATA.create_all(engine)
    owed: dict[str, Any] = {"saga_id": "a", "kind": "undo", "step": "s", "opened_version": 1}
    owed |= {"type": "order", "part": 1, "why": "w", "opened": 1.0, "opened_position": 1}
    with engine.begin() as connection:
        connection.execute(sa.insert(ALERTS), owed)
        connection.execute(
            sa.insert(STATUS),
            [
                a_row(1, status="running", closed=None, type="trip"),
                a_row(2, status="stuck", closed=None, updated=START),
                a_row(3, status="stuck", closed=None, updated=START + 100),
                a_row(4),
            ],
        )

    found = Queries(engine).vitals(within=600.0, stuck_for=50.0, now=START + 120)

    order, trip = found.types
    assert (order.type, trip.type) == ("order", "trip")
    assert order.sagas == {"stuck": 2, "completed": 10, "compensated": 1}
    assert trip.sagas == {"running": 1}
    assert order.counts == dict.fromkeys(SAGA_COUNTS, 0) | {
        "started": 10,
        "completed": 9,
        "compensated": 1,
        "turned": 1,
    }
    assert order.completed == (9, near(10), near(10))
    assert order.compensated == (1, near(11), near(11))
    steps = {(one.step, one.direction): one for one in found.steps}
    charge = steps["charge", Direction.DO]
    assert (charge.sent, charge.succeeded, charge.refused) == (20, 9, 1)
    assert (charge.failed, charge.timed_out) == (0, 10)
    assert charge.took == (9, near(8), near(8))
    assert steps["reserve", Direction.UNDO].took == (1, near(1), near(1))
    assert str(found.stuck) == "1"
    assert found.owed == 1


def test_participants_are_known_by_what_is_asked_of_them(engine: sa.Engine) -> None:
    take_in(engine, [("a", a_history(START)), ("b", a_history(START, refused=True))], 1_000)
    waiting = a_row(1, status="running", closed=None, current="charge")
    nobody = {
        "service": "",
        "type": "order",
        "step": "signed",
        "direction": "do",
        "command": "Sign",
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(STATUS), [waiting])
        connection.execute(sa.insert(SERVICES), [nobody])

    bank, stock = Queries(engine).participants(now=START + 60)

    assert (bank.service, stock.service) == ("bank", "stock")
    assert (bank.open, bank.sent, bank.refused, bank.timed_out) == (1, 4, 1, 2)
    assert [(one.command, one.open) for one in bank.commands] == [("Charge", 1)]
    assert [(one.command, one.vitals.direction) for one in stock.commands] == [
        ("Reserve", Direction.DO),
        ("Release", Direction.UNDO),
    ]
    later = Queries(engine).participants(now=START + 90_000)
    assert [(one.service, one.sent) for one in later] == [("bank", 0), ("stock", 0)]


def test_a_series_has_a_point_for_each_span_in_which_something_happened(engine: sa.Engine) -> None:
    at = 999_960.0  # a minute, and a span of five
    take_in(engine, [(f"s-{n}", a_history(at + 70 * n)) for n in range(5)], 1_000)
    queries = Queries(engine)
    by_minute = queries.series(since=at, until=at + 600)
    assert [(point.at - at, point.counts["started"]) for point in by_minute] == [
        (0, 1),
        (60, 1),
        (120, 1),
        (180, 1),
        (240, 1),
    ]
    longer = queries.series(since=at + 130, until=at + 600, step=120)
    assert [(point.at - at, point.counts["completed"]) for point in longer] == [(120, 2), (240, 1)]
    assert queries.series(since=at, until=at + 600, saga_type="trip") == []
    for until, step in ((at + 600, 0), (at + 600, 90), (at + 1e9, 60), (at - 1, 60)):
        with pytest.raises(InvalidInput):
            queries.series(since=at, until=until, step=step)


@pytest.mark.requirement("R080")
def test_a_course_has_p95_of_every_hour_since_the_first_one_known(engine: sa.Engine) -> None:
    hour = 3_600.0
    begins = {"lost": -30 * hour, "old": 0.0, "late": 2 * hour}
    told = [(name, a_history(START + after)) for name, after in begins.items()]
    told.append(("bad", a_history(START + 3 * hour, refused=True)))
    take_in(engine, told, 1_000)

    found = Queries(engine).courses(within=24 * hour, now=START + 4 * hour)

    assert found["order", "", "completed"] == [near(10), None, near(10), None, None]
    assert found["order", "charge", "do"] == [near(8), None, near(8), None, None]
    assert found["order", "reserve", "undo"] == [None, None, None, near(1), None]
    assert Queries(engine).courses(now=START + 100 * hour) == {}


def test_a_log_that_no_app_has_run_on_has_no_vitals(tmp_path: Path) -> None:
    other = make_engine(f"sqlite:///{tmp_path / 'other.db'}")
    migrate.upgrade(other)
    queries = Queries(other)
    vitals = queries.vitals()
    assert (vitals.types, vitals.steps, vitals.owed) == ((), (), 0)
    assert queries.participants() == []
    assert queries.series(since=0.0, until=60.0) == []
    assert queries.courses() == {}
    other.dispose()

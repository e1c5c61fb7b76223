"""Alerts that last: exactly one open for each cause, told to every hook at least once."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_saga import InvalidInput, Unavailable
from es_saga.adapters import migrate
from es_saga.adapters.alert_hooks import BrokerHook, Webhook
from es_saga.adapters.alert_log import SqlAlertLog
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.nats import NatsTransport
from es_saga.core.events import OperatorRetried
from es_saga.core.messages import PARTS, part_of
from es_saga.core.state import SagaState
from es_saga.database import make_engine
from es_saga.engine import alerting as engine_alerting
from es_saga.engine.alerting import Alerting, Hook
from es_saga.engine.alerts import Alert, AlertKind, Cause, causes
from es_saga.engine.ports import Recorded
from es_saga.engine.projector import Projector
from es_saga.projections.alerts import AlertsView
from es_saga.projections.audit import AuditView
from es_saga.projections.listing import Cursor
from es_saga.projections.queries import Queries
from es_saga.projections.status import STATUS, StatusView
from es_saga.projections.view import Batch, View
from es_saga.testing.laws.reading import Reading
from tests.core.run import Run
from tests.core.worlds import runs
from tests.projections.logs import Told, appends, events_of, write
from tests.projections.test_lists import a_row

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
ALL = range(PARTS)

STUCK = Told(
    ["order/stuck_and_retried", "trip/refused", "order/stuck_and_skipped", "errand/out_of_time"],
    [(0, 99), (1, 99), (2, 99), (3, 99)],
    2_000_000,
)
"""Sagas of which two get stuck and are freed, and one goes over its deadline."""


def views() -> list[View]:
    return [StatusView(), AuditView()]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    found = make_engine(url)
    migrate.upgrade(found)
    AlertsView.metadata.create_all(found)
    yield found
    found.dispose()


async def caught_up(engine: sa.Engine) -> None:
    catching = CatchUp(engine)
    await Projector([AlertsView()], catching, SystemClock()).catch_up(AlertsView())
    catching.close()


# ── the view ─────────────────────────────────────────────────────────────────────────────────────


def recorded(run: Run, saga_id: str) -> list[Recorded]:
    return [
        Recorded(part_of(saga_id), number, saga_id, number, event, b"{}")
        for number, event in enumerate(run.log, 1)
    ]


@pytest.mark.requirement("R040")
@pytest.mark.law("L32", "L33")
def test_every_cause_has_exactly_one_open_alert_from_when_it_comes_to_when_it_goes(
    engine: sa.Engine,
) -> None:
    """However many events come together. What a saga's causes are is read off its events."""
    numbers = iter(range(1, 100_000))

    @settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
    @given(runs(), st.integers(1, 60))
    def holds(run: Run, together: int) -> None:
        saga_id = f"run-{next(numbers)}"
        events, view = recorded(run, saga_id), AlertsView()
        before: Mapping[str, SagaState] = {}
        for first in range(0, len(events), together):
            batch = Batch.following(events[first : first + together], before)
            with engine.begin() as connection:
                view.apply(connection, batch)
            before = batch.states
        rows = Queries(engine).alerts(saga_id=saga_id, open_only=False).rows
        assert len({(row.kind, row.step, row.opened_version) for row in rows}) == len(rows)
        reading = Reading(run.story)
        for version, state in enumerate(reading.states[0], 1):
            open_ = [
                Cause(row.kind, row.step)
                for row in rows
                if row.opened_version <= version
                and (row.closed_version is None or version < row.closed_version)
            ]
            assert len(set(open_)) == len(open_), "one alert a cause"
            assert set(open_) == set(causes(state))
            assert _stuck(open_) == reading.stuck_before(version)
        stuck = [row for row in rows if row.kind is AlertKind.STUCK]
        assert len(stuck) <= len(reading.stuck) * 2
        if reading.stuck:
            assert stuck

    holds()


def _stuck(open_: Sequence[Cause]) -> bool:
    return any(cause.kind is AlertKind.STUCK for cause in open_)


@pytest.mark.law("L54")
def test_the_alerts_do_not_depend_on_how_events_come_together(engine: sa.Engine) -> None:
    items = list(appends(STUCK))

    def taken_in(together: int) -> list[Any]:
        view = AlertsView()
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM es_alerts")
        for item in items:
            before: Mapping[str, SagaState] = {}
            saga_id, part = item.saga_id, part_of(item.saga_id)
            events = [
                Recorded(part, n, saga_id, n, event, b"{}")
                for n, event in enumerate(item.events, 1)
            ]
            for first in range(0, len(events), together):
                batch = Batch.following(events[first : first + together], before)
                with engine.begin() as connection:
                    view.apply(connection, batch)
                before = batch.states
        with engine.connect() as connection:
            return list(
                connection.exec_driver_sql("SELECT * FROM es_alerts ORDER BY 1, 2, 3, 4").all()
            )

    one_by_one = taken_in(1)
    assert {row.kind for row in one_by_one} == {"stuck", "undo", "deadline"}
    assert taken_in(3) == taken_in(1_000) == one_by_one


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def fill(engine: sa.Engine, *rows: tuple[str, str, float, float | None]) -> None:
    """Alerts: saga, kind, opened, closed."""
    with engine.begin() as connection:
        for number, (saga_id, kind, opened, closed) in enumerate(rows, 1):
            row = {
                "saga_id": saga_id,
                "kind": kind,
                "step": "ship" if kind == "undo" else "",
                "opened_version": number,
                "type": "order",
                "part": 3,
                "why": "because",
                "opened": opened,
                "opened_position": number,
                "closed": closed,
                "closed_version": number + 1 if closed else None,
                "closed_position": number + 1 if closed else None,
            }
            connection.execute(sa.insert(AlertsView.metadata.tables["es_alerts"]), row)


def test_alerts_are_listed_the_latest_first_page_by_page(engine: sa.Engine) -> None:
    fill(
        engine,
        ("a", "stuck", 1.0, None),
        ("b", "stuck", 2.0, 3.0),
        ("c", "stuck", 4.0, None),
        ("c", "undo", 4.0, None),
        ("d", "deadline", 5.0, None),
    )
    queries = Queries(engine)
    found: list[tuple[str, str]] = []
    after: Cursor | None = None
    for _ in range(10):
        page = queries.alerts(open_only=False, after=after, limit=1)
        found += [(row.saga_id, row.kind.value) for row in page.rows]
        after = page.next
        if after is None:
            break
    assert found == [
        ("d", "deadline"),
        ("c", "undo"),
        ("c", "stuck"),
        ("b", "stuck"),
        ("a", "stuck"),
    ]
    assert [row.saga_id for row in queries.alerts().rows] == ["d", "c", "c", "a"]
    assert [row.saga_id for row in queries.alerts(kind=AlertKind.STUCK).rows] == ["c", "a"]
    assert [row.step for row in queries.alerts(saga_id="c").rows] == ["ship", None]
    assert queries.alert_counts() == {"stuck": 2, "undo": 1, "deadline": 1}
    with pytest.raises(InvalidInput, match="1 to 1000"):
        queries.alerts(limit=0)


def test_a_log_whose_alerts_were_never_looked_for_has_none(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'other.db'}")
    migrate.upgrade(engine)
    assert Queries(engine).alerts().rows == ()
    assert Queries(engine).alert_counts() == {}
    engine.dispose()


# ── telling ──────────────────────────────────────────────────────────────────────────────────────


class Ear:
    """A hook that remembers, and that may refuse to listen."""

    def __init__(self, name: str = "ear") -> None:
        self.name = name
        self.heard: list[Alert] = []
        self.deaf_after: int | None = None

    async def tell(self, alert: Alert) -> None:
        if self.deaf_after is not None and len(self.heard) >= self.deaf_after:
            raise Unavailable("It does not listen.")
        self.heard.append(alert)

    def said(self) -> list[str]:
        return [alert.id for alert in self.heard]


def telling(engine: sa.Engine, hooks: Sequence[Hook], parts: Collection[int] = ALL) -> Alerting:
    log = SqlAlertLog(engine)
    return Alerting(hooks, log, SystemClock(), lambda: parts, patience=0.0)


async def told(engine: sa.Engine, *ears: Ear) -> None:
    """Have hooks told everything there is, by a process that has just begun."""
    process = telling(engine, ears)
    await process._log.prepare([ear.name for ear in ears])  # pyright: ignore[reportPrivateUsage]
    for ear in ears:
        while await process.deliver(ear):
            pass


@pytest.mark.anyio
@pytest.mark.requirement("R040")
async def test_every_opening_and_closing_is_told_once_in_order_also_after_a_restart(
    url: str, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_alerting, "MAX_NOTICES", 3)
    ear = Ear()
    await told(engine, ear)
    items = list(appends(STUCK))
    for item in items:
        await asyncio.to_thread(write, url, views(), [item])
        await caught_up(engine)
        await told(engine, ear)
        await told(engine, ear)
    rows = Queries(engine).alerts(open_only=False).rows
    names = {
        f"{row.saga_id}/{row.kind}/{row.step or '-'}/{row.opened_version}": row for row in rows
    }
    openings = [f"{name}/opened" for name in names]
    closings = [f"{name}/closed" for name, row in names.items() if row.closed is not None]
    assert len(openings) >= 5
    assert sorted(ear.said()) == sorted(openings + closings)
    for closed in closings:
        assert ear.said().index(closed.replace("closed", "opened")) < ear.said().index(closed)


@pytest.mark.anyio
async def test_a_hook_that_fails_hears_the_rest_later_and_holds_up_no_other(
    url: str, engine: sa.Engine
) -> None:
    good, bad = Ear("good"), Ear("bad")
    await told(engine, good, bad)
    await asyncio.to_thread(write, url, views(), *([item] for item in appends(STUCK)))
    await caught_up(engine)
    bad.deaf_after = 2
    with pytest.raises(Unavailable, match="does not listen"):
        await told(engine, bad)
    await told(engine, good)
    assert len(bad.heard) == 2
    bad.deaf_after = None
    await told(engine, bad)
    assert bad.said() == good.said(), "what it had heard is not said again"


@pytest.mark.anyio
async def test_a_new_hook_hears_of_what_is_open_and_not_of_what_was_over_long_ago(
    url: str, engine: sa.Engine
) -> None:
    """Though the view takes in the whole log once more, after a migration for one."""
    still = Told(["order/stuck_and_retried"], [(0, 15)], 2_000_001)
    await asyncio.to_thread(
        write, url, views(), *([item] for told in (STUCK, still) for item in appends(told))
    )
    ear = Ear()
    process = telling(engine, [ear])
    await process._log.prepare(["ear"])  # pyright: ignore[reportPrivateUsage]
    assert await process.deliver(ear) == 0, "the view is still behind"
    await caught_up(engine)
    while await process.deliver(ear):
        pass
    open_ = Queries(engine).alerts().rows
    assert [alert.saga_id for alert in ear.heard if alert.opened] == [open_[0].saga_id]
    assert len(open_) == 1


@pytest.mark.anyio
async def test_only_who_owns_a_part_tells_of_it(url: str, engine: sa.Engine) -> None:
    await told(engine, Ear())
    await asyncio.to_thread(write, url, views(), *([item] for item in appends(STUCK)))
    await caught_up(engine)
    part = part_of(STUCK.id_of(0))
    ears = Ear(), Ear()
    for ear, own in zip(ears, ({part}, set(ALL) - {part}), strict=True):
        process = telling(engine, [ear], parts=own)
        while await process.deliver(ear):
            pass
    assert {part_of(alert.saga_id) for alert in ears[0].heard} == {part}
    assert part not in {part_of(alert.saga_id) for alert in ears[1].heard}
    assert len(ears[1].heard) > 0


# ── idle sagas ───────────────────────────────────────────────────────────────────────────────────

NOW = 10_000.0


def waiting(number: int, **changes: Any) -> dict[str, Any]:
    """An open saga that has made no progress since 9,000."""
    plain = {"status": "running", "current": "ship", "closed": None, "progressed": 9_000.0}
    return a_row(number, **{**plain, "version": 7, **changes})


def put(engine: sa.Engine, *rows: dict[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(STATUS), list(rows))


def change(engine: sa.Engine, number: int, **changes: Any) -> None:
    with engine.begin() as connection:
        same = STATUS.c.saga_id == f"order-{number}"
        connection.execute(sa.update(STATUS).where(same).values(**changes))


@pytest.mark.anyio
@pytest.mark.requirement("R082")
async def test_a_saga_without_progress_is_an_alert_until_it_moves_on(engine: sa.Engine) -> None:
    """Repeats are no progress; what is closed, stuck or held by its parent is not idle, nor is what
    waits for the world outside as long as it may."""
    log, ear = SqlAlertLog(engine), Ear()
    await log.prepare([])
    put(
        engine,
        waiting(1, updated=9_999.0, current="pay,ship"),
        waiting(2),
        waiting(3, progressed=9_950.0),
        waiting(4, status="stuck"),
        waiting(5, closed=9_500.0, status="completed"),
        waiting(6),
        waiting(7, status="waiting", current=""),
        waiting(8, status="waiting", current="approval", next_due=NOW + 9_000),
        waiting(9, status="waiting", current="approval", next_due=NOW - 101),
    )
    await told(engine, ear)
    assert await log.watch(NOW, 100.0) == 4
    assert await log.watch(NOW + 1, 100.0) == 0, "one each"
    rows = Queries(engine).alerts(kind=AlertKind.IDLE).rows
    assert {(row.saga_id, row.step, row.opened_version) for row in rows} == {
        ("order-1", None, 7),
        ("order-2", "ship", 7),
        ("order-6", "ship", 7),
        ("order-9", "approval", 7),
    }
    assert {row.why for row in rows} == {
        "no progress for 17 min at pay, ship",
        "no progress for 17 min at ship",
        "no progress for 17 min at approval",
    }
    await told(engine, ear)
    assert {alert.saga_id for alert in ear.heard if alert.opened} == {row.saga_id for row in rows}

    change(engine, 1, progressed=NOW, version=9)
    change(engine, 2, status="stuck", version=8)
    change(engine, 6, closed=NOW, status="completed", version=12, updated=NOW)
    change(engine, 9, status="running", current="ship", progressed=NOW)
    assert await log.watch(NOW + 2, 100.0) == 4
    await told(engine, ear)
    assert {alert.saga_id for alert in ear.heard if not alert.opened} == {
        row.saga_id for row in rows
    }
    assert Queries(engine).alerts(kind=AlertKind.IDLE).rows == ()
    assert await log.watch(NOW + 60, 100.0) == 1, "order-3 has been at it for too long by now"


@pytest.mark.anyio
async def test_an_idle_saga_that_somebody_has_just_seen_to_gets_its_time(
    url: str, engine: sa.Engine
) -> None:
    history = events_of("order/stuck_and_retried")
    number = [type(event) for event in history].index(OperatorRetried) + 1
    [item] = list(appends(Told(["order/stuck_and_retried"], [(0, number)], 2_000_002)))
    await asyncio.to_thread(write, url, views(), [item])
    at = item.events[-1].at
    log = SqlAlertLog(engine)
    await log.prepare([])
    with engine.begin() as connection:
        connection.execute(sa.update(STATUS).values(progressed=1.0))
    assert await log.watch(at + 5, 10.0) == 0
    assert await log.watch(at + 11, 10.0) == 1


# ── hooks ────────────────────────────────────────────────────────────────────────────────────────

AN_ALERT = Alert("order-1", "order", AlertKind.UNDO, True, "Closed", "ship", 1_700_000_000.0, 7)


class _Receiver(http.server.BaseHTTPRequestHandler):
    """Takes what is posted; answers with what the test wants."""

    answers: ClassVar[list[int]] = []
    bodies: ClassVar[list[tuple[str | None, Any]]] = []

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(size))
        self.bodies.append((self.headers["Content-Type"], body))
        answer = self.answers.pop(0)
        self.send_response(answer)
        if answer == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """Not on stderr."""


@pytest.fixture
def address() -> Iterator[str]:
    _Receiver.answers.clear()
    _Receiver.bodies.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook?token=secret"
        server.shutdown()
        thread.join()


@pytest.mark.anyio
async def test_the_webhook_posts_a_cloudevent_and_takes_200_for_an_answer(address: str) -> None:
    _Receiver.answers += [204]
    await Webhook(address, "orders").tell(AN_ALERT)
    [(kind, body)] = _Receiver.bodies
    assert kind == "application/cloudevents+json"
    assert body["specversion"] == "1.0"
    assert (body["id"], body["source"]) == ("order-1/undo/ship/7/opened", "orders")
    assert body["type"] == "es_saga.alert.opened"
    assert (body["sagaid"], body["sagatype"], body["step"]) == ("order-1", "order", "ship")
    assert body["time"] == "2023-11-14T22:13:20+00:00"
    assert body["data"] == {"kind": "undo", "why": "Closed", "at": 1_700_000_000.0, "since": 7}


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [302, 404, 500])
async def test_any_other_answer_is_no_and_tells_no_secret(address: str, answer: int) -> None:
    _Receiver.answers += [answer]
    with pytest.raises(Unavailable, match=str(answer)) as raised:
        await Webhook(address, "orders").tell(AN_ALERT)
    assert len(_Receiver.bodies) == 1, "a redirection is not followed"
    assert "secret" not in str(raised.value)


@pytest.mark.anyio
async def test_a_webhook_that_is_away_is_unavailable_without_its_address() -> None:
    with pytest.raises(Unavailable, match="out of reach") as raised:
        await Webhook("http://127.0.0.1:1/token-4711", "orders").tell(AN_ALERT)
    assert "4711" not in str(raised.value)
    for address in ("file:///etc/passwd", "ftp://x/y", "nothing"):
        with pytest.raises(InvalidInput, match="http"):
            Webhook(address, "orders")


@pytest.mark.anyio
async def test_alerts_are_kept_in_a_stream_of_the_broker(nats_url: str, nats_tenant: str) -> None:
    pipe = await NatsTransport.connect(nats_url, tenant=nats_tenant)
    hook = BrokerHook(pipe, "orders", tenant=nats_tenant)
    for _ in range(2):
        await hook.tell(AN_ALERT)
    held = {stream.name: stream.messages for stream in await pipe.streams()}
    await pipe.close()
    assert held[f"ES_{nats_tenant}_ALR"] == 1, "the same news twice is one message"


def test_the_id_of_an_alert_tells_one_piece_of_news_from_another() -> None:
    closed = Alert("order-1", "order", AlertKind.UNDO, False, "Closed", "ship", 2.0, 7)
    again = Alert("order-1", "order", AlertKind.UNDO, True, "Closed", "ship", 3.0, 9)
    assert len({AN_ALERT.id, closed.id, again.id}) == 3

"""The suites of `es_saga.testing.contracts`, as somebody uses them who writes an adapter.

Each runs in a pytest of its own: with a good adapter all is well; with one that has a fault, tests
fail that say so. Our own adapters run the suites from `tests/adapters` and `tests/participant`.
"""

from __future__ import annotations

import pytest

pytest_plugins = "pytester"

IMPORTS = """
import asyncio
from collections.abc import AsyncIterator, Awaitable
import pytest
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.memory import MemoryStore, MemoryTransport
from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Command, Outcome
from es_saga.testing.contracts import *

"""

STORE = """
class TestMine(StoreContract):
    limits_events = False

    @pytest.fixture
    def connect(self) -> Connect:
        first = MyStore()

        async def connect():
            return MyStore(beside=first)

        return connect
"""

CLOCK = """
class TestMine(ClockContract):
    @pytest.fixture
    def clock(self):
        return MyClock()
"""

TRANSPORT = """
class TestMine(TransportContract):
    @pytest.fixture
    async def pipe(self, monkeypatch) -> AsyncIterator[Pipe]:
        monkeypatch.setattr("es_saga.adapters.memory_consumer.FAILED_SECONDS", 0.05)
        transport = MyTransport()
        yield transport
        await transport.close()
"""

DESK = """
class Do(Command[None]):
    key: str
    how: How

class Undo(Command[None]):
    key: str

class MyDesk:
    def __init__(self):
        self.rows, self.known, self.failed = [], {}, set()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        pass

    def work(self, key, how):
        return Do(key=key, how=how)

    def undo(self, key):
        return Undo(key=key)

    async def effects(self):
        return list(self.rows)

    async def call(self, asked):
        if not asked.commandid:
            raise InvalidInput("It has no id.")
        outcome, kind = self.decide(asked)
        return asked.model_copy(
            update={"id": f"{asked.id}/r", "type": kind, "outcome": outcome, "data": None}
        )

    def decide(self, asked):
        own = self.known.get(asked.commandid)
        if own is None and asked.id in self.failed:
            return Outcome.FAILED, "Broken"
        if own is None:
            own = self.undone(asked) if asked.undoes else self.done(asked)
            if own[0] is Outcome.FAILED:
                self.failed.add(asked.id)
            else:
                self.known[asked.commandid] = own
        return own

    def done(self, asked):
        if asked.data["how"] == How.REFUSED.value:
            return Outcome.REFUSED, "No"
        if asked.data["how"] == How.FAILS_ONCE.value and asked.attempt == 1:
            return Outcome.FAILED, "Broken"
        self.rows.append(asked.data["key"])
        return Outcome.SUCCEEDED, "Done"

    def undone(self, asked):
        forward = self.known.setdefault(asked.undoes, (Outcome.REFUSED, "Undone"))
        if forward[0] is Outcome.SUCCEEDED:
            self.rows.remove(asked.data["key"])
        return Outcome.SUCCEEDED, "Done"

class TestMine(FenceContract):
    @pytest.fixture
    def desk(self):
        return YourDesk()
"""


def run(pytester: pytest.Pytester, code: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(test_mine=IMPORTS + code)
    return pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", *arguments)


@pytest.mark.parametrize(
    ("code", "passed", "skipped"),
    [
        pytest.param("class MyStore(MemoryStore): pass\n" + STORE, 19, 1, id="store"),
        pytest.param("class MyClock(SystemClock): pass\n" + CLOCK, 7, 0, id="clock"),
        pytest.param("class MyTransport(MemoryTransport): pass\n" + TRANSPORT, 29, 0, id="pipe"),
        pytest.param(DESK + "\nclass YourDesk(MyDesk): pass\n", 9, 0, id="fence"),
    ],
)
def test_a_suite_runs_where_it_is_subclassed_and_a_good_adapter_passes(
    pytester: pytest.Pytester, code: str, passed: int, skipped: int
) -> None:
    run(pytester, code).assert_outcomes(passed=passed, skipped=skipped)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        pytest.param(
            """
class MyStore(MemoryStore):
    def _append(self, part, item):
        here = len(self._histories.get(item.saga_id, ()))
        return super()._append(part, item._replace(version=here))
"""
            + STORE,
            "test_a_stale_item_is_refused_alone",
            id="a store that takes what is stale",
        ),
        pytest.param(
            """
class MyStore(MemoryStore):
    async def advance(self, name, positions):
        for part, position in positions.items():
            self._checkpoints[name, part] = position
"""
            + STORE,
            "test_a_reader_moves_forward_only",
            id="a store whose readers move back",
        ),
        pytest.param(
            """
class MyStore(MemoryStore):
    async def read(self, part, *, after, limit):
        return await super().read(part, after=after, limit=limit + 1)
"""
            + STORE,
            "test_reading_goes_on_after_a_position_page_by_page",
            id="a store whose pages are too long",
        ),
        pytest.param(
            """
class MyClock(SystemClock):
    lock = asyncio.Lock()
    async def sleep(self, seconds):
        async with self.lock:
            await super().sleep(seconds)
"""
            + CLOCK,
            "test_sleepers_wake_in_the_order_of_their_times",
            id="a clock whose sleepers queue",
        ),
        pytest.param(
            """
class MyClock(SystemClock):
    def now(self):
        return super().now() * 1000
"""
            + CLOCK,
            "test_now_is_told_in_seconds_since_the_epoch",
            id="a clock that counts milliseconds",
        ),
        pytest.param(
            """
class MyTransport(MemoryTransport):
    async def close(self):
        pass
"""
            + TRANSPORT,
            "test_a_closed_transport_takes_nothing",
            id="a transport that goes on after its end",
        ),
        pytest.param(
            DESK
            + """
class YourDesk(MyDesk):
    def decide(self, asked):
        return self.undone(asked) if asked.undoes else self.done(asked)
""",
            "test_copies_that_arrive_together_act_once_and_are_answered_alike",
            id="a participant without a fence",
        ),
        pytest.param(
            DESK
            + """
class YourDesk(MyDesk):
    def undone(self, asked):
        if asked.undoes not in self.known:
            return Outcome.SUCCEEDED, "Done"
        return super().undone(asked)
""",
            "test_an_undo_that_comes_first_is_remembered_and_the_late_command_refused",
            id="a participant that forgets an early undo",
        ),
        pytest.param(
            DESK
            + """
class YourDesk(MyDesk):
    def done(self, asked):
        outcome, kind = super().done(asked)
        if outcome is Outcome.REFUSED:
            self.rows.append(asked.data["key"])
        return outcome, kind
""",
            "test_what_was_refused_left_nothing_and_its_undo_has_nothing_to_do",
            id="a participant that keeps what it refused",
        ),
        pytest.param(
            DESK
            + """
class YourDesk(MyDesk):
    def done(self, asked):
        outcome, kind = super().done(asked)
        if outcome is Outcome.FAILED:
            self.rows.append(asked.data["key"])
        return outcome, kind
""",
            "test_an_attempt_that_failed_left_nothing_and_fails_again_and_the_next_may_do_well",
            id="a participant that keeps what it failed at",
        ),
        pytest.param(
            DESK
            + """
class YourDesk(MyDesk):
    def decide(self, asked):
        self.failed.discard(asked.id)
        if len(self.known) > 6:
            self.known.clear()
        return super().decide(asked)
""",
            "test_in_any_order_each_key_has_its_effect_and_its_undo_at_most_once",
            id="a participant that forgets too early",
        ),
    ],
)
def test_a_suite_names_what_an_adapter_does_wrong(
    pytester: pytest.Pytester, code: str, found: str
) -> None:
    result = run(pytester, code, "-k", found)
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines([f"FAILED test_mine.py::TestMine::{found}*"])


def test_the_suites_themselves_are_not_collected(pytester: pytest.Pytester) -> None:
    result = run(pytester, "")
    assert result.ret is pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_suite_says_what_it_is_not_given(pytester: pytest.Pytester) -> None:
    result = run(pytester, "class TestMine(StoreContract): pass", "-k", "what_was_appended")
    result.stdout.fnmatch_lines(["*NotImplementedError: Give your suite a fixture `connect`.*"])


def test_a_failing_assertion_of_a_suite_shows_its_values(pytester: pytest.Pytester) -> None:
    code = """
class MyStore(MemoryStore):
    async def head(self, part):
        return 77
"""
    result = run(pytester, code + STORE, "-k", "an_empty_batch_is_nothing")
    result.stdout.fnmatch_lines(["E*assert 77 == 0"])

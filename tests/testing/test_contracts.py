"""The suites of `es_saga.testing.contracts`, as somebody uses them who writes an adapter.

They run in a pytest of their own: with a good adapter all is well; with one that has a fault, the
test fails that is about it. Our own adapters run the suites from `tests/adapters` and
`tests/participant`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
RUN_SECONDS = 100

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


GOOD = {
    "store": ("class MyStore(MemoryStore): pass\n" + STORE, 20),
    "clock": ("class MyClock(SystemClock): pass\n" + CLOCK, 7),
    "transport": ("class MyTransport(MemoryTransport): pass\n" + TRANSPORT, 29),
    "fence": (DESK + "\nclass YourDesk(MyDesk): pass\n", 9),
}
"""Adapters without a fault, and how many tests they have to pass, or may skip."""

FAULTY = {
    "a store that takes what is stale": (
        """
class MyStore(MemoryStore):
    def _append(self, part, item):
        here = len(self._histories.get(item.saga_id, ()))
        return super()._append(part, item._replace(version=here))
"""
        + STORE,
        "test_a_stale_item_is_refused_alone",
    ),
    "a store whose readers move back": (
        """
class MyStore(MemoryStore):
    async def advance(self, name, positions):
        for part, position in positions.items():
            self._checkpoints[name, part] = position
"""
        + STORE,
        "test_a_reader_moves_forward_only",
    ),
    "a store whose pages are too long": (
        """
class MyStore(MemoryStore):
    async def read(self, part, *, after, limit):
        return await super().read(part, after=after, limit=limit + 1)
"""
        + STORE,
        "test_reading_goes_on_after_a_position_page_by_page",
    ),
    "a clock whose sleepers queue": (
        """
class MyClock(SystemClock):
    lock = asyncio.Lock()
    async def sleep(self, seconds):
        async with self.lock:
            await super().sleep(seconds)
"""
        + CLOCK,
        "test_sleepers_sleep_side_by_side",
    ),
    "a clock that counts milliseconds": (
        """
class MyClock(SystemClock):
    def now(self):
        return super().now() * 1000
"""
        + CLOCK,
        "test_now_is_told_in_seconds_since_the_epoch",
    ),
    "a transport that goes on after its end": (
        """
class MyTransport(MemoryTransport):
    async def close(self):
        pass
"""
        + TRANSPORT,
        "test_a_closed_transport_takes_nothing",
    ),
    "a participant without a fence": (
        DESK
        + """
class YourDesk(MyDesk):
    def decide(self, asked):
        return self.undone(asked) if asked.undoes else self.done(asked)
""",
        "test_copies_that_arrive_together_act_once_and_are_answered_alike",
    ),
    "a participant that forgets an early undo": (
        DESK
        + """
class YourDesk(MyDesk):
    def undone(self, asked):
        if asked.undoes not in self.known:
            return Outcome.SUCCEEDED, "Done"
        return super().undone(asked)
""",
        "test_an_undo_that_comes_first_is_remembered_and_the_late_command_refused",
    ),
    "a participant that keeps what it refused": (
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
    ),
    "a participant that keeps what it failed at": (
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
    ),
    "a participant that forgets too early": (
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
    ),
}
"""Adapters with a fault, and the test that finds it."""

OTHERS = {
    "nothing of its own": "",
    "no fixture": "class TestMine(StoreContract): pass",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of all of them, in one run: of a faulty one only the test that finds it."""
    folder = tmp_path_factory.mktemp("adapters")
    wanted: list[str] = []
    for name, (code, _) in GOOD.items():
        wanted.append(_file(folder, name, code))
    for name, (code, found) in FAULTY.items():
        wanted.append(f"{_file(folder, name, code)}::TestMine::{found}")
    for name, code in OTHERS.items():
        wanted.append(_file(folder, name, code))
    wanted[-1] += "::TestMine::test_what_was_appended_is_loaded"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *wanted],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    return run.stdout


def _file(folder: Path, name: str, code: str) -> str:
    file = f"test_{name.replace(' ', '_')}.py"
    (folder / file).write_text(IMPORTS + code)
    return file


def _outcomes(said: str, outcome: str, name: str) -> list[str]:
    """The tests of this adapter with this outcome, without their parameters."""
    file = re.escape(f"test_{name.replace(' ', '_')}.py")
    return re.findall(rf"^{outcome} {file}::TestMine::(\w+)", said, flags=re.MULTILINE)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_adapter_passes(said: str, name: str) -> None:
    assert _outcomes(said, "FAILED", name) == _outcomes(said, "ERROR", name) == []
    skipped = 1 if name == "store" else 0  # the size of events, which memory does not limit
    assert len(_outcomes(said, "PASSED", name)) + skipped == GOOD[name][1]


@pytest.mark.parametrize("name", FAULTY)
def test_what_an_adapter_does_wrong_is_found(said: str, name: str) -> None:
    assert set(_outcomes(said, "FAILED", name)) == {FAULTY[name][1]}


def test_the_suites_themselves_are_not_collected(said: str) -> None:
    assert "nothing_of_its_own" not in said


def test_a_suite_says_what_it_was_not_given(said: str) -> None:
    assert "Give your suite a fixture `connect`." in said


def test_a_failing_assertion_of_a_suite_shows_its_values(said: str) -> None:
    assert re.search(r"^E +assert \[3, 8, 0\] == \[5, 8, 0\]", said, re.MULTILINE)

"""A history as a test: it passes, leads to the same history, and needs no hand to be clean."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.orders import order
from domain.orders.contracts import (
    CardDeclined,
    ChargeCard,
    CreateOrder,
    OrderCreated,
)
from domain.travel import trip
from es_saga import InvalidInput, Refusal, Retry, Saga
from es_saga.core.decide import react
from es_saga.core.events import SagaEvent, StepRefused
from es_saga.core.inputs import Cancel
from es_saga.replay import Replay, what_if
from es_saga.replay import scene as scene_of
from es_saga.replay.likeness import alike
from es_saga.testing import Scene, given
from es_saga.testing import scenes as scenes_module
from tests.core.sagas import Do, Done, Trip, Undo, add
from tests.histories.fates import RECORDINGS
from tests.replay import bookshop
from tests.replay.bookshop import Bill, BuyBooks, Cover, Line, Release, Reserve, Reserved, SoldOut
from tests.replay.papers import Paper, posted
from tests.replay.recorded import AN_ORDER, EVERY_SAGA, FLOWS, of, recorded, worlds

ROOT = Path(__file__).parents[2]

TELLABLE = [name for name in RECORDINGS if not name.startswith("errand/")]
"""The saga of the errand stands in no module."""


def play(text: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Sequence[SagaEvent]:
    """Run the test, as pytest would; the history of its last scene."""
    file = folder / "test_emitted.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location("test_emitted", file)
    assert spec is not None
    assert spec.loader is not None
    # Two of one length within a second: the first one's bytecode would pass for the other's.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    last: list[Scene] = []
    usual = scenes_module.Scene.__init__

    def watched(self: Scene, stage: Any) -> None:
        usual(self, stage)
        last.append(self)

    (test,) = (value for name, value in vars(module).items() if name.startswith("test_"))
    with monkeypatch.context() as patch:
        patch.setattr(scenes_module.Scene, "__init__", watched)
        test()
    return last[-1].history


def leads_to(text: str, replay: Replay, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The test leads to this history."""
    history = play(text, monkeypatch, folder)
    assert len(history) == len(replay)
    for had, have in zip(replay.events, history, strict=True):
        assert alike(had, have)


# ── what happened is what the test tells ─────────────────────────────────────────────────────────


@pytest.mark.requirement("R083")
@pytest.mark.parametrize("name", TELLABLE)
def test_a_recorded_history_becomes_a_test_that_leads_to_it(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replay = recorded(name)
    leads_to(scene_of(RECORDINGS[name][0].definition, replay), replay, monkeypatch, tmp_path)


@pytest.mark.parametrize("saga", [*EVERY_SAGA, *FLOWS], ids=lambda saga: saga.name)
def test_histories_of_unreliable_worlds_become_tests(
    saga: Saga[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All but those in which an operator was quicker than a timer that was late."""
    told = untold = 0
    for replay in worlds(saga, range(12)):
        try:
            text = scene_of(saga.definition, replay)
        except InvalidInput:
            untold += 1
        else:
            told += 1
            leads_to(text, replay, monkeypatch, tmp_path)
    assert told > 10 * untold


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them."""
    folder = tmp_path_factory.mktemp("emitted")
    for name in TELLABLE:
        text = scene_of(RECORDINGS[name][0].definition, recorded(name))
        (folder / f"test_{name.replace('/', '_')}.py").write_text(text)
    return folder


def test_they_pass_under_pytest(written: Path) -> None:
    options = ("-q", "-n0", "-p", "no:cacheprovider", "-c", os.devnull, "--import-mode=importlib")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(written), str(written)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert f"{len(TELLABLE)} passed" in ran.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("check", "--select", "E,F,I,UP,B"),
        ("format", "--check"),
        ("format", "--check", "--line-length", "100"),
        ("check", "--line-length", "100", "--select", "E,F,I,UP,B,SIM,RUF,C4,PIE,PT,TID"),
    ],
    ids=" ".join,
)
def test_they_are_clean_as_they_are_written(written: Path, command: tuple[str, ...]) -> None:
    done = _ruff(command[0], "--isolated", "--no-cache", *command[1:], str(written))
    assert done.returncode == 0, done.stdout


def test_a_test_beside_the_project_groups_its_imports_as_the_project_does(written: Path) -> None:
    for file in written.glob("test_trip*.py"):
        there = ROOT / "tests" / "replay" / file.name
        done = _ruff("check", "--stdin-filename", str(there), "-", text=file.read_text())
        assert done.returncode == 0, done.stdout


def _ruff(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ruff", *arguments],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_long_words_of_an_exception_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replay = of(given(order, AN_ORDER).expect(CreateOrder).fail("Full", "no room for ada " * 20))

    text = scene_of(order.definition, replay)

    assert "for ada" not in text
    leads_to(text, replay, monkeypatch, tmp_path)


def test_the_text_is_readable() -> None:
    replay = of(
        given(order, AN_ORDER)
        .expect(CreateOrder)
        .reply(OrderCreated(order_id="7"))
        .expect(ChargeCard)
        .refuse(CardDeclined(card="visa"))
    )
    assert (
        scene_of(order.definition, replay)
        == '''\
"""What became of saga order-1, as its history tells it."""

from domain.orders.contracts import (
    CancelOrder,
    CardDeclined,
    ChargeCard,
    CreateOrder,
    OrderCreated,
    PlaceOrder,
)
from domain.orders.saga import order
from es_saga.testing import given


def test_order_1_is_compensating() -> None:
    (
        given(
            order,
            PlaceOrder(
                order_id="7",
                customer="ada",
                sku="tea",
                quantity=2,
                pence=1800,
                card="visa",
                town="York",
            ),
            saga_id="order-1",
        )
        .expect(
            CreateOrder(
                order_id="7",
                customer="ada",
                sku="tea",
                quantity=2,
                pence=1800,
            ),
        )
        .reply(OrderCreated(order_id="7"))
        .expect(ChargeCard(order_id="7", card="visa", pence=1800))
        .refuse(CardDeclined(card="visa"))
        .expect(CancelOrder(order_id="7"))
    )
'''
    )


def test_a_fork_becomes_a_test_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forked = what_if(order.definition, recorded("order/completed"), {"ship": "timeout"}).replay
    leads_to(scene_of(order.definition, forked), forked, monkeypatch, tmp_path)


# ── what is special ──────────────────────────────────────────────────────────────────────────────


ONE_SECOND = Retry(first=timedelta(seconds=1), jitter=0, attempts=3)
TIMED = Saga("timed", Trip, deadline=timedelta(seconds=100))
add(TIMED, "a", retry=ONE_SECOND)
add(TIMED, "b", after=(), retry=Retry(first=timedelta(seconds=2), jitter=0, attempts=3))

HERE = f"{__name__}:TIMED"
"""Its functions were made elsewhere, where it is not."""

A, B = Do(step="a", who="ann"), Do(step="b", who="ann")


def asked() -> Scene:
    return given(TIMED, Trip()).expect(Do, Do)


class Unlikely(Refusal):
    """One that stands beside no command."""

    why: str


SPECIAL: dict[str, Callable[[], Scene]] = {
    "a deadline": lambda: asked().on(A).fail().wait(100),
    "an answer to an earlier attempt": lambda: asked().wait(30).on(A).late(Done(by="desk")),
    "a refusal that is late": lambda: asked().wait(30).on(B).late(CardDeclined(card="visa")),
    "a wait that was asked for": lambda: asked().on(A).fail("Busy", "at lunch", retry_after=5.5),
    "a step and an undo refused alike": lambda: (
        asked()
        .on(A)
        .reply(Done(by="desk"))
        .on(B)
        .refuse(Unlikely(why="closed"))
        .expect(Undo)
        .refuse(Unlikely(why="still closed"))
    ),
    "never again": lambda: asked().on(A).fail("Terminal", retry_after=-1),
    "turned back": lambda: asked().compensate("it rains", actor="bob"),
    "resumed": lambda: asked().on(A).fail().resume(reason="now"),
    "sent again": lambda: asked().resend(reason="lost"),
    "timers that cross": lambda: asked().on(B).fail().on(A).fail().wait(1),
}


@pytest.mark.parametrize("what", SPECIAL)
def test_what_is_special_is_told(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replay = of(SPECIAL[what]())
    leads_to(scene_of(TIMED.definition, replay, HERE), replay, monkeypatch, tmp_path)


def test_a_long_history_is_told_in_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replay = recorded("trip/completed")
    forked = what_if(trip.definition, replay, {"itinerary": "fail*60"}).replay
    text = scene_of(trip.definition, forked)
    assert text.count("    scene = (") > 2
    leads_to(text, forked, monkeypatch, tmp_path)


BOOKS = bookshop.app.sagas[0]
AN_OFFER = BuyBooks(
    lines=(Line(title='The "Wall"', copies=2), Line(title="It's", cover=Cover.HARD)),
    tags={"shelf": [1, 2], "room": []},
)


@pytest.fixture
def sold() -> Scene:
    return (
        given(BOOKS, AN_OFFER, saga_id="b-1")
        .expect(Reserve)
        .reply(Reserved(until=date(2030, 1, 2), price=Decimal("9.99")))
        .expect(Bill)
        .refuse(SoldOut(title="The Wall"))
        .expect(Release)
        .reply()
        .compensated()
    )


def test_values_of_every_kind_and_sagas_of_an_app_are_told(
    sold: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = scene_of(BOOKS.definition, of(sold), "tests.replay.bookshop:app")
    leads_to(text, of(sold), monkeypatch, tmp_path)
    assert 'next(one for one in app.sagas if (one.name, one.version) == ("books", 1))' in text
    assert "cover=Cover.HARD" in text
    assert "Reserved.model_validate(" in text, "a date is no literal"
    assert 'SoldOut(title="The Wall")' in text
    assert "class SoldOut" not in text


def test_a_refusal_whose_class_is_not_known_is_defined_in_the_test(
    sold: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replay = of(sold)
    events = [
        event.model_copy(update={"refusal_type": "Banned", "refusal": {"why": "x", "days": 3}})
        if isinstance(event, StepRefused)
        else event.model_copy(update={"why": "Banned"})
        if type(event).__name__ == "CompensationStarted"
        else event
        for event in replay.events
    ]
    banned = Replay.of("b-1", events)
    text = scene_of(BOOKS.definition, banned, "tests.replay.bookshop:app")
    assert "class Banned(Refusal):" in text
    assert "    days: int" in text
    leads_to(text, banned, monkeypatch, tmp_path)


def test_a_wait_that_an_operator_had_begun_again_is_expected_of_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paid = given(posted, Trip()).expect(Do).reply(Done(by="x")).expect(Do).reply(Done(by="y"))
    retried = paid.wait(61).stuck().retry().wait(61).stuck().retry().signal(Paper(page=2))
    history = of(retried.expect(Do).reply(Done(by="z")).completed())
    leads_to(scene_of(posted.definition, history), history, monkeypatch, tmp_path)


# ── what cannot be told ──────────────────────────────────────────────────────────────────────────


def test_a_saga_that_stands_in_no_module_cannot_be_imported(sold: Scene) -> None:
    with pytest.raises(InvalidInput, match="stands in no module that a test could import"):
        scene_of(BOOKS.definition, of(sold))
    with pytest.raises(InvalidInput, match="Saga 'trip' stands in no module"):
        scene_of(RECORDINGS["errand/out_of_time"][0].definition, recorded("errand/out_of_time"))


def test_what_todays_code_does_not_lead_to_is_told_by_no_test() -> None:
    replay = recorded("order/completed")
    first, *others = replay.events
    other = Replay.of(replay.saga_id, [first.model_copy(update={"fingerprint": "x"}), *others])
    with pytest.raises(
        InvalidInput, match=r"(?s)does not reproduce this history: event 1.*Fork it"
    ):
        scene_of(order.definition, other)


def test_where_no_scene_leads_the_event_is_named() -> None:
    """Somebody cancelled after the time of an attempt was over, and before a timer looked."""
    started = of(given(order, AN_ORDER).expect(CreateOrder))
    late = Cancel("ann", "late", "v-1")
    events = react(order.definition, started.state, late, started.events[-1].at + 60).events
    replay = started.with_events([*started.events, *events])
    with pytest.raises(InvalidInput, match="No scene can tell event 3, OperatorCancelled"):
        scene_of(order.definition, replay)


def test_commands_that_cannot_be_told_from_each_other_cannot_be_told() -> None:
    saga = Saga("twins", Trip)
    for name in ("one", "two"):
        saga.step(after=())(_same(name)).compensation(_undo_same(name))
    scene = given(saga, Trip()).expect(Do, Do).on(Do).reply(Done(by="x"))
    module = sys.modules[__name__]
    vars(module)["TWINS"] = saga
    try:
        replay = of(scene)
        with pytest.raises(InvalidInput, match="cannot be told from another step"):
            scene_of(saga.definition, _answered_first(saga, replay))
    finally:
        del vars(module)["TWINS"]


def _same(name: str) -> Any:
    def build(trip: Trip) -> Do:
        return Do(step="it", who=trip.who)

    build.__name__ = name
    return build


def _undo_same(name: str) -> Any:
    def build(trip: Trip) -> Undo:
        return Undo(step="it", by=None)

    build.__name__ = f"undo_{name}"
    return build


def _answered_first(saga: Saga[Any], replay: Replay) -> Replay:
    """The same with the answer to the other twin."""
    last = replay.events[-1]
    other = "one" if getattr(last, "step", "") == "two" else "two"
    return replay.with_events([*replay.events[:-1], last.model_copy(update={"step": other})])

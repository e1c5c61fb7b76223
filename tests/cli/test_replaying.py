"""Time travel on the command line: replay, export, compare, and pictures of runs."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from es_saga.cli import compose
from es_saga.core.decide import decide
from es_saga.core.inputs import Start
from es_saga.testing.history import read_history, write_history
from tests.cli.conftest import REPOSITORY, Cli, Running, environment, order
from tests.histories.record import file_of

ORDERS = ("--app", "domain.orders:app")
COMPLETED, TIMED_OUT = file_of("order/completed"), file_of("order/timed_out")


@pytest.mark.parametrize("command", ["replay", "export", "compare", "graph"])
def test_help_ends_with_an_example(cli: Cli, command: str) -> None:
    page = cli(command, "--help")
    assert page.code == 0
    assert page.out.strip().split("\n\n")[-1].strip().startswith("Example: es-saga")


# ── a history in a file ──────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R083")
def test_a_moment_shows_the_decision_the_changes_and_what_would_be_sent(cli: Cli) -> None:
    shown = cli("replay", COMPLETED, "--to", "4")
    assert shown.code == 0
    assert "decided on  create is done" in shown.out
    assert "steps.charge.do.status  nothing → started" in shown.out
    assert 'send ChargeCard {"order_id": "7", "card": "visa", "pence": 1800}' in shown.out
    assert "to saga.v1.main.cmd.payments.13.ChargeCard" in shown.out
    assert shown.out.endswith('create  succeeded {"order_id": "7"}\n  charge  started\n')

    told = cli("replay", COMPLETED, "--to", "4", "-o", "json").json()
    assert told["event"] == "StepStarted"
    assert told["decided_on"]["what"] == "create is done"
    assert (told["decided_on"]["first"], told["decided_on"]["last"]) == (3, 4)
    assert [command["id"] for command in told["commands"]] == ["order-1/charge/do/1"]
    assert told["state"]["steps"]["charge"]["do"]["status"] == "started"
    assert {"path": "steps.charge.do.attempt", "before": None, "after": 1} in told["changes"]


def test_the_diff_of_every_event_can_be_had(cli: Cli) -> None:
    shown = cli("replay", COMPLETED, "--diff").out.splitlines()
    lines = cli("replay", COMPLETED, "--diff", "-o", "jsonl").out.splitlines()
    rows = [json.loads(line) for line in lines]
    history = read_history(COMPLETED)
    assert len(rows) == len(history.events)
    assert all(row["changes"] for row in rows)
    assert shown[0] == "order is started"
    assert sum(line.strip().startswith("send ") for line in shown) == 4
    until = cli("replay", COMPLETED, "--diff", "--to", "2", "-o", "json").json()
    assert [row["version"] for row in until] == [1, 2]


def test_there_is_no_moment_after_the_last_one(cli: Cli) -> None:
    refused = cli("replay", COMPLETED, "--to", "99")
    assert (refused.code, refused.out) == (2, "")
    assert "has no event 99" in refused.err
    assert cli("replay", COMPLETED, "--to", "0").code == 2


@pytest.mark.law("L51")
def test_what_today_decides_as_it_was_is_ok(cli: Cli) -> None:
    checked = cli("replay", TIMED_OUT, "--check", *ORDERS)
    assert (checked.code, checked.out) == (0, "")
    assert "24 events, decided again as they were" in checked.err
    told = cli("replay", TIMED_OUT, "--check", *ORDERS, "-o", "json").json()
    assert (told["same"], told["decided"], told["of"], told["divergence"]) == (True, 24, 24, None)


SHOP = """
from domain.orders.contracts import *
from es_saga import App, Saga

order = Saga("order", PlaceOrder)

@order.step
def create(o: PlaceOrder) -> CreateOrder:
    return CreateOrder(
        order_id=o.order_id, customer=o.customer, sku=o.sku, quantity=o.quantity, pence=o.pence
    )

@create.compensation
def cancel(o: PlaceOrder) -> CancelOrder:
    return CancelOrder(order_id=o.order_id)

@order.step
def charge(o: PlaceOrder) -> ChargeCard:
    return ChargeCard(order_id=o.order_id, card="another card", pence=o.pence * 2)

@charge.compensation
def refund(o: PlaceOrder) -> RefundCard:
    return RefundCard(order_id=o.order_id)

@order.step
def reserve(o: PlaceOrder) -> ReserveStock:
    return ReserveStock(order_id=o.order_id, sku=o.sku, quantity=o.quantity)

@reserve.compensation
def release(o: PlaceOrder) -> ReleaseStock:
    return ReleaseStock(order_id=o.order_id)

@order.step
def ship(o: PlaceOrder, stock: StockReserved) -> ShipParcel:
    return ShipParcel(
        order_id=o.order_id, reservation=stock.reservation, quantity=o.quantity, town=o.town
    )

@ship.compensation
def recall(o: PlaceOrder) -> RecallParcel:
    return RecallParcel(order_id=o.order_id)

app = App("shop", sagas=[order])
"""
"""The shop with a bug: the card is charged twice what the order costs."""


@pytest.fixture
def changed_shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A project whose code is not what it was."""
    text = SHOP.replace("@order.step", "@order.step(timeout=PATIENCE)")
    (tmp_path / "changed_shop.py").write_text("from domain.pace import PATIENCE\n" + text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "changed_shop", raising=False)
    return "changed_shop:app"


@pytest.mark.requirement("R083", "R064")
def test_where_today_decides_otherwise_is_exit_6_and_said_in_words(
    cli: Cli, changed_shop: str
) -> None:
    found = cli("replay", COMPLETED, "--check", "--app", changed_shop)
    assert found.code == 6
    assert "event 4 (create is done): the history has StepStarted(charge)" in found.err
    assert "command.pence: 1800 in the history, 3600 today" in found.err
    assert "another card" not in found.err, "it is sensitive"
    told = cli("replay", COMPLETED, "--check", "--app", changed_shop, "-o", "json")
    assert told.code == 6
    divergence = told.json()["divergence"]
    assert (divergence["version"], divergence["decided_on"]) == (4, "create is done")
    assert {"path": "command.pence", "before": 1800, "after": 3600} in divergence["changes"]
    assert "another card" not in told.out


def test_another_version_is_not_in_the_app(cli: Cli) -> None:
    refused = cli("replay", COMPLETED, "--check", "--app", "domain.travel:app")
    assert refused.code == 3
    assert "The app has no saga order v1" in refused.err
    assert "trip v1" in refused.err


def test_code_has_to_be_somewhere(cli: Cli, tmp_path: Path) -> None:
    refused = cli("replay", COMPLETED, "--check", data=tmp_path)
    assert refused.code == 2
    assert "--app module:attribute" in refused.err


@pytest.mark.requirement("R083")
def test_another_answer_has_another_ending(cli: Cli) -> None:
    forked = cli("replay", COMPLETED, "--what-if", "charge=CardDeclined", *ORDERS)
    assert forked.code == 0
    assert "→  5" in forked.out
    assert "StepRefused" in forked.out
    assert "SagaCompensated" in forked.out
    assert "from event 5 on: compensated, and it was completed" in forked.err
    assert "made up: the undo of create is done" in forked.err

    words = ("--what-if", "ship=fail*2", "--what-if", 'reserve={"reservation": "r-2"}')
    told = cli("replay", COMPLETED, *words, *ORDERS, "-o", "json").json()
    assert (told["status"], told["was"], told["forked_at"]) == ("completed", "completed", 7)
    assert told["events"][7]["command"]["reservation"] == "r-2"
    rows = cli("replay", COMPLETED, *words, *ORDERS, "-o", "jsonl").out.splitlines()
    assert len(rows) == len(told["events"])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("pay=done", "has no step 'pay'"),
        ("charge", "says nothing"),
        ("=done", "says nothing"),
        ("charge=", "says nothing"),
        ("charge=no way", "is no answer"),
        ('charge={"x": 1}', "the reply is no CardCharged"),
    ],
)
def test_what_is_no_answer_is_a_usage_error(cli: Cli, told: str, said: str) -> None:
    refused = cli("replay", COMPLETED, "--what-if", told, *ORDERS)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    twice = cli("replay", COMPLETED, *("--what-if", "ship=done") * 2, *ORDERS)
    assert twice.code == 2
    assert "answered twice" in twice.err


@pytest.mark.requirement("R083")
def test_a_history_is_written_as_a_test_that_passes(cli: Cli, tmp_path: Path) -> None:
    plain, forked = tmp_path / "test_plain.py", tmp_path / "test_forked.py"
    assert cli("replay", TIMED_OUT, "--emit-test", plain, *ORDERS).code == 0
    other = ("--what-if", "charge=CardDeclined", "--emit-test", forked)
    assert cli("replay", COMPLETED, *other, *ORDERS).code == 0
    options = ("-q", "-n0", "-p", "no:cacheprovider", "-c", "/dev/null", "--import-mode=importlib")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), str(tmp_path)],
        env=environment(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in ran.stdout, ran.stdout
    assert cli("replay", TIMED_OUT, "--emit-test", "-", *ORDERS).out == plain.read_text()

    again = cli("replay", TIMED_OUT, "--emit-test", plain, *ORDERS)
    assert again.code == 2
    assert "is there already" in again.err
    nowhere = cli("replay", TIMED_OUT, "--emit-test", tmp_path / "no" / "where.py", *ORDERS)
    assert nowhere.code == 2


Damage = Callable[[list[str]], list[str]]

DAMAGED: list[tuple[Damage, str]] = [
    (lambda lines: [*lines[:3], *lines[4:]], "event 3 is missing, 4 comes next"),
    (lambda lines: [line.replace('"teapot"', '"pot"') for line in lines], "event 1 is not as"),
    (lambda lines: lines[:5], "event 5, or the end, is missing"),
    (lambda lines: ["{}"], "the head names no es_saga.history/1"),
    (lambda lines: [], "the head is not JSON"),
]


@pytest.mark.law("L52")
@pytest.mark.parametrize(("damage", "said"), DAMAGED, ids=[said for _, said in DAMAGED])
def test_a_damaged_file_is_refused_with_the_first_bad_event_named(
    cli: Cli, tmp_path: Path, damage: Damage, said: str
) -> None:
    file = tmp_path / "damaged.jsonl"
    file.write_text("\n".join(damage(COMPLETED.read_text().splitlines())))
    for words in (("replay", file), ("compare", file, COMPLETED), ("export", file)):
        refused = cli(*words)
        assert (refused.code, refused.out) == (6, "")
        assert said in refused.err


def test_what_is_no_text_is_no_history(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "picture.jsonl"
    file.write_bytes(b"\xff\xfe\x00")
    assert cli("replay", file).code == 2
    assert cli("replay", tmp_path / "nowhere.jsonl").code == 3


# ── two runs ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("R083")
def test_two_runs_are_put_side_by_side(cli: Cli) -> None:
    shown = cli("compare", COMPLETED, TIMED_OUT)
    assert shown.code == 0
    assert "they part at ship" in shown.err
    (part,) = [line for line in shown.out.splitlines() if line.startswith("→")]
    assert part.split()[:4] == ["→", "ship", "succeeded", "0.000"]
    assert "timed out" in part
    told = cli("compare", COMPLETED, TIMED_OUT, "-o", "json").json()
    assert (told["a"]["status"], told["b"]["status"]) == ("completed", "compensated")
    assert (told["first"]["step"], told["first"]["attempt"]) == ("ship", 1)
    rows = cli("compare", COMPLETED, TIMED_OUT, "-o", "jsonl").out.splitlines()
    assert [json.loads(row) for row in rows] == told["rows"]
    assert "both went the same way" in cli("compare", COMPLETED, COMPLETED).err


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────


def test_pictures_are_of_saga_types_or_of_sagas(cli: Cli, tmp_path: Path) -> None:
    one = ("--saga", "order", "--format", "svg")
    assert ElementTree.fromstring(cli("graph", "domain.orders:app", *one).out) is not None
    for form in ("svg", "gantt"):
        run = cli("graph", "--saga", TIMED_OUT, "--format", form, data=tmp_path)
        assert ElementTree.fromstring(run.out) is not None, run.err
    chart = cli("graph", "--saga", TIMED_OUT, data=tmp_path).out
    assert chart.startswith("sequenceDiagram")
    assert chart == cli("export", TIMED_OUT, "--format", "mermaid").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "nothing to draw"),
        (("domain.orders:app", "--format", "svg"), 2, "one picture"),
        (("domain.orders:app", "--format", "gantt"), 2, "has no times"),
        (("--saga", str(COMPLETED), "--format", "dot"), 2, "A run is no graph"),
        (("--saga", "nowhere.jsonl"), 3, "no file"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    cli: Cli, words: tuple[str, ...], code: int, said: str
) -> None:
    refused = cli("graph", *words)
    assert (refused.code, refused.out) == (code, "")
    assert said in refused.err


# ── a saga in the log ────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def gone_wrong(shop: Running) -> str:
    """An order that was undone: there are no unicorns."""
    words = ("start", "order", "--key", "wrong", "--wait", "-i", order("w", sku="unicorn"))
    done = subprocess.run(
        [sys.executable, "-m", "es_saga", *words],
        env=environment(ES_SAGA_DATA=str(shop.data)),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return "order-wrong"


@pytest.mark.requirement("R053", "R054", "R083")
def test_a_saga_of_the_log_is_replayed_by_its_id(cli: Cli, shop: Running, gone_wrong: str) -> None:
    rows = cli("replay", gone_wrong, "-o", "json", data=shop.data).json()
    assert (rows[0]["event"], rows[-1]["event"]) == ("SagaStarted", "SagaCompensated")
    assert rows[0]["data"]["card"] == "***", "it is sensitive"

    checked = cli("replay", gone_wrong, "--check", data=shop.data)
    assert checked.code == 0, checked.err
    assert f"{len(rows)} events, decided again as they were" in checked.err

    forked = cli("replay", gone_wrong, "--what-if", "reserve=done", data=shop.data)
    assert forked.code == 0, forked.err
    assert "completed, and it was compensated" in forked.err
    assert "visa" not in forked.out
    assert "***" in forked.out

    judged = cli("replay", gone_wrong, *ORDERS, data=shop.data)
    assert judged.code == 0, judged.err
    assert "none is broken" in judged.err


def test_an_exported_saga_opens_without_a_database(
    cli: Cli, shop: Running, gone_wrong: str, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.jsonl"
    file.write_text(cli("export", gone_wrong, data=shop.data).out)
    elsewhere = tmp_path / "elsewhere"
    here = cli("replay", gone_wrong, "-o", "json", data=shop.data).json()
    there = cli("replay", file, "-o", "json", data=elsewhere).json()
    assert there == here
    assert not elsewhere.exists()
    alike = cli("compare", gone_wrong, file, data=shop.data)
    assert "both went the same way" in alike.err
    drawn = cli("graph", "--saga", gone_wrong, "--format", "gantt", data=shop.data)
    assert ElementTree.fromstring(drawn.out) is not None


def test_a_test_of_a_saga_of_the_log_passes(
    cli: Cli, shop: Running, gone_wrong: str, tmp_path: Path
) -> None:
    file = tmp_path / "test_wrong.py"
    done = cli("replay", gone_wrong, "--emit-test", file, data=shop.data)
    assert done.code == 0, done.err
    assert "visa" not in file.read_text()
    assert "domain.orders import order" in file.read_text()
    space: dict[str, Callable[[], None]] = {}
    exec(compile(file.read_text(), str(file), "exec"), space)  # what was just written
    space["test_order_wrong_is_compensated"]()


@pytest.mark.law("L52")
@pytest.mark.parametrize(
    ("sabotage", "said"),
    [
        ("DELETE FROM es_events WHERE {} = 4", "event 4"),
        ("UPDATE es_events SET state = '{{}}' WHERE {} = 3", "event 3"),
        ("UPDATE es_events SET topic = 'Nonsense' WHERE {} = 5", "event 5"),
    ],
)
def test_a_log_that_was_changed_is_refused_with_the_first_bad_event_named(
    cli: Cli, shop: Running, gone_wrong: str, tmp_path: Path, sabotage: str, said: str
) -> None:
    copy = tmp_path / "log.db"
    with sqlite3.connect(shop.data / "log.db") as source, sqlite3.connect(copy) as target:
        source.backup(target)
    with sqlite3.connect(copy) as changed:
        where = f"originator_id = '{gone_wrong}' AND originator_version"
        assert changed.execute(sabotage.format(where)).rowcount == 1
    refused = cli("replay", gone_wrong, "--database", f"sqlite:///{copy}")
    assert (refused.code, refused.out) == (6, ""), refused.err
    assert said in refused.err


def test_unknown_sagas_and_logs_are_said(cli: Cli, shop: Running, tmp_path: Path) -> None:
    unknown = cli("replay", "nobody", data=shop.data)
    assert (unknown.code, unknown.out) == (3, "")
    assert cli("replay", "a b", data=shop.data).code == 2
    assert cli("replay", "order-1", data=tmp_path / "none").code == 5
    assert not (tmp_path / "none").exists()


PRICED = """
from es_saga import App, Command, Message, Saga, Sensitive

class Pay(Message):
    pence: Sensitive[int]

class Take(Command[None]):
    to = "till"
    pence: int

pay = Saga("pay", Pay)

@pay.pivot
def take(p: Pay) -> Take:
    return Take(pence=p.pence)

app = App("till", sagas=[pay])
"""


def test_a_test_that_takes_hidden_values_is_not_written(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A number that is hidden is no number: whoever reads it is told why there is no test."""
    (tmp_path / "till.py").write_text(PRICED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    definition = compose.load_app("till:app").definitions()[0]
    events = decide(definition, None, Start("pay-1", {"pence": 5}, message_id="start"), 0.0)
    write_history(tmp_path / "pay.jsonl", "pay-1", events)
    words = ("replay", tmp_path / "pay.jsonl", "--what-if", "take=Broke", "--app", "till:app")
    refused = cli(*words, "--emit-test", tmp_path / "test_pay.py")
    assert refused.code == 2
    assert "Its sensitive values are hidden" in refused.err
    assert not (tmp_path / "test_pay.py").exists()
    plain = ("replay", tmp_path / "pay.jsonl", "--emit-test", "-", "--app", "till:app")
    assert "Take(pence=5)" in cli(*plain).out, "a file shows what is in it"

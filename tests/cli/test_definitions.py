"""`check`, `replay` and `graph`, and what is said about apps that are none."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from domain.orders import order
from es_saga.core.errors import DefinitionError
from es_saga.testing.history import write_history
from es_saga.testing.world import World
from tests.cli.conftest import Cli


def test_check_lists_every_step_of_every_saga_and_what_was_looked_at(cli: Cli) -> None:
    table = cli("check", "domain.orders:app", "--examples", "20")
    rows = cli("check", "domain.orders:app", "--examples", "20", "-o", "json").json()

    assert table.code == 0
    assert "4 sagas without a fault" in table.err
    steps = {(row["saga"], step["step"]): step for row in rows for step in row["steps"]}
    assert steps["order", "charge"]["kind"] == "compensatable"
    assert steps["counter", "charge"]["kind"] == "pivot"
    ship = steps["order", "ship"]
    assert (ship["undo"], ship["after"], ship["to"]) == ("RecallParcel", ["reserve"], "shipping")
    assert all(step in table.out for _, step in steps)
    assert all(row["ok"] and row["schedules"] == 20 and row["states"] > 50 for row in rows)
    assert all(f"{row['states']:,}" in table.out for row in rows)


def test_check_plays_a_choreography_too_and_shows_who_tells_what(cli: Cli) -> None:
    told = cli("check", "domain.fulfilment:app", "--examples", "20")

    assert told.code == 0
    assert "stock_reserved" in told.out
    assert "StockReleased" in told.out
    assert "1 saga without a fault" in told.err


def test_a_saga_that_breaks_a_law_is_exit_6_and_its_history_is_kept(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ES_SAGA_DATA", str(tmp_path))
    found = cli("check", "tests.cli.bakery:swapped_app", "--examples", "1", "-o", "json")

    assert found.code == 6
    assert "law L01 is broken" in found.err
    assert "but: it was undone, and the net effect of reserve is 1, not 0" in found.err
    saved = tmp_path / "counterexamples" / "swapped-L01.jsonl"
    assert f"es-saga replay {saved}" in found.err
    rows = {row["saga"]: row for row in found.json()}
    assert rows["swapped"]["counterexample"] == str(saved)
    assert rows["right"]["ok"], "one that is broken keeps no other from being looked at"

    replayed = cli("replay", str(saved))
    assert replayed.code == 0
    assert "CompensationSucceeded" in replayed.out
    assert "found L01 (saga-1)" in replayed.err
    judged = cli("replay", str(saved), "--app", "tests.cli.bakery:swapped_app")
    assert judged.code == 6
    assert "error L01 (saga-1): it was undone, and the net effect of reserve is 1" in judged.err


def test_a_history_is_replayed_from_its_file(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "order-1.jsonl"
    events = World([order]).run().stories[0].history
    write_history(file, "order-1", events)

    told = cli("replay", str(file), "--app", "domain.orders:app")
    rows = cli("replay", str(file), "-o", "json").json()
    assert told.code == 0
    assert "none is broken" in told.err
    assert [row["event"] for row in rows] == [type(event).__name__ for event in events]

    file.write_text(file.read_text().replace('"sku": "teapot"', '"sku": "tea"'))
    edited = cli("replay", str(file))
    assert edited.code == 6
    assert "event 1 is not as it was written" in edited.err
    assert cli("replay", str(tmp_path / "nope.jsonl")).code == 3


@pytest.mark.requirement("R048")
def test_a_faulty_definition_is_exit_6_with_all_its_faults(cli: Cli) -> None:
    refused = cli("check", "tests.cli.faulty:app")

    assert (refused.code, refused.out) == (6, "")
    assert "never_undone" in refused.err
    assert "nobody" in refused.err


def test_an_app_that_cannot_be_run_cannot_be_imported() -> None:
    with pytest.raises(DefinitionError, match=r"\n    - after_nobody comes after 'nobody'"):
        importlib.import_module("tests.cli.faulty")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nosuch:app", "no module 'nosuch'"),
        ("domain.nosuch:app", "no module 'domain.nosuch'"),
        ("domain.orders:nope", "Its apps: app"),
        ("domain.orders", "module:attribute"),
        ("domain.orders:order", "Saga, not App"),
    ],
)
def test_what_is_no_app_is_a_usage_error(cli: Cli, reference: str, said: str) -> None:
    refused = cli("check", reference)

    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_package", "No module named 'no_such_package'"),
        ("app = (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why_and_where(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "broken_shop.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the next text is as long and as old

    refused = cli("check", "broken_shop:app")

    assert refused.code == 2
    assert said in refused.err
    assert "broken_shop.py" in refused.err
    assert "Traceback" not in refused.err


def test_graph_draws_one_saga_or_all(cli: Cli) -> None:
    every = cli("graph", "domain.orders:app")
    one = cli("graph", "domain.orders:app", "--saga", "order", "--format", "dot")
    none = cli("graph", "domain.orders:app", "--saga", "nope")

    assert every.out.count("flowchart") == 4
    assert one.out.startswith("digraph")
    assert none.code == 3
    assert "counter" in none.err


@pytest.mark.requirement("R002")
def test_of_a_choreography_graph_and_contract_say_who_tells_what_and_nobody_is_asked(
    cli: Cli,
) -> None:
    graph = cli("graph", "domain.fulfilment:app").out
    assert "compensatable, expected<br/>PaymentCompleted by payments" in graph
    assert "undo: PaymentRefunded" in graph
    contract = cli("contracts", "domain.fulfilment:app", "--asyncapi").json()
    addresses = {name: one["address"] for name, one in contract["channels"].items()}
    assert not any(".cmd." in address for address in addresses.values())
    told = addresses["payments.PaymentRefunded"]
    assert told == "saga.v1.main.evt.payments.{aggregate_id}.PaymentRefunded"
    assert contract["operations"]["payments.PaymentRefunded"]["action"] == "receive"
    models = cli("contracts", "domain.fulfilment:app", "--jsonschema").json()["$defs"]
    assert {"OrderCreated", "StockInsufficient", "StockReleased"} <= set(models)

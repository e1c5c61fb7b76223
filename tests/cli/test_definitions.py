"""`check` and `graph`, and what is said about apps that are none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_check_lists_every_step_of_every_saga(cli: Cli) -> None:
    table = cli("check", "domain.orders:app")
    rows = cli("check", "domain.orders:app", "-o", "json").json()

    assert table.code == 0
    assert "4 sagas without a fault" in table.err
    charges = {row["saga"]: row["kind"] for row in rows if row["step"] == "charge"}
    assert charges["order"] == "compensatable"
    assert charges["counter"] == "pivot"
    ship = next(row for row in rows if (row["saga"], row["step"]) == ("order", "ship"))
    assert (ship["undo"], ship["after"], ship["to"]) == ("RecallParcel", ["reserve"], "shipping")
    assert all(row["step"] in table.out for row in rows)


@pytest.mark.requirement("R048")
def test_a_faulty_definition_is_exit_6_with_all_its_faults(cli: Cli) -> None:
    refused = cli("check", "tests.cli.bakery:faulty_app")

    assert (refused.code, refused.out) == (6, "")
    assert "never_undone" in refused.err
    assert "nobody" in refused.err


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

"""Starting sagas and looking at them, on a system that really runs."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from es_saga.cli import compose
from es_saga.config import Settings
from tests.cli.conftest import REPOSITORY, Cli, Running, environment, order


def sagas(data: Path) -> int:
    """How many sagas the log has."""
    return sum(compose.queries(Settings(data=data)).counts().values())


@pytest.mark.requirement("R076")
def test_an_order_that_completes_exits_0_and_prints_its_id_alone(cli: Cli, shop: Running) -> None:
    done = cli("start", "order", "--key", "1", "--wait", "-i", order("1"), data=shop.data)

    assert (done.code, done.out) == (0, "order-1\n")
    assert done.err.strip() == "completed"


def test_an_order_that_is_undone_exits_1_and_says_why(cli: Cli, shop: Running) -> None:
    words = ("start", "order", "--wait", "-i", order("2", sku="unicorn"), "-o", "json")
    done = cli(*words, data=shop.data)

    assert done.code == 1
    assert done.json()["status"] == "compensated"
    assert done.json()["reason_step"] == "reserve"
    assert "OutOfStock" in done.err


def test_input_comes_from_a_file_or_from_standard_input(
    shop: Running, cli: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "order.json"
    file.write_text(order("file"))
    assert cli("start", "order", "--key", "f", "-i", f"@{file}", data=shop.data).code == 0

    piped = subprocess.run(
        [sys.executable, "-m", "es_saga", "start", "order", "--key", "p", "-i", "-"],
        input=order("pipe"),
        env=environment(ES_SAGA_DATA=str(shop.data)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert piped.stdout == "order-p\n"


def test_the_same_key_and_input_is_the_same_saga(cli: Cli, shop: Running) -> None:
    first = cli("start", "order", "--key", "same", "-i", order("s"), data=shop.data)
    before = sagas(shop.data)
    second = cli("start", "order", "--key", "same", "-i", order("s"), data=shop.data)

    assert first.out == second.out == "order-same\n"
    assert sagas(shop.data) == before


BAD: dict[str, tuple[int, list[str], str]] = {
    "unknown type": (3, ["start", "nosuch", "-i", order("b")], "collect, counter, express, order"),
    "unfit input": (2, ["start", "order", "-i", '{"pence": -1}'], "sku: Field required"),
    "no JSON": (2, ["start", "order", "-i", "{nope"], "is no JSON"),
    "NaN": (2, ["start", "order", "-i", '{"pence": NaN}'], "is no JSON"),
    "no object": (2, ["start", "order", "-i", "[1]"], "must be a JSON object"),
    "missing file": (2, ["start", "order", "-i", "@/no/such.json"], "/no/such.json"),
    "too large": (2, ["start", "order", "-i", order("x" * 300_000)], "262144 are allowed"),
    "illegal key": (2, ["start", "order", "--key", "a b", "-i", order("b")], "cannot be a saga id"),
    "illegal id": (2, ["status", "a b"], "cannot be a saga id"),
    "unknown saga": (3, ["status", "nobody"], "no saga 'nobody'"),
    "its history": (3, ["history", "nobody"], "no saga 'nobody'"),
    "its end": (3, ["wait", "nobody"], "no saga 'nobody'"),
    "cancel it": (3, ["cancel", "nobody", "--reason", "r"], "no saga 'nobody'"),
    "no reason": (2, ["cancel", "nobody", "--reason", ""], "reason"),
    "no span": (2, ["list", "--since", "5x"], "30s, 15m, 1h or 7d"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_one_message_its_code_and_writes_nothing(
    cli: Cli, shop: Running, what: str
) -> None:
    code, words, message = BAD[what]
    before = sagas(shop.data)

    refused = cli(*words, data=shop.data)

    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err
    assert refused.err.count("error ") == 1
    assert "Traceback" not in refused.err
    assert "pydantic.dev" not in refused.err
    assert sagas(shop.data) == before


def test_a_key_reused_with_another_input_is_a_conflict(cli: Cli, shop: Running) -> None:
    cli("start", "order", "--key", "twice", "-i", order("one"), data=shop.data)
    before = sagas(shop.data)

    refused = cli("start", "order", "--key", "twice", "-i", order("two"), data=shop.data)

    assert (refused.code, refused.out) == (4, "")
    assert "error" in refused.err
    assert sagas(shop.data) == before


def test_a_closed_saga_cannot_be_operated_on(cli: Cli, shop: Running) -> None:
    cli("start", "order", "--key", "shut", "--wait", "-i", order("shut"), data=shop.data)

    for verb in ("cancel", "retry"):
        assert cli(verb, "order-shut", "--reason", "r", data=shop.data).code == 4


def test_list_finds_by_status_type_key_and_time(cli: Cli, shop: Running) -> None:
    cli("start", "express", "--key", "found", "--wait", "-i", order("l1"), data=shop.data)
    cli("start", "express", "--wait", "-i", order("l2", sku="unicorn"), data=shop.data)

    def listed(*words: str) -> list[Any]:
        return list(cli("list", *words, "-o", "json", data=shop.data).json())

    assert [row["saga_id"] for row in listed("--key", "found")] == ["express-found"]
    statuses = {row["status"] for row in listed("--type", "express", "--status", "compensated")}
    assert statuses == {"compensated"}
    assert len(listed("--limit", "1")) == 1
    assert listed("--status", "stuck", "--since", "1h") == []
    nothing = cli("list", "--status", "stuck", data=shop.data)
    assert (nothing.code, nothing.out, nothing.err.strip()) == (0, "", "no sagas")


def test_history_tells_every_event_in_order_with_local_milliseconds(
    cli: Cli, shop: Running
) -> None:
    cli("start", "order", "--key", "h", "--wait", "-i", order("h", sku="unicorn"), data=shop.data)

    lines = cli("history", "order-h", "-o", "jsonl", data=shop.data).out.splitlines()
    events = [json.loads(line) for line in lines]
    table = cli("history", "order-h", data=shop.data).out

    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["kind"], events[-1]["kind"]) == ("SagaStarted", "SagaCompensated")
    assert len(re.findall(r"\d\d:\d\d:\d\d\.\d{3}", table)) == len(events)
    undone = [event["step"] for event in events if event["kind"] == "CompensationIssued"]
    assert undone == ["charge", "create"]


@pytest.mark.requirement("R077")
def test_status_shows_each_step(cli: Cli, shop: Running) -> None:
    cli("start", "order", "--key", "st", "--wait", "-i", order("st"), data=shop.data)

    shown = cli("status", "order-st", data=shop.data)

    assert shown.code == 0
    for word in ("order-st", "completed", "create", "charge", "reserve", "ship"):
        assert word in shown.out
    assert "\x1b" not in shown.out


def test_wait_that_is_too_short_exits_7(cli: Cli, shop: Running) -> None:
    slow = order("slow", card="visa!slow")
    cli("start", "order", "--key", "slow", "-i", slow, data=shop.data)

    assert cli("wait", "order-slow", "--timeout", "0", data=shop.data).code == 7
    assert cli("wait", "order-slow", "--timeout", "30", data=shop.data).code == 0


def test_cancel_undoes_a_saga_under_way(cli: Cli, shop: Running) -> None:
    slow = order("cancelled", card="visa!slow")
    cli("start", "order", "--key", "cancelled", "-i", slow, data=shop.data)

    asked = cli("cancel", "order-cancelled", "--reason", "no more", "-o", "json", data=shop.data)
    ended = cli("wait", "order-cancelled", "--timeout", "30", "-o", "json", data=shop.data)

    assert asked.code == 0
    assert asked.json()["status"] == "compensating"
    assert ended.code == 1
    assert ended.json()["status"] == "compensated"


def test_watching_off_a_terminal_tells_what_changes_until_interrupted(
    cli: Cli, shop: Running
) -> None:
    cli("start", "order", "--key", "w1", "--wait", "-i", order("w1"), data=shop.data)
    watching = subprocess.Popen(
        [sys.executable, "-m", "es_saga", "list", "--watch", "-o", "jsonl"],
        env=environment(ES_SAGA_DATA=str(shop.data)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=20)

    assert first["version"] >= 1
    assert watching.returncode == 130
    assert errors == ""


def on_a_terminal(columns: int, *words: str, **more: str) -> str:
    """What a command shows on a terminal so wide."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {k: v for k, v in environment(**more).items() if k not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "es_saga", *words],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=kept | {"TERM": "xterm-256color"} | {k: v for k, v in more.items() if k == "NO_COLOR"},
        cwd=REPOSITORY,
    )
    os.close(theirs)
    shown = b""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    process.wait(20)
    return shown.decode()


def test_a_narrow_terminal_cuts_no_id(cli: Cli, shop: Running) -> None:
    words = ("start", "order", "--wait", "-i", order("n", sku="unicorn"))
    saga_id = cli(*words, data=shop.data).out.strip()

    shown = on_a_terminal(80, "list", ES_SAGA_DATA=str(shop.data))

    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert saga_id in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert "\x1b[" in shown


def test_no_color_means_no_escape_at_all(cli: Cli, shop: Running) -> None:
    cli("start", "order", "--key", "nc", "--wait", "-i", order("nc"), data=shop.data)
    where = {"ES_SAGA_DATA": str(shop.data)}

    assert "\x1b" not in on_a_terminal(100, "list", NO_COLOR="1", **where)
    assert "\x1b" not in on_a_terminal(100, "list", "-q", **where)


def test_quiet_says_errors_only(cli: Cli, shop: Running) -> None:
    done = cli("start", "order", "--key", "q", "--wait", "-q", "-i", order("q"), data=shop.data)
    failed = cli("status", "nobody", "-q", data=shop.data)

    assert (done.code, done.out, done.err) == (0, "order-q\n", "")
    assert "no saga" in failed.err


def test_where_nothing_runs_it_says_so_and_makes_nothing(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "none"

    asked = cli("start", "order", "-i", order("x"), data=data)
    listed = cli("list", data=data)

    assert (asked.code, listed.code) == (5, 5)
    assert "es-saga run APP" in asked.err
    assert not data.exists()
    data.mkdir()
    assert cli("list", data=data).code == 5
    assert list(data.iterdir()) == [], "to look at a log does not make one"


def test_a_file_that_is_no_log_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    other = tmp_path / "letter.txt"
    other.write_text("Dear Ada, ...")

    refused = cli("list", "--database", f"sqlite:///{other}")

    assert refused.code == 2
    assert "is no SQLite database" in refused.err
    assert other.read_text() == "Dear Ada, ..."


@pytest.mark.requirement("R084")
def test_status_asks_participants_as_well(cli: Cli, shop: Running) -> None:
    cli("start", "order", "--key", "asked", "--wait", "-i", order("asked"), data=shop.data)
    level = ("--with", 'stock.StockLevel={"sku": "teapot"}')
    shown = cli("status", "order-asked", *level, data=shop.data)
    assert (shown.code, "on_hand" in shown.out) == (0, True), shown.err

    found = cli(
        *("status", "order-asked", *level, "--with", "stock.Nothing", "-o", "json"), data=shop.data
    ).json()
    assert found["partial"] is True
    assert found["answers"]["stock.StockLevel"]["reply"]["sku"] == "teapot"
    assert found["answers"]["stock.Nothing"]["answer"] == "missing"
    assert cli("status", "order-asked", "--with", "stock", data=shop.data).code == 2

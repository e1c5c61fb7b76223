"""The README is true: its first saga is written down, checked, run and looked at as it says."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
PROGRAM = [sys.executable, "-m", "es_saga"]
READY_SECONDS = 60.0


def blocks(language: str) -> list[str]:
    """The README's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(beginning: str) -> list[list[str]]:
    """Console lines that begin so, as arguments of es-saga."""
    lines = [line[2:] for block in blocks("console") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(beginning)]


def es_saga(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def write_files(folder: Path) -> None:
    """What the README has as files."""
    for block in blocks("python"):
        file = re.match(r"# (\w+\.py)\n", block)
        if file is not None:
            (folder / file[1]).write_text(block)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of `shop.py`, with its app running."""
    tmp_path = tmp_path_factory.mktemp("shop")
    write_files(tmp_path)
    _, arguments = commands("es-saga run")  # the second time with a read model
    log = (tmp_path / "run.log").open("w")
    process = subprocess.Popen([*PROGRAM, *arguments], cwd=tmp_path, stderr=log, env=os.environ)
    try:
        end = time.monotonic() + READY_SECONDS
        while not list((tmp_path / ".es_saga").glob("run-shop-*.json")):
            assert process.poll() is None, (tmp_path / "run.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield tmp_path
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        log.close()


def test_a_stranger_can_write_check_run_and_explain_a_saga_by_the_readme(shop: Path) -> None:
    [check] = commands("es-saga check")
    checked = es_saga(shop, *check)
    assert checked.returncode == 0, checked.stderr

    good, bad = commands("es-saga start")
    first, second = es_saga(shop, *good), es_saga(shop, *bad)
    assert (first.returncode, first.stdout) == (0, "order-1\n"), first.stderr
    assert (second.returncode, second.stdout) == (1, "order-2\n"), second.stderr
    assert "CardDeclined" in second.stderr

    [history] = commands("es-saga history")
    shown = es_saga(shop, *history).stdout
    events = re.findall(r"(Saga\w+|Step\w+|Compensation\w+) ", shown)
    assert events == [
        "SagaStarted",
        "StepStarted",
        "StepSucceeded",
        "StepStarted",
        "StepRefused",
        "CompensationStarted",
        "CompensationIssued",
        "CompensationSucceeded",
        "SagaCompensated",
    ]
    listed = es_saga(shop, *commands("es-saga list")[0]).stdout
    assert "order-1" in listed
    assert "compensated" in listed


def test_it_is_replayed_compared_and_operated_on_by_the_readme(shop: Path) -> None:
    for start in commands("es-saga start"):
        es_saga(shop, *start)  # the same keys, so the same sagas, whatever was tested before
    _, check_again, what_if, emit, compare = [
        *commands("es-saga replay"),
        *commands("es-saga comp"),
    ]
    assert es_saga(shop, *check_again).returncode == 0
    assert "SagaCompleted" in es_saga(shop, *what_if).stdout
    assert es_saga(shop, *emit).returncode == 0
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", emit[-1]]
    assert subprocess.run(test, cwd=shop, capture_output=True, check=False).returncode == 0
    assert "CardDeclined" in es_saga(shop, *compare).stdout
    [retry] = commands("es-saga retry")
    assert es_saga(shop, *retry).returncode == 0, "nothing is stuck, so nothing is done"


def test_its_read_model_is_kept_and_verified_by_the_readme(shop: Path) -> None:
    es_saga(shop, *commands("es-saga start")[0])
    listing, verify = commands("es-saga projections")
    assert "order_board" in es_saga(shop, *listing).stdout
    verified = es_saga(shop, *verify)
    assert verified.returncode == 0, verified.stderr
    assert es_saga(shop, "audit", "verify").returncode == 0


def test_one_service_tells_and_another_one_hears_by_the_readme(tmp_path: Path) -> None:
    write_files(tmp_path)
    done = subprocess.run(
        [sys.executable, "events.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "a parcel for order 1\n"), done.stderr


def test_the_readme_shows_the_two_commands_by_pip_and_by_uv() -> None:
    setup = "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/"
    first = blocks("console")[0]
    assert first == f"$ {setup}es-saga demo\n$ {setup}pytest\n"
    assert "`uv run es-saga demo` and `uv run pytest`" in README


def test_every_command_that_the_readme_names_exists() -> None:
    table = README.split("## Commands")[1].split("##")[0]
    named = {
        words.split()[0] for words in re.findall(r"`([a-z][^`]*)`", table.split("Data goes")[0])
    }
    shown = es_saga(Path.cwd(), "--help").stdout
    words = named - {"es-saga", "up", "sql"}
    assert {name for name in words if not re.search(rf"^  {name}\b", shown, re.MULTILINE)} == set()


def test_the_readmes_monolith_needs_nothing_else_and_can_be_run_again(tmp_path: Path) -> None:
    write_files(tmp_path)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "monolith.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == "completed"
    assert not (tmp_path / ".es_saga").exists()


def test_the_readmes_tests_pass_and_tell_what_they_looked_at(tmp_path: Path) -> None:
    write_files(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout
    assert "sagas checked" in done.stdout

"""`es-saga new`: a project that is whole as it is written. Its types are judged in tests/typing."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from es_saga import App
from es_saga.cli.scaffolding import PLACEHOLDER
from tests.cli.conftest import Cli

NAME = "bookshop"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to be in; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


@pytest.mark.requirement("R021")
def test_a_new_project_passes_its_own_tests(cli: Cli, here: Path) -> None:
    made = cli("new", NAME)
    assert (made.code, made.out) == (0, f"{NAME}\n"), made.err
    assert f"cd {NAME} && es-saga check {NAME}:app" in made.err

    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=here / NAME, capture_output=True, text=True, timeout=100, check=False
    )
    assert "5 passed" in done.stdout, done.stdout
    assert "sagas checked" in done.stdout


@pytest.mark.requirement("R021")
def test_a_new_project_is_checked_and_its_readme_is_true(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("new", "-q", NAME).err == ""
    monkeypatch.chdir(here / NAME)
    readme = Path("README.md").read_text()

    words = re.findall(r"\$ es-saga check (\S+)", readme)[0]
    checked = cli("check", words, "--examples", "1")
    assert checked.code == 0, checked.err
    assert "invariant" in vars(importlib.import_module(NAME)), "it is asked, too"

    app: App = importlib.import_module(NAME).app
    inputs = [json.loads(told) for told in re.findall(r"--input '(.*)'", readme)]
    assert [app.sagas[0].definition.check_input(told)["order_id"] for told in inputs] == ["1", "2"]
    named = re.findall(r"^\| `([^`]+\.py)` ", readme, re.MULTILINE)
    there = {str(file) for file in Path().rglob("*.py")} - {f"{NAME}/__init__.py"}
    assert set(named) == there


def test_only_the_name_is_filled_in(cli: Cli, here: Path) -> None:
    cli("new", NAME)
    files = [file for file in here.rglob("*") if file.is_file()]
    assert len(files) == 11
    assert [file for file in files if PLACEHOLDER in f"{file}{file.read_text()}"] == []


@pytest.mark.parametrize("there", ["folder", "file", "broken link"])
def test_what_exists_is_never_written_over(cli: Cli, here: Path, there: str) -> None:
    mine = here / NAME
    if there == "folder":
        mine.mkdir()
    elif there == "file":
        mine.write_text("mine")
    else:
        mine.symlink_to("nowhere")

    refused = cli("new", NAME)

    assert (refused.code, refused.out) == (4, "")
    assert f"There is a '{NAME}' here already; nothing was written." in refused.err
    assert list(here.rglob("*")) == [mine]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "cannot be called ''"),
        ("Bookshop", "Small letters"),
        ("1st", "a letter first"),
        ("book-shop", "cannot be called 'book-shop'"),
        ("../bookshop", "cannot be called"),
        ("bücher", "cannot be called"),
        ("class", "no word of Python's own"),
        ("b" * 41, "at most 40"),
        ("json", "There is a Python module 'json' already"),
        ("es_saga", "which the project would hide"),
        ("tests", "There is a Python module 'tests' already"),
    ],
)
def test_a_name_that_no_package_can_have_is_refused(
    cli: Cli, here: Path, name: str, why: str
) -> None:
    refused = cli("new", "--", name)

    assert (refused.code, refused.out) == (2, "")
    assert why in refused.err
    assert list(here.iterdir()) == []

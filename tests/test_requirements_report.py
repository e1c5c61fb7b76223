"""The report of `pytest --requirements`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.requirements_report import rows

ROOT = Path(__file__).parent.parent

SAMPLE = """
import pytest

@pytest.mark.requirement("R032", "D01")
def test_passes():
    pass

@pytest.mark.requirement("R033", "R032")
def test_fails():
    raise AssertionError

@pytest.mark.requirement("R034")
@pytest.mark.skip(reason="a sample of one that is not run")
def test_is_not_run():
    pass
"""

CONFTEST = """
from tests import requirements_report

def pytest_addoption(parser):
    requirements_report.add_option(parser)

def pytest_configure(config):
    requirements_report.register(config)
"""


def report(folder: Path, sample: str, *options: str) -> str:
    """What pytest prints about a sample of tests."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_sample.py").write_text(sample)
    (folder / "pytest.ini").write_text(
        f"[pytest]\npythonpath = {ROOT}\nmarkers =\n    requirement: rows\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--requirements"]
    done = subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_rows_that_no_passing_test_shows_are_printed(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    said = report(tmp_path, SAMPLE, *options)
    lines = said.splitlines()
    assert f"requirements: 2 of {len(rows())} rows shown" in said
    assert not any(line.startswith(("R032 ", "D01 ")) for line in lines)
    assert any(line.startswith("R033  ") and "failed" in line for line in lines)
    assert any(line.startswith("R034  ") and "failed" not in line for line in lines)


def test_a_row_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    assert "there is no requirement 'R999'" in report(tmp_path, SAMPLE.replace('"R034"', '"R999"'))


def test_the_list_has_each_row_once() -> None:
    numbers = list(rows())
    assert numbers == sorted(set(numbers), key=lambda row: (row[0] != "R", row))
    assert all(rows().values())

"""`pytest --requirements`: the rows of the requirements that no passing test shows.

A test names its rows with `@pytest.mark.requirement("R032")`. The rows travel on the test's report,
so it works under xdist too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

_LIST = Path(__file__).with_name("requirements.txt")
_PROPERTY = "requirement"


def add_option(parser: pytest.Parser) -> None:
    """Teach pytest `--requirements`."""
    parser.addoption(
        "--requirements",
        action="store_true",
        help="print the rows of the requirements that no passing test covers",
    )


def register(config: pytest.Config) -> None:
    """Switch the report on, where it was asked for."""
    if config.getoption("requirements"):
        config.pluginmanager.register(RequirementsReport(rows()))


def rows() -> dict[str, str]:
    """Every row by its number, with a few words."""
    lines = _LIST.read_text(encoding="utf-8").splitlines()
    return {number: words for number, _, words in (line.partition(" ") for line in lines)}


class RequirementsReport:
    """Collects what passing tests show, and prints the rest at the end."""

    def __init__(self, wanted: dict[str, str]) -> None:
        self.wanted = wanted
        self.shown: set[str] = set()
        self.failed: set[str] = set()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        for row in _rows_of(item):
            if row not in self.wanted:
                raise pytest.UsageError(f"{item.nodeid}: there is no requirement {row!r}")
            item.user_properties.append((_PROPERTY, row))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        named = {str(value) for key, value in report.user_properties if key == _PROPERTY}
        if report.failed:
            self.failed |= named
        elif report.when == "call" and report.passed:
            self.shown |= named

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        missing = [row for row in self.wanted if row not in self.shown]
        done = len(self.wanted) - len(missing)
        terminalreporter.section(f"requirements: {done} of {len(self.wanted)} rows shown")
        for row in missing:
            note = " (a test that names it failed)" if row in self.failed else ""
            terminalreporter.write_line(f"{row}  {self.wanted[row]}{note}")


def _rows_of(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("requirement"):
        yield from mark.args

"""The pytest plugin: after the tests it tells what `check_saga` has seen.

    sagas checked
    saga    schedules  faults  states   laws  fates reached
    order         200     412  3,318      54  completed 291, compensated 104, stuck 9

It is there wherever es_saga is installed, costs nothing where no saga is checked, and works with
pytest-xdist. It imports nothing by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pytest

    from es_saga.testing.check import Checked

Row = tuple[str, ...]

_HEAD: Final[Row] = ("saga", "schedules", "faults", "states", "laws", "fates reached")
_OUTPUT: Final = "es_saga_checks"


class _Seen:
    """The rows that workers of pytest-xdist have sent."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended; called on its controller only."""
        self.rows += map(tuple, getattr(node, "workeroutput", {}).get(_OUTPUT, ()))


def pytest_configure(config: pytest.Config) -> None:
    """Listen to workers, where there are any."""
    if config.pluginmanager.hasplugin("xdist") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Seen(), "es_saga_seen")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker: hand over what was seen."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_OUTPUT] = _own()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table, if there is anything in it."""
    seen = config.pluginmanager.get_plugin("es_saga_seen")
    rows = sorted([*_own(), *(seen.rows if isinstance(seen, _Seen) else ())])
    if not rows:
        return
    terminalreporter.section("sagas checked")
    for line in table([_HEAD, *rows]):
        terminalreporter.write_line(line)


def table(rows: Sequence[Row]) -> list[str]:
    """Rows as lines: the first and the last column to the left, the numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)),
                row[-1],
            ]
        )
        for row in rows
    ]


def _own() -> list[Row]:
    check = sys.modules.get("es_saga.testing.check")
    return [_row(checked) for checked in check.CHECKS] if check is not None else []


def _row(checked: Checked) -> Row:
    fates = ", ".join(f"{fate.value} {count:,}" for fate, count in checked.fates.most_common())
    return (
        checked.saga,
        f"{checked.schedules:,}",
        f"{checked.faults.total():,}",
        f"{checked.exploration.states:,}",
        str(len(checked.laws)),
        fates,
    )

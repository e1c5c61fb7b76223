"""Commands that tell how the sagas are doing: health, alerts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from es_saga.cli.console import (
    DatabaseOption,
    DataOption,
    Output,
    OutputOption,
    QuietOption,
    console_on,
    escape,
    moment,
    say,
    seconds,
    short,
    show,
    show_one,
    text_of,
)

if TYPE_CHECKING:
    from es_saga.projections.alerts import AlertRow
    from es_saga.projections.vitals import Durations, StepVitals, TypeVitals, Vitals

MAX_ROWS: Final = 1_000


class Kind(StrEnum):
    """What an alert can be about."""

    STUCK = "stuck"
    UNDO = "undo"
    DEADLINE = "deadline"
    IDLE = "idle"
    DOUBT = "doubt"
    SLOT = "slot"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: es-saga health --within 24h")(health)
    app.command(epilog="Example: es-saga alerts --kind undo")(alerts)


def health(
    within: Annotated[
        str, typer.Option("--within", help="How far back to look: 15m, 1h, 7d.")
    ] = "1h",
    stuck_for: Annotated[
        str, typer.Option("--stuck-for", help="How long a saga may be stuck.")
    ] = "15m",
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """How the sagas are doing. Numbers, rates, durations, and what waits too long."""
    from es_saga.cli import compose
    from es_saga.config import load

    span, patience = seconds(within), seconds(stuck_for)
    assert span is not None, "it has a default"
    assert patience is not None, "it has a default"
    found = compose.queries(load(data=data, database=database))
    vitals = found.vitals(within=span, stuck_for=patience)
    if output is not Output.TABLE:
        show_one(_plain(vitals), output)
        return
    if not vitals.types:
        say("no sagas yet")
        return
    _show_types(vitals)
    if vitals.steps:
        console_on(sys.stdout).print()
        _show_steps(vitals)
    if vitals.stuck.number:
        say(f"stuck for longer than {stuck_for}: [bold red]{vitals.stuck}[/]; see `es-saga alerts`")
    if vitals.owed:
        say(f"undos given up and owed: [bold red]{vitals.owed:,}[/]; see `es-saga alerts`")


def _plain(vitals: Vitals) -> dict[str, Any]:
    whole = asdict(vitals)
    whole["stuck"] = vitals.stuck._asdict()
    for kept, one in zip(whole["types"], vitals.types, strict=True):
        kept |= {"completed": one.completed._asdict(), "compensated": one.compensated._asdict()}
    for kept, step in zip(whole["steps"], vitals.steps, strict=True):
        kept["took"] = step.took._asdict()
    return whole


def _show_types(vitals: Vitals) -> None:
    from es_saga.cli.table import Column

    right = {"right": True}
    columns = (
        "type",
        Column("running", **right),
        Column("compensating", optional=True, **right),
        Column("stuck", **right),
        Column("completed", **right),
        Column("compensated", **right),
        Column("owing", optional=True, **right),
        Column("a minute", **right),
        Column("p50", **right),
        Column("p95", **right),
    )
    show((_type(one, vitals.seconds) for one in vitals.types), Output.TABLE, columns)


def _type(one: TypeVitals, within: float) -> dict[str, Any]:
    def so_many(*statuses: str) -> str:
        return _number(sum(one.sagas.get(status, 0) for status in statuses))

    return {
        "type": one.type,
        "running": so_many("running", "waiting"),
        "compensating": so_many("compensating"),
        "stuck": so_many("stuck"),
        "completed": so_many("completed"),
        "compensated": so_many("compensated"),
        "owing": so_many("compensated-with-exceptions"),
        "a minute": f"{60 * one.counts['started'] / within:.1f}" if within else "",
        **_took(one.completed),
    }


def _show_steps(vitals: Vitals) -> None:
    from es_saga.cli.table import Column

    right = {"right": True}
    columns = (
        "step",
        Column("sent", **right),
        Column("refused", optional=True, **right),
        Column("failed", optional=True, **right),
        Column("timed_out", optional=True, **right),
        Column("p50", **right),
        Column("p95", **right),
    )
    show(map(_step, vitals.steps), Output.TABLE, columns)


def _step(one: StepVitals) -> dict[str, Any]:
    undo = "undo of " if one.direction == "undo" else ""
    return {
        "step": f"{one.type}: {undo}{one.step}",
        "sent": _number(one.sent),
        "refused": _number(one.refused),
        "failed": _number(one.failed),
        "timed_out": _number(one.timed_out),
        **_took(one.took),
    }


def _took(durations: Durations) -> dict[str, str]:
    return {"p50": _span(durations.p50), "p95": _span(durations.p95)}


def _number(number: int) -> str:
    """Nothing is said where there is nothing."""
    return f"{number:,}" if number else ""


def _span(duration: float | None) -> str:
    """A duration with two digits; it is no closer than that.

    >>> [_span(duration) for duration in (None, 0.00123, 0.4567, 12.3, 754, 9_000)]
    ['', '1.2 ms', '460 ms', '12 s', '13 min', '2.5 h']
    """
    if duration is None:
        return ""
    for unit, size in (("h", 3_600.0), ("min", 60.0), ("s", 1.0), ("ms", 0.001)):
        if duration >= size or unit == "ms":
            rounded = float(f"{duration / size:.2g}")
            return f"{rounded:g} {unit}"
    return ""


# ── alerts ───────────────────────────────────────────────────────────────────────────────────────


def alerts(
    saga_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Of one saga only.", show_default=False)
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option("--kind", help="Only of this kind.", show_default=False)
    ] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Those that are over, too.")] = False,
    limit: Annotated[int, typer.Option(help="Rows at most.", min=1, max=MAX_ROWS)] = 50,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """What needs a human. Stuck sagas, owed undos, deadlines, sagas that stand still.

    And what participants tell: transactions in doubt, replication slots that lag.
    """
    from es_saga.cli import compose
    from es_saga.config import load
    from es_saga.engine.alerts import AlertKind

    found = compose.queries(load(data=data, database=database))
    if saga_id is not None:
        found.status(saga_id)  # that there is none is something else than no alerts
    page = found.alerts(
        open_only=not closed,
        kind=None if kind is None else AlertKind(kind.value),
        saga_id=saga_id,
        limit=limit,
    )
    if output is not Output.TABLE:
        show((asdict(row) for row in page.rows), output)
        return
    from es_saga.cli.table import Column

    columns = (
        "saga_id",
        "kind",
        Column("step", optional=True),
        Column("why", folds=True),
        "opened",
        Column("closed", optional=True),
    )
    show(_lines(page.rows), output, columns, styles=_style)
    if not page.rows:
        say("no alerts")
    elif page.next is not None:
        say(f"[dim]the latest {limit}; --limit shows more[/]")


def _lines(rows: tuple[AlertRow, ...]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        yield {
            "saga_id": row.saga_id or row.type,
            "kind": row.kind.value,
            "step": row.step,
            "why": short(row.why),
            "opened": moment(row.opened),
            "closed": moment(row.closed),
        }


def _style(column: str, value: Any) -> str:
    text = escape(text_of(value))
    return f"[bold red]{text}[/]" if column == "kind" else text

"""Commands that look at one saga: status, history, wait."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from es_saga.cli.composing import composed, flat_answers, show_answers, unserved
from es_saga.cli.console import (
    EXIT_FAILURE,
    EXIT_TIMED_OUT,
    DatabaseOption,
    DataOption,
    Output,
    OutputOption,
    QuietOption,
    clock,
    console_on,
    escape,
    moment,
    put,
    say,
    short,
    show,
    show_one,
    styled_status,
    text_of,
)
from es_saga.cli.histories import whole
from es_saga.cli.looks import look_of

if TYPE_CHECKING:
    from es_saga.config import Settings
    from es_saga.projections.ledger import Entry
    from es_saga.projections.queries import AuditRow, SagaRow, Standing

MOST_ALIKE: Final = 5
"""Items of a list that have a line each on a terminal, though they stand alike."""

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A saga's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog='Example: es-saga status order-1 --with \'stock.StockLevel={"sku": "teapot"}\''
    )(status)
    app.command(epilog="Example: es-saga history order-1 -o jsonl")(history)
    app.command(epilog="Example: es-saga wait order-1 --timeout 30")(wait)


# ── status ───────────────────────────────────────────────────────────────────────────────────────


def status(
    saga_id: IdArgument,
    asked: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="SERVICE.QUERY[=JSON]",
            help="Ask a participant as well; may be repeated.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds that participants have to answer.", min=0.1, max=30.0)
    ] = 2.0,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Where one saga stands, step by step."""
    from es_saga.cli import compose
    from es_saga.config import load

    settings = load(data=data, database=database)
    queries = compose.queries(settings)
    standing = queries.standing(saga_id)
    found = composed(settings, standing, asked, timeout) if asked else None
    row = standing.saga
    nobody = unserved(settings, set(standing.asked.values()))
    if output is not Output.TABLE:
        beside = {} if found is None else flat_answers(found)
        known = None if nobody is None else sorted(nobody)
        show_one({**flat(standing), "unserved": known, **beside}, output)
        return
    _show_head(row)
    _show_kin(standing)
    if row.status == "stuck":
        why = _stuck_at(list(whole(queries, saga_id)))
        put(f"[dim]stuck[/]    [bold red]{escape(why)}[/]", hang=9)
    _show_next(standing, nobody or ())
    if row.steps:
        _show_steps(standing)
    if found is not None:
        put("")
        show_answers(found)
    if row.status == "stuck":
        say(f"It needs a human: {_advice(row)}")


def flat(standing: Standing) -> dict[str, Any]:
    """A saga's row, and beside its columns what its definition says about it."""
    whole = asdict(standing)
    return {**whole.pop("saga"), **whole}


def _show_head(row: SagaRow) -> None:
    put(
        f"[bold]{row.saga_id}[/]  {escape(row.type)} v{row.definition}  {styled_status(row.status)}"
    )
    span = "" if row.closed is None else f", closed after {row.closed - row.created:.3f} s"
    put(f"[dim]started[/]  {moment(row.created)}{span}")
    put(f"[dim]input[/]    {escape(short(_json(row.payload)))}", hang=9)
    if row.reason:
        where = f" at {escape(row.reason_step)}" if row.reason_step else ""
        put(f"[dim]reason[/]   [yellow]{escape(short(row.reason))}[/]{where}", hang=9)
    for exception in row.exceptions:
        what = f"{exception['step']}: {short(exception['error'])}"
        put(f"[dim]owed[/]     [magenta]{escape(what)}[/]", hang=9)


def _show_kin(standing: Standing) -> None:
    if standing.parent is not None:
        put(f"[dim]run by[/]   {standing.parent}")
    for step, child in standing.children.items():
        put(f"[dim]runs[/]     {child} [dim]({escape(step)})[/]", hang=9)


def _stuck_at(rows: Sequence[AuditRow]) -> str:
    """Why it is stuck, and what the participant said to it, if it said anything."""
    stuck = next(row for row in reversed(rows) if row.kind == "SagaStuck")
    came = [row for row in rows if row.step == stuck.step and row.version < stuck.version]
    answer: Mapping[str, Any] = came[-1].payload if came else {}
    why = str(stuck.payload["why"])
    said = [part for part in (answer.get("error"), answer.get("detail")) if part]
    return " ".join(": ".join([why, *(part for part in said if part not in why)]).split())


def _advice(row: SagaRow) -> str:
    """What the human may do."""
    from es_saga.participant.holds import HoldExpired

    if row.reason == HoldExpired.__name__:
        verb = f"{row.saga_id} --step {row.reason_step} --reason …`"
        return (
            "what was held is released, so a retry would be refused again. Either do by hand what "
            f"{row.reason_step} is for, then `es-saga resolve {verb}; or waive it, "
            f"`es-saga skip {verb}, and make up for what the others have confirmed."
        )
    return (
        f"`es-saga history {row.saga_id}` tells how it came to this. Then retry, skip, "
        f"resolve or compensate: "
        f"`es-saga retry {row.saga_id} --reason … --dry-run` only tries it out."
    )


def _show_next(standing: Standing, nobody: Collection[str]) -> None:
    """Of an open saga: how old it is, what is still to be done, and when something happens."""
    row = standing.saga
    from es_saga.diagrams.timescale import lasting
    from es_saga.projections.lists import folded

    if standing.way is not None:
        put(f"[dim]way[/]      {escape(standing.way)}", hang=9)
    if row.closed is None:
        deadline = f", deadline {moment(row.deadline)}" if row.deadline else ""
        put(f"[dim]age[/]      {lasting(standing.age)}{deadline}")
        if standing.remaining:
            left = folded(standing.remaining, standing.lists)
            what = "to undo" if row.backward else "to do"
            put(f"[dim]{what:8}[/] {escape(', '.join(left))}", hang=9)
        for one in standing.waits_for:
            until = f", until {moment(one.until)}" if one.until is not None else ""
            put(f"[dim]waits[/]    for {escape(one.what)}{until}", hang=9)
        for step, service in standing.asked.items():
            away = ": [yellow]nobody serves it[/]" if service in nobody else ""
            put(f"[dim]waits[/]    for {service} ({escape(step)}){away}", hang=9)
        if row.status == "waiting" and not standing.waits_for and standing.parent is not None:
            put(
                f"[dim]waits[/]    for {standing.parent}: it is done, and held until that ends",
                hang=9,
            )
        if row.next_due is not None and not standing.waits_for:
            put(f"[dim]next due[/] {moment(row.next_due)}")
    put("")


def _show_steps(standing: Standing) -> None:
    from es_saga.cli.table import Column

    undos = {entry.step: entry for entry in standing.ledger or ()}
    steps: list[dict[str, Any]] = [
        {
            "step": name,
            "status": step["status"],
            "attempt": step["attempt"],
            "started": clock(step["started"]),
            "ended": clock(step.get("ended")),
            "undo": _stands(undos[name]) if name in undos else "",
            "result": short(_result(step)),
        }
        for name, step in standing.saga.steps.items()
    ]
    if console_on(sys.stdout).is_terminal:
        steps = list(_alike_as_one(steps))
    columns = (
        "step",
        "status",
        Column("undo"),
        Column("result", folds=True),
        "started",
        Column("ended", optional=True),
        Column("attempt", optional=True, right=True),
    )
    show(steps, Output.TABLE, columns)


def _alike_as_one(steps: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of a long list, the items that stand alike are one line, at the place of the first."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for step in steps:
        alike.setdefault(_stands_like(step), []).append(step)
    for step in steps:
        own = alike[_stands_like(step)]
        if len(own) <= MOST_ALIKE:
            yield step
        elif step is own[0]:
            name = step["step"].rpartition("-")[0]
            ended = max(one["ended"] for one in own)
            yield step | {"step": f"{name}, {len(own)} items", "result": "", "ended": ended}


def _stands_like(step: Mapping[str, Any]) -> tuple[str, ...]:
    name, _, item = step["step"].rpartition("-")
    return (name if item.isdigit() else step["step"], step["status"], step["undo"])


def _stands(entry: Entry) -> str:
    """What is owed for a step; nothing is said where nothing is."""
    if entry.undo == "not owed":
        return ""
    return f"{entry.undo} by {entry.by}" if entry.by else str(entry.undo)


def _undo(step: Mapping[str, Any]) -> Mapping[str, Any]:
    undo: Mapping[str, Any] | None = step.get("undo")
    return undo or {}


def _result(step: Mapping[str, Any]) -> str:
    """What a step answered, or why not; what its undo came to grief at comes first."""
    trouble = _undo(step).get("error")
    if trouble:
        return f"undo: {trouble}"
    return _json(step["reply"]) if "reply" in step else step.get("error", "")


# ── history ──────────────────────────────────────────────────────────────────────────────────────


def history(
    saga_id: IdArgument,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Everything that happened to one saga, in order."""
    from es_saga.cli import compose
    from es_saga.config import load

    rows = list(whole(compose.queries(load(data=data, database=database)), saga_id))
    if output is not Output.TABLE:
        show((asdict(row) for row in rows), output)
        return
    from es_saga.cli.table import Column

    shown = [
        {
            "#": row.version,
            "at": clock(row.at),
            "event": row.kind,
            "step": row.step,
            "what": short(told(row.kind, row.payload)),
            "cause": _cause(row),
        }
        for row in rows
    ]
    columns = (
        Column("#", right=True),
        "at",
        "event",
        "step",
        Column("what", folds=True),
        Column("cause", optional=True),
    )
    show(shown, output, columns, styles=_styled)


def _styled(column: str, value: Any) -> str:
    if column == "event":
        return look_of(value).of(escape(value))
    text = escape(text_of(value))
    return f"[dim]{text}[/]" if column in ("#", "at", "cause") else text


def told(topic: str, payload: Mapping[str, Any]) -> str:
    """An event on one line; one that this release cannot read, as it is."""
    from es_saga.adapters.codec import decode
    from es_saga.core.errors import CorruptHistory
    from es_saga.core.gist import gist

    written = _json(payload)
    try:
        return gist(decode(topic, written.encode()))
    except CorruptHistory:
        return written


def _cause(row: AuditRow) -> str:
    """Who or what led to an event, without the saga's own id that every message id begins with."""
    if row.actor:
        return row.actor
    if row.cause is None:
        return "timer"
    cause = row.cause.removeprefix(f"{row.saga_id}/")
    return "start" if cause.startswith("start") else cause


# ── wait ─────────────────────────────────────────────────────────────────────────────────────────


def wait(
    saga_id: IdArgument,
    timeout: Annotated[float, typer.Option(help="Seconds at most.", min=0)] = 60.0,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Wait until a saga is closed. Exit 0: it completed; 1: it ended otherwise; 7: not in time."""
    from es_saga.config import load

    show_end(load(data=data, database=database), saga_id, timeout, output)


def show_end(
    settings: Settings, saga_id: str, timeout: float, output: Output, *, name_it: bool = False
) -> None:
    """Wait for a saga's end, say how it ended, and exit as `wait` does."""
    import asyncio

    from es_saga.cli import compose

    row = asyncio.run(compose.queries(settings).wait(saga_id, timeout))
    if output is not Output.TABLE:
        show_one(asdict(row), output)
    elif name_it:
        sys.stdout.write(f"{saga_id}\n")
        sys.stdout.flush()
    reason = f" because of {escape(short(row.reason))}" if row.reason else ""
    if row.status == "stuck":
        say(f"{styled_status(row.status)}{reason}; see `es-saga status {saga_id}`")
        raise typer.Exit(EXIT_FAILURE)
    if row.closed is None:
        say(f"still {styled_status(row.status)} after {timeout:g} s{reason}")
        raise typer.Exit(EXIT_TIMED_OUT)
    say(f"{styled_status(row.status)}{reason}")
    if row.status != "completed":
        raise typer.Exit(EXIT_FAILURE)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)

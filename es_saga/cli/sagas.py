"""Commands about single sagas: start, list, status, history, wait, and the operator's verbs."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_saga.cli.console import (
    EXIT_FAILURE,
    EXIT_TIMED_OUT,
    AppOption,
    DatabaseOption,
    DataOption,
    NatsOption,
    Output,
    OutputOption,
    QuietOption,
    TenantOption,
    clock,
    escape,
    moment,
    say,
    show,
    show_one,
    styled_status,
    text_of,
)

if TYPE_CHECKING:
    from es_saga.projections.queries import SagaRow

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A saga's id.")]
StepOption = Annotated[str | None, typer.Option("--step", help="Which step.", show_default=False)]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; goes into the audit trail.")]
ActorOption = Annotated[
    str | None, typer.Option("--actor", help="Who; default: your user name.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    example = '\'{"order_id": "1", "customer": "ada", "sku": "lamp", "pence": 1999}\''
    app.command(epilog=f"Example: es-saga start order --input {example} --wait")(start)
    app.command("list", epilog="Example: es-saga list --status stuck --since 1h")(list_sagas)
    app.command(epilog="Example: es-saga status order-1")(status)
    app.command(epilog="Example: es-saga history order-1 -o jsonl")(history)
    app.command(epilog="Example: es-saga wait order-1 --timeout 30")(wait)
    app.command(epilog="Example: es-saga cancel order-1 --reason 'customer changed his mind'")(
        cancel
    )
    app.command(epilog="Example: es-saga retry order-1 --reason 'carrier is back'")(retry)
    app.command(epilog="Example: es-saga skip order-1 --step ship --reason 'collected by hand'")(
        skip
    )
    app.command(
        epilog="Example: es-saga resolve order-1 --step charge --outcome refused --reason 'asked bank'"
    )(resolve)


# ── starting ─────────────────────────────────────────────────────────────────────────────────────


def start(
    saga_type: Annotated[str, typer.Argument(metavar="TYPE", help="The saga's type.")],
    input: Annotated[
        str, typer.Option("--input", "-i", help="JSON, @file, or - for standard input.")
    ],
    key: Annotated[
        str | None, typer.Option(help="Business key: one key is one saga.", show_default=False)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is closed.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 30.0,
    app: AppOption = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Start a saga; its id goes to stdout. With --wait, exit 0 only if it completes."""
    from es_saga.config import load

    settings = load(data=data, database=database, nats=nats, tenant=tenant, app=app)
    body = _read_input(input)
    answer = asyncio.run(_start(settings, saga_type, body, key, timeout))
    saga_id = answer["saga_id"]
    if not wait:
        if output is Output.TABLE:
            sys.stdout.write(f"{saga_id}\n")
        else:
            show_one(answer, output)
        return
    _show_end(settings, saga_id, timeout, output, quiet, name_it=True)


async def _start(
    settings: Any, saga_type: str, body: Any, key: str | None, timeout: float
) -> dict[str, Any]:
    from es_saga.cli import compose
    from es_saga.engine.client import Client

    where = _where(settings)
    async with compose.transport(settings, where["nats"], "es-saga-cli") as pipe:
        client = Client(pipe, where["app"], tenant=settings.tenant)
        return (await client.start(saga_type, body, key=key, timeout=timeout)).result()


def _where(settings: Any) -> dict[str, Any]:
    """The broker and the app to talk to: as set, else what runs in the data folder."""
    from es_saga.cli import compose

    if settings.nats and settings.app:
        return {"nats": settings.nats, "app": settings.app}
    found = compose.running(settings)
    return {"nats": settings.nats or found["nats"], "app": found["app"]}


def _read_input(text: str) -> Any:
    from es_saga.core.errors import InvalidInput

    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text()
    except OSError as error:
        raise InvalidInput(f"The input cannot be read: {error}") from error
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"The input is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInput("The input must be a JSON object.")
    return found


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def list_sagas(
    status: Annotated[
        str | None, typer.Option("--status", help="Only these.", show_default=False)
    ] = None,
    type: Annotated[
        str | None, typer.Option("--type", help="Only of this type.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only with this business key.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Changed within: 30s, 15m, 1h, 7d.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help="Rows at most.", min=1, max=1000)] = 50,
    watch: Annotated[bool, typer.Option("--watch", help="Again every second.")] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sagas, the most recently changed first."""
    from es_saga.cli import compose
    from es_saga.config import load

    found = compose.queries(load(data=data, database=database))
    seconds = _seconds(since)

    def once() -> None:
        rows = found.sagas(
            status=status,
            saga_type=type,
            business_id=key,
            since=None if seconds is None else time.time() - seconds,
            limit=limit,
        )
        if output is not Output.TABLE:
            show((asdict(row) for row in rows), output)
            return
        columns = ("saga_id", "type", "status", "current", "reason", "version", "updated")
        show(map(_line, rows), output, columns, styles=_style)

    once()
    while watch:
        time.sleep(1.0)
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[H\x1b[2J")
        once()


def _line(row: SagaRow) -> dict[str, Any]:
    reason = f"{row.reason_step}: {row.reason}" if row.reason_step else row.reason
    return {
        "saga_id": row.saga_id,
        "type": row.type,
        "status": row.status,
        "current": ", ".join(row.current),
        "reason": reason,
        "version": row.version,
        "updated": moment(row.updated),
    }


def _style(column: str, value: Any) -> str:
    return styled_status(value) if column == "status" else escape(text_of(value))


def status(
    saga_id: IdArgument,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Where one saga stands, step by step."""
    from es_saga.cli import compose
    from es_saga.config import load

    row = compose.queries(load(data=data, database=database)).status(saga_id)
    _show_status(row, output)


def _show_status(row: SagaRow, output: Output) -> None:
    if output is not Output.TABLE:
        show_one(asdict(row), output)
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"[bold]{row.saga_id}[/]  {row.type} v{row.definition}  {styled_status(row.status)}"
    )
    if row.reason:
        where = f" at {row.reason_step}" if row.reason_step else ""
        console.print(f"  because of [yellow]{escape(row.reason)}[/]{where}")
    console.print(f"  {escape(json.dumps(row.payload))}", style="dim")
    steps = [
        {
            "step": name,
            "status": step["status"],
            "attempt": step["attempt"],
            "started": clock(step["started"]),
            "ended": clock(step.get("ended")),
            "undo": (step.get("undo") or {}).get("status", ""),
            "result": json.dumps(step["reply"]) if "reply" in step else step.get("error", ""),
        }
        for name, step in row.steps.items()
    ]
    show(steps, output, ("step", "status", "attempt", "started", "ended", "undo", "result"))
    for exception in row.exceptions:
        console.print(
            f"  [magenta]not undone:[/] {exception['step']}: {escape(exception['error'])}"
        )


def history(
    saga_id: IdArgument,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Everything that happened to one saga, in order."""
    from es_saga.cli import compose
    from es_saga.config import load

    rows = compose.queries(load(data=data, database=database)).history(saga_id)
    if output is not Output.TABLE:
        show((asdict(row) for row in rows), output)
        return
    shown = [
        {
            "#": row.version,
            "at": clock(row.at),
            "event": row.kind,
            "step": row.step,
            "what": _gist(row.payload),
            "cause": row.actor or row.cause or "timer",
        }
        for row in rows
    ]
    show(shown, output, ("#", "at", "event", "step", "what", "cause"))


def _gist(payload: dict[str, Any]) -> str:
    """The telling fields of an event on one line."""
    telling = (
        "command_type",
        "refusal_type",
        "error",
        "why",
        "reply",
        "refusal",
        "reason",
        "effect",
    )
    parts = [
        value if isinstance(value, str) else json.dumps(value)
        for name in telling
        if (value := payload.get(name))
    ]
    if payload.get("attempt", 1) > 1:
        parts.append(f"attempt {payload['attempt']}")
    return " ".join(parts)[:120]


def wait(
    saga_id: IdArgument,
    timeout: Annotated[float, typer.Option(help="Seconds at most.", min=0)] = 60.0,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Wait until a saga is closed. Exit 0: completed; 1: it ended otherwise; 7: not in time."""
    from es_saga.config import load

    _show_end(load(data=data, database=database), saga_id, timeout, output, quiet)


def _show_end(
    settings: Any,
    saga_id: str,
    timeout: float,
    output: Output,
    quiet: bool,
    *,
    name_it: bool = False,
) -> None:
    from es_saga.cli import compose

    row = asyncio.run(compose.queries(settings).wait(saga_id, timeout))
    if output is not Output.TABLE:
        show_one(asdict(row), output)
    else:
        if name_it:
            sys.stdout.write(f"{saga_id}\n")
        reason = f" because of {escape(row.reason)}" if row.reason else ""
        say(f"{styled_status(row.status)}{reason}", quiet=quiet)
    if row.closed is None:
        if row.status == "stuck":
            say(f"It needs a human: `es-saga history {saga_id}`.", quiet=quiet)
            raise typer.Exit(EXIT_FAILURE)
        raise typer.Exit(EXIT_TIMED_OUT)
    if row.status != "completed":
        raise typer.Exit(EXIT_FAILURE)


def _seconds(text: str | None) -> float | None:
    from es_saga.core.errors import InvalidInput

    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None:
        raise InvalidInput(f"{text!r} is no span of time.", hint="Write 30s, 15m, 1h or 7d.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[match[2]]


# ── operating ────────────────────────────────────────────────────────────────────────────────────


def cancel(
    saga_id: IdArgument,
    reason: ReasonOption,
    actor: ActorOption = None,
    app: AppOption = None,
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Undo a saga that has not passed its pivot."""
    settings = _settings(app, data, nats, tenant, actor)
    _operate(settings, saga_id, output, verb="cancel", reason=reason)


def retry(
    saga_id: IdArgument,
    reason: ReasonOption,
    step: StepOption = None,
    actor: ActorOption = None,
    app: AppOption = None,
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Try again what a stuck saga is stuck at."""
    settings = _settings(app, data, nats, tenant, actor)
    _operate(settings, saga_id, output, verb="retry", reason=reason, step=step)


def skip(
    saga_id: IdArgument,
    reason: ReasonOption,
    step: StepOption = None,
    actor: ActorOption = None,
    app: AppOption = None,
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Waive a step after the pivot, or an undo that keeps failing."""
    settings = _settings(app, data, nats, tenant, actor)
    _operate(settings, saga_id, output, verb="skip", reason=reason, step=step)


def resolve(
    saga_id: IdArgument,
    reason: ReasonOption,
    step: StepOption = None,
    outcome: Annotated[str, typer.Option(help="succeeded or refused")] = "succeeded",
    undo: Annotated[bool, typer.Option("--undo", help="The step's compensation is meant.")] = False,
    reply: Annotated[
        str | None, typer.Option(help="JSON or @file: what it answered.", show_default=False)
    ] = None,
    actor: ActorOption = None,
    app: AppOption = None,
    data: DataOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what became of work that a saga is stuck at."""
    settings = _settings(app, data, nats, tenant, actor)
    _operate(
        settings,
        saga_id,
        output,
        verb="resolve",
        reason=reason,
        step=step,
        outcome=outcome,
        direction="undo" if undo else "do",
        reply=_read_input(reply) if reply else None,
    )


def _settings(
    app: str | None, data: Path | None, nats: str | None, tenant: str | None, actor: str | None
) -> Any:
    from es_saga.config import load

    return load(app=app, data=data, nats=nats, tenant=tenant, actor=actor)


def _operate(settings: Any, saga_id: str, output: Output, **request: Any) -> None:
    from pydantic import ValidationError

    from es_saga.cli import compose
    from es_saga.core.errors import InvalidInput
    from es_saga.engine.client import Client
    from es_saga.engine.requests import VerbRequest

    try:
        verb = VerbRequest(actor=settings.actor, **request)
    except ValidationError as error:
        raise InvalidInput(f"That cannot be asked: {error}") from error

    async def ask() -> dict[str, Any]:
        where = _where(settings)
        async with compose.transport(settings, where["nats"], "es-saga-cli") as pipe:
            client = Client(pipe, where["app"], tenant=settings.tenant)
            return (await client.operate(saga_id, verb)).result()

    summary = asyncio.run(ask())
    if output is Output.TABLE:
        say(f"{summary['saga_id']} is {styled_status(summary['status'])}")
    else:
        show_one(summary, output)

"""The operator's verbs, on one saga or on many. Each goes to the saga's owner by message.

What all verbs have in common is said once, in `_operate`; a verb says what is its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_saga.cli.console import (
    AppOption,
    DatabaseOption,
    DataOption,
    NatsOption,
    Output,
    OutputOption,
    QuietOption,
    TenantOption,
)
from es_saga.cli.listing import SinceOption, StatusOption

if TYPE_CHECKING:
    from es_saga.engine.requests import VerbRequest


class Result(StrEnum):
    """What work can be said to have ended in."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"


ReasonOption = Annotated[str, typer.Option("--reason", help="Why; goes into the audit trail.")]
ActorOption = Annotated[
    str | None, typer.Option("--actor", help="Who; default: your user name.", show_default=False)
]

Asked = dict[str, Any]
"""The fields of a request that are a verb's own."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for verb, example in (
        (cancel, "cancel order-1 --reason 'the customer changed her mind'"),
        (compensate, "compensate order-1 --reason 'it will never be mended' --dry-run"),
        (retry, "retry --query --status stuck --step ship --reason 'the carrier is back'"),
        (resume, "resume order-1 order-2 --reason 'the bank is up again'"),
        (resend, "resend order-1 --step ship --reason 'they lost it'"),
        (skip, "skip order-1 --step ship --reason 'collected by hand'"),
        (resolve, "resolve order-1 --step charge --outcome refused --reason 'asked the bank'"),
    ):
        app.command(epilog=f"Example: es-saga {example}")(_command(verb))


# ── what each verb asks for ──────────────────────────────────────────────────────────────────────


def cancel() -> Asked:
    """Undo a saga. If it has passed its pivot, only note that somebody asked."""
    return {"verb": "cancel"}


def compensate() -> Asked:
    """Turn a saga back, stuck or not, and undo it. Refused from the pivot on."""
    return {"verb": "compensate"}


def retry(step: str | None) -> Asked:
    """Try again what a saga is stuck at. Everything, or the one --step."""
    return {"verb": "retry", "step": step}


def resume(step: str | None) -> Asked:
    """Do now what waits for its next attempt. A function that raised is called again."""
    return {"verb": "resume", "step": step}


def resend(step: str | None) -> Asked:
    """Send again what is not answered yet, as another attempt."""
    return {"verb": "resend", "step": step}


def skip(step: str | None) -> Asked:
    """Waive a step after the pivot, or a failing undo. Needs --step."""
    return {"verb": "skip", "step": step}


def resolve(
    step: str | None,
    outcome: Annotated[Result, typer.Option(help="What became of it.")] = Result.SUCCEEDED,
    undo: Annotated[bool, typer.Option("--undo", help="The step's compensation is meant.")] = False,
    reply: Annotated[
        str | None, typer.Option(help="What it answered: JSON or @file.", show_default=False)
    ] = None,
) -> Asked:
    """Say what became of work that a saga is stuck at. Needs --step."""
    from es_saga.cli.starting import read_object

    return {
        "verb": "resolve",
        "step": step,
        "outcome": outcome.value,
        "direction": "undo" if undo else "do",
        "reply": read_object(reply) if reply else None,
    }


# ── what all have in common ──────────────────────────────────────────────────────────────────────


def _operate(
    ask: Callable[..., Asked],
    saga_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Ids of sagas.", show_default=False),
    ] = None,
    *,
    reason: ReasonOption,
    step: Annotated[
        str | None,
        typer.Option(
            "--step", help="Which step; with --query the sagas that are at it.", show_default=False
        ),
    ] = None,
    query: Annotated[
        bool, typer.Option("--query", help="Every saga that these fit, instead of ids:")
    ] = False,
    status: StatusOption = None,
    type: Annotated[
        str | None, typer.Option("--type", help="Its type.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Its business key.", show_default=False)
    ] = None,
    reason_like: Annotated[
        str | None,
        typer.Option("--reason-like", help="Part of why it failed.", show_default=False),
    ] = None,
    since: SinceOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be appended and sent.")
    ] = False,
    expect_version: Annotated[
        int | None,
        typer.Option(
            "--expect-version", help="Only if it is still at this one.", min=1, show_default=False
        ),
    ] = None,
    operation: Annotated[
        str | None,
        typer.Option(
            "--operation", help="Asked again under this name, it acts once.", show_default=False
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether I mean it.")] = False,
    actor: ActorOption = None,
    app: AppOption = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    nats: NatsOption = None,
    tenant: TenantOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
    **own: Any,
) -> None:
    from es_saga.cli import bulk
    from es_saga.config import load
    from es_saga.core.errors import InvalidInput

    settings = load(app=app, data=data, database=database, nats=nats, tenant=tenant, actor=actor)
    wanted = bulk.Wanted(
        status=tuple(one.value for one in status or ()),
        type=type,
        business_id=key,
        step=step if query else None,
        reason=reason_like,
        since=since,
    )
    takes_step = "step" in inspect.signature(ask).parameters
    asked = ask(**own, **({"step": step} if takes_step else {}))
    request = _request(
        **asked,
        actor=settings.actor,
        reason=reason,
        dry_run=dry_run,
        expected_version=expect_version,
        operation=operation,
    )
    if bool(saga_ids) is query:
        raise InvalidInput("Name sagas by their ids, or choose them by --query: one of the two.")
    if step is not None and not (query or takes_step):
        raise InvalidInput(f"{request.verb} concerns the whole saga, not a step.")
    if not query and any(wanted):
        raise InvalidInput("Filters choose sagas with --query only.")
    one = None if query or not saga_ids or len(saga_ids) > 1 else saga_ids[0]
    if one is not None:
        bulk.operate_one(settings, one, request, output)
        return
    if expect_version is not None:
        raise InvalidInput("One version cannot be that of several sagas: leave --expect-version.")
    chosen = bulk.chosen(settings, saga_ids or (), wanted if query else None)
    bulk.operate_all(settings, chosen, request, output, yes=yes)


def _request(**fields: Any) -> VerbRequest:
    from pydantic import ValidationError

    from es_saga.core.errors import InvalidInput
    from es_saga.engine.requests import VerbRequest, verb_input

    try:
        request = VerbRequest.model_validate(fields)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise InvalidInput(f"That cannot be asked: {faults}.") from error
    verb_input(request, "a saga", "a message")  # what is lacking is said here, not by each owner
    return request


def _command(ask: Callable[..., Asked]) -> Callable[..., None]:
    """A verb as a command: its own options, then those that all have in common."""
    common = inspect.signature(_operate, eval_str=True).parameters.values()
    own = inspect.signature(ask, eval_str=True).parameters.values()
    ids, *shared = [one for one in common if one.name not in ("ask", "own")]
    parameters = [ids, *(one for one in own if one.name != "step"), *shared]
    command: Any = partial(_operate, ask)

    def call(**given: Any) -> None:
        command(**given)

    told: Any = call
    told.__name__, told.__doc__ = ask.__name__, ask.__doc__
    told.__signature__ = inspect.Signature(
        [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    )
    told.__annotations__ = {one.name: one.annotation for one in parameters}
    return call

"""A verb on its way: to one saga, or to many that were named or found; and what became of each."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import typer

from es_saga.cli import compose
from es_saga.cli.console import (
    EXIT_FAILURE,
    EXIT_ILLEGAL,
    EXIT_UNREACHABLE,
    Output,
    complain,
    escape,
    say,
    seconds,
    show,
    show_one,
    styled_status,
    text_of,
)
from es_saga.cli.histories import whole
from es_saga.cli.reading import told
from es_saga.cli.running import located
from es_saga.cli.table import Column
from es_saga.core.errors import InvalidInput
from es_saga.core.messages import check_id
from es_saga.engine.client import MAX_BULK
from es_saga.engine.requests import Answer, Operated, VerbRequest, new_id
from es_saga.projections.listing import MAX_PAGE, OPEN, SagaFilter

if TYPE_CHECKING:
    from es_saga.config import Settings

MAX_PAGES: Final = 100
"""Pages of the list that are looked through for the sagas of one query."""

SHOWN: Final = 10
"""Sagas that a question names before it only counts them."""


class Wanted(NamedTuple):
    """Which sagas a query is for: all that is given must hold."""

    status: tuple[str, ...]
    """Any of these; none: any open one."""
    type: str | None
    business_id: str | None
    step: str | None
    reason: str | None
    since: str | None


class Chosen(NamedTuple):
    """The sagas of a bulk request."""

    saga_ids: Sequence[str]
    versions: Mapping[str, int]
    """Those that were found: as they were looked at. What has moved on since is left alone."""


def chosen(settings: Settings, saga_ids: Sequence[str], wanted: Wanted | None) -> Chosen:
    """These sagas; or every one that is wanted.

    Raises:
        InvalidInput: nothing says which ones, or there are too many.
        Unavailable: the log is out of reach.
    """
    if wanted is None:
        return Chosen(saga_ids, {})
    if not any(wanted):
        raise InvalidInput("That would be every saga there is: say which ones, with --query.")
    span = seconds(wanted.since)
    asked = SagaFilter(
        status=wanted.status or OPEN,
        type=wanted.type,
        business_id=wanted.business_id,
        step=wanted.step,
        reason=wanted.reason,
        since=None if span is None else time.time() - span,
    )
    versions: dict[str, int] = {}
    queries, after = compose.queries(settings), None
    for _ in range(MAX_PAGES):
        page = queries.page(asked, after=after, limit=MAX_PAGE)
        versions |= {row.saga_id: row.version for row in page.rows}
        after = page.next
        if len(versions) > MAX_BULK:
            raise InvalidInput(
                f"More than {MAX_BULK} sagas fit.", hint="Choose fewer, and repeat it."
            )
        if after is None:
            return Chosen([*versions], versions)
    raise InvalidInput("There are too many sagas to look through.", hint="Use --type or --since.")


# ── asking ───────────────────────────────────────────────────────────────────────────────────────


def operate_one(settings: Settings, saga_id: str, request: VerbRequest, output: Output) -> None:
    """Have a verb carried out, and say what became of it.

    Raises:
        SagaError: as the verb and the saga's owner say.
    """
    check_id(saga_id)
    here = located(settings)

    async def ask() -> Answer:
        async with compose.asking(here) as client:
            return await client.operate(saga_id, request)

    answer = asyncio.run(ask())
    summary = answer.result()
    now = f"{escape(summary['saga_id'])} is {styled_status(summary['status'])}"
    if output is not Output.TABLE:
        shown = {"events": answer.events, "commands": answer.commands} if request.dry_run else {}
        show_one({**summary, **shown}, output)
    elif request.dry_run:
        _show_preview(answer)
        say(f"{now}, at version {summary['version']}; nothing was done")
    else:
        say(now)
    if request.verb == "cancel" and not request.dry_run:
        refused = _refusal(settings, saga_id)
        if refused is not None:
            complain(f"It was not cancelled: {refused}.", "That somebody wished it is recorded.")
            raise typer.Exit(EXIT_ILLEGAL)


def _refusal(settings: Settings, saga_id: str) -> str | None:
    """Why the last wish to cancel a saga was refused, if it was: that is recorded all the same."""
    wishes = [
        event.payload
        for event in whole(compose.queries(settings), saga_id)
        if event.kind == "OperatorCancelled"
    ]
    return wishes[-1].get("refused") if wishes else None


def operate_all(
    settings: Settings, found: Chosen, request: VerbRequest, output: Output, *, yes: bool
) -> None:
    """Have a verb carried out on each, and tell what became of each.

    Raises:
        InvalidInput: nobody can be asked whether it is meant.
        Exit: some were refused, or it is not meant after all.
    """
    if not found.saga_ids:
        say("no sagas")
        return
    if found.versions and not (yes or request.dry_run):
        _confirm(request, found.saga_ids)
    here = located(settings)
    named = request.model_copy(update={"operation": request.operation or new_id()})

    async def ask() -> list[Operated]:
        async with compose.asking(here) as client:
            return await client.operate_all(found.saga_ids, named, versions=found.versions)

    results = asyncio.run(ask())
    _show_results(results, output, dry_run=request.dry_run)
    failed = [one for one in results if not one.ok]
    done = "would be done" if request.dry_run else "done"
    say(f"{len(results) - len(failed)} of {len(results)} {done}; operation {named.operation}")
    if failed:
        away = all(one.code == "unavailable" for one in failed)
        raise typer.Exit(EXIT_UNREACHABLE if away else EXIT_ILLEGAL)


def _confirm(request: VerbRequest, saga_ids: Sequence[str]) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput(
            f"{request.verb} on {len(saga_ids)} sagas: nobody is there to ask.",
            hint="Look at them with --dry-run, then say --yes.",
        )
    names = ", ".join(saga_ids[:SHOWN])
    more = f" and {len(saga_ids) - SHOWN} more" if len(saga_ids) > SHOWN else ""
    sys.stderr.write(f"{names}{more}\n")
    if not typer.confirm(f"{request.verb} {_sagas(len(saga_ids))}?", err=True):
        say("nothing was done")
        raise typer.Exit(EXIT_FAILURE)


def _sagas(number: int) -> str:
    return "1 saga" if number == 1 else f"{number} sagas"


# ── showing ──────────────────────────────────────────────────────────────────────────────────────


def _show_preview(answer: Answer) -> None:
    """What a dry run found out, as two tables."""
    events = [
        {
            "event": event["topic"],
            "step": event.get("step"),
            "what": told(event["topic"], {k: v for k, v in event.items() if k != "topic"}),
        }
        for event in answer.events or ()
    ]
    commands = [
        {"command": one["type"], "step": one["step"], "message": one["id"]}
        for one in answer.commands or ()
    ]
    show(events, Output.TABLE, ("event", "step", Column("what", folds=True)))
    if events and commands:
        sys.stdout.write("\n")
    show(commands, Output.TABLE)


def _show_results(results: Sequence[Operated], output: Output, *, dry_run: bool) -> None:
    if output is not Output.TABLE:
        show(({"ok": one.ok, **one.model_dump(exclude_none=True)} for one in results), output)
        return
    columns: tuple[str | Column, ...] = ("saga_id", "result", "status", Column("what", folds=True))
    show(_lines(results, dry_run=dry_run), output, columns, styles=_style)


def _lines(results: Sequence[Operated], *, dry_run: bool) -> Iterator[dict[str, Any]]:
    for one in results:
        status = (one.saga or {}).get("status")
        what = f"{one.message} {one.hint}".strip()
        if dry_run and one.ok:
            what = ", ".join(event["topic"] for event in one.events or ())
        yield {
            "saga_id": one.saga_id,
            "result": "ok" if one.ok else one.code,
            "status": status,
            "what": what,
        }


def _style(column: str, value: Any) -> str:
    if column == "status" and value:
        return styled_status(value)
    text = escape(text_of(value))
    if column != "result":
        return text
    return f"[green]{text}[/]" if value == "ok" else f"[red]{text}[/]"

"""The command for time travel: a saga event by event, decided again, forked, written as a test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_saga.cli.console import (
    EXIT_FINDING,
    DatabaseOption,
    DataOption,
    Output,
    OutputOption,
    QuietOption,
    complain,
    escape,
    put,
    say,
    show,
    show_one,
    styled_status,
)
from es_saga.cli.histories import CodeOption, Found, SagaArgument, Where, code_of, find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from es_saga.core.compiled import Definition
    from es_saga.replay import Fork, Moment, Replay
    from es_saga.replay.answers import Refusals


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: es-saga replay order-1 --what-if charge=CardDeclined")(replay)


def replay(
    which: SagaArgument,
    to: Annotated[
        int | None,
        typer.Option(
            "--to", help="The saga as it was after this event.", min=1, show_default=False
        ),
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="What each event changed.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Decide again with today's code; exit 6 if it differs.")
    ] = False,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            metavar="STEP=ANSWER",
            help="Another ending: a refusal's name, a reply as JSON, done, fail or timeout.",
            show_default=False,
        ),
    ] = None,
    emit_test: Annotated[
        Path | None,
        typer.Option("--emit-test", help="Write it as a pytest scene.", show_default=False),
    ] = None,
    app: CodeOption = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Travel through a saga's history. Nothing is ever sent.

    On a terminal, without options: with the arrow keys. Options show it as it was, what changed,
    what today's code decides, and another ending. With --app a history is judged by the laws of
    sagas, too. Exit 6: it is not what it should be.
    """
    found = find(which, Where(data, database))
    if check:
        _check(found, app, output)
    elif what_if or emit_test is not None:
        _fork(found, what_if or [], emit_test, app, output)
    elif to is not None and not diff:
        _show_moment(found.replay.at(to), output)
    elif output is Output.TABLE and not (diff or app or quiet) and _on_a_terminal():
        from es_saga.cli.stepping import step_through

        step_through(found.replay)
    else:
        _show(found, to, diff=diff, app=app, output=output)


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and sys.platform != "win32"


# ── the history as it is ─────────────────────────────────────────────────────────────────────────


def _show(found: Found, to: int | None, *, diff: bool, app: str | None, output: Output) -> None:
    """All of it, event by event, and what is wrong with it."""
    replay = found.replay if to is None else found.replay.until(to)
    wrong, marks = _wrong(found, app) if to is None else ([], [])
    if output is not Output.TABLE:
        show((_row(moment, diff=diff) for moment in replay.moments), output)
    elif diff:
        _show_diffs(replay)
    else:
        from es_saga.testing.timeline import timeline

        sys.stdout.write(timeline(replay.events, mark=marks[0] if marks else None) + "\n")
    if found.kept is not None and found.kept.found:
        say(f"[dim]found[/] {escape(found.kept.found)}")
    for one in wrong:
        complain(one)
    if wrong:
        raise typer.Exit(EXIT_FINDING)


def _wrong(found: Found, app: str | None) -> tuple[list[str], list[int]]:
    """What is not as it should be, and at which events."""
    wrong: list[str] = []
    if found.kept is not None:
        from es_saga.testing.history import differences

        changed = differences(found.kept.state, found.replay.state)
        wrong += [f"today it leads elsewhere: {difference}" for difference in changed]
    if app is None:
        return wrong, []
    from es_saga.testing.laws import judge
    from es_saga.testing.story import Story

    definition, _, _ = code_of(found, app)
    effects = found.kept.effects if found.kept is not None else None
    judgement = judge(Story(definition, found.replay.saga_id, found.real().events, effects))
    if not judgement.violations and not wrong:
        laws = len(judgement.applied)
        say(f"[green]ok[/] {escape(found.replay.saga_id)}: {laws} laws, none is broken")
    marks = [one.event for one in judgement.violations if one.event is not None]
    return [*wrong, *map(str, judgement.violations)], marks


def _row(moment: Moment, *, diff: bool) -> dict[str, Any]:
    """One event as data."""
    fields = moment.event.model_dump(mode="json")
    row = {"version": moment.version, "event": type(moment.event).__name__, **fields}
    return row | _around(moment) if diff else row


def _around(moment: Moment) -> dict[str, Any]:
    """What an event came of and led to."""
    reaction = moment.reaction
    return {
        "decided_on": {
            "number": reaction.number,
            "kind": reaction.kind.value,
            "what": reaction.what,
            "first": reaction.first,
            "last": reaction.last,
        },
        "changes": [change._asdict() for change in moment.changes],
        "commands": [
            {
                "subject": subject,
                "id": envelope.id,
                "type": envelope.type,
                "attempt": envelope.attempt,
                "data": envelope.data,
            }
            for subject, envelope, _ in moment.commands
        ],
    }


def _show_diffs(replay: Replay) -> None:
    from es_saga.cli.moments import head_of, lines_of

    number = 0
    for moment in replay.moments:
        if moment.reaction.number != number:
            number = moment.reaction.number
            put(f"[bold]{escape(moment.reaction.what)}[/]")
        put(f"  {head_of(moment, replay)}", hang=7)
        for line in lines_of(moment):
            put(f"       {line}", hang=9)


def _show_moment(moment: Moment, output: Output) -> None:
    from es_saga.testing.history import plain

    if output is not Output.TABLE:
        show_one(_row(moment, diff=True) | {"state": plain(moment.after)}, output)
        return
    from es_saga.cli.moments import head_of, lines_of, standing_of

    put(head_of(moment))
    put(f"[dim]decided on[/]  {escape(moment.reaction.what)}", hang=12)
    for line in lines_of(moment):
        put(line, hang=2)
    put("")
    for line in standing_of(moment.after):
        put(line, hang=4)


# ── what the code makes of it ────────────────────────────────────────────────────────────────────


def _check(found: Found, app: str | None, output: Output) -> None:
    from es_saga.core.sensitive import SensitiveFields
    from es_saga.replay import decide_again

    definition, _, _ = code_of(found, app)
    again = decide_again(definition, found.real())
    divergence = again.divergence and again.divergence.hiding(SensitiveFields(definition.sensitive))
    if output is not Output.TABLE:
        show_one(
            {
                "saga_id": found.replay.saga_id,
                "same": divergence is None,
                "decided": again.version,
                "of": len(found.replay),
                "assumed": list(again.assumed),
                "divergence": None
                if divergence is None
                else {
                    "version": divergence.version,
                    "decided_on": divergence.what,
                    "recorded": _event(divergence.recorded),
                    "today": _event(divergence.today),
                    "changes": [change._asdict() for change in divergence.changes],
                    "why": divergence.why,
                },
            },
            output,
        )
    for assumption in again.assumed:
        say(f"[dim]assumed[/] {escape(assumption)}")
    if divergence is not None:
        complain(str(divergence))
        raise typer.Exit(EXIT_FINDING)
    count = len(found.replay)
    say(f"[green]ok[/] {escape(found.replay.saga_id)}: {count} events, decided again as they were")


def _event(event: Any) -> dict[str, Any] | None:
    if event is None:
        return None
    return {"event": type(event).__name__, **event.model_dump(mode="json")}


def _fork(
    found: Found, told: Sequence[str], file: Path | None, app: str | None, output: Output
) -> None:
    from es_saga.replay import refusals_of, what_if

    definition, whole, reference = code_of(found, app)
    refusals = refusals_of(definition, whole.participants.values())
    if not told:
        assert file is not None, "one of them was asked for"
        _write(
            file, _scene(definition, found.replay, reference, refusals, hidden=found.kept is None)
        )
        return
    fork = what_if(definition, found.real(), _answers(told), refusals=refusals)
    _show_fork(found, fork, definition, output)
    if file is not None:
        forked = _hidden(definition, fork.replay)
        _write(file, _scene(definition, forked, reference, refusals, hidden=True))


def _scene(
    definition: Definition, replay: Replay, reference: str, refusals: Refusals, *, hidden: bool
) -> str:
    """The test; it is kept for ever, so no sensitive value is to be in it.

    Raises:
        InvalidInput: no scene leads there, or none without these values.
    """
    from es_saga.core.errors import InvalidInput
    from es_saga.replay import scene

    try:
        return scene(definition, replay, reference, refusals=refusals)
    except InvalidInput as error:
        if not (hidden and definition.sensitive):
            raise
        raise InvalidInput(
            error.message,
            hint="Its sensitive values are hidden, and may be what is missing.",
        ) from error


def _answers(told: Sequence[str]) -> Mapping[str, str]:
    """By step.

    Raises:
        InvalidInput: no step and answer, or two answers to one step.
    """
    from es_saga.core.errors import InvalidInput

    answers: dict[str, str] = {}
    for one in told:
        step, separator, answer = one.partition("=")
        if not separator or not step.strip() or not answer.strip():
            raise InvalidInput(
                f"{one[:80]!r} says nothing.", hint="Write STEP=ANSWER: charge=CardDeclined."
            )
        if step.strip() in answers:
            raise InvalidInput(f"{step.strip()} is answered twice.")
        answers[step.strip()] = answer
    return answers


def _hidden(definition: Definition, replay: Replay) -> Replay:
    from es_saga.core.sensitive import SensitiveFields

    hidden = SensitiveFields(definition.sensitive)
    return replay.with_events([hidden.event(event) for event in replay.events])


def _show_fork(found: Found, fork: Fork, definition: Definition, output: Output) -> None:
    forked = _hidden(definition, fork.replay)
    was, now = found.replay.state.status, forked.state.status
    if output is Output.TABLE:
        from es_saga.testing.timeline import timeline

        sys.stdout.write(timeline(forked.events, mark=fork.version) + "\n")
        for note in fork.notes:
            say(f"[dim]note[/] {escape(note)}")
        where = f"from event {fork.version} on" if fork.version else "nothing is different"
        but = "as it was" if now is was else f"and it was {styled_status(was)}"
        say(f"{where}: {styled_status(now)}, {but}")
        return
    rows = [_row(moment, diff=False) for moment in forked.moments]
    if output is Output.JSONL:
        show(rows, output)
        return
    show_one(
        {
            "saga_id": forked.saga_id,
            "status": now.value,
            "was": was.value,
            "forked_at": fork.version,
            "notes": list(fork.notes),
            "events": rows,
        },
        output,
    )


def _write(file: Path, text: str) -> None:
    """A new file; `-` is standard output.

    Raises:
        InvalidInput: there is one already, or there can be none.
    """
    from es_saga.core.errors import InvalidInput

    if str(file) == "-":
        sys.stdout.write(text)
        return
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as error:
        raise InvalidInput(f"{file} is there already.", hint="Give it another name.") from error
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}.") from error
    say(f"[green]written[/] {escape(str(file))}: run it with pytest")

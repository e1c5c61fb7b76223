"""The command that looks for what breaks a saga."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_saga.cli.console import (
    EXIT_FINDING,
    Output,
    OutputOption,
    QuietOption,
    complain,
    escape,
    say,
    show,
    text_of,
)
from es_saga.cli.run import AppArgument

if TYPE_CHECKING:
    from es_saga.core.compiled import Definition
    from es_saga.testing.check import Checked, LawBroken
    from es_saga.testing.invariants import Invariant
    from es_saga.testing.simulation.listeners import Openings

EXAMPLES = 200


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: es-saga check domain.orders:app --exhaustive")(check)


def check(
    app: AppArgument,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Explore up to three faults, not two.")
    ] = False,
    examples: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Random schedules played for each saga.")
    ] = EXAMPLES,
    seed: Annotated[
        int | None, typer.Option(help="Others than usual: those of this seed.", show_default=False)
    ] = None,
    models: Annotated[
        bool, typer.Option("--models", help="Models answer, not the handlers of the app.")
    ] = False,
    output: OutputOption = Output.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Look for what breaks a saga. Exit 6 if some schedule of failures does.

    Definitions are verified, every schedule with few faults is explored, random ones are played in
    a simulated world, by the handlers of the app's participants, and the laws of sagas judge. What
    breaks one is told and saved: see replay. A function `invariant` beside the app is asked of the
    participants' data, and `openings` are what begins its choreographies, as by check_saga.
    """
    from es_saga.cli import compose
    from es_saga.core.expiry import short_lived
    from es_saga.core.pessimistic_view import exposed
    from es_saga.participant.lock_order import unordered
    from es_saga.testing.check import FEW_FAULTS, LawBroken, check_saga
    from es_saga.testing.exploring import Bounds

    found = compose.load_app(app)
    cast = [] if models else list(found.participants.values())
    invariant: Sequence[Invariant] = () if models else _invariant(app)
    openings: Openings = {} if models else _openings(app)
    definitions = found.definitions()
    if output is Output.TABLE:
        _show_steps(definitions)
    rows: list[dict[str, Any]] = []
    broken = 0
    with _Bar(quiet) as bar:
        for definition in definitions:
            bar.begin(definition.name)
            row: dict[str, Any] = {"saga": definition.name, "version": definition.version}
            row["warnings"] = [
                *exposed(definition),
                *short_lived(definition),
                *unordered(definition, found.participants.values()),
            ]
            for warning in row["warnings"]:
                say(f"[yellow]{escape(definition.name)}[/] {escape(warning)}")
            try:
                checked = check_saga(
                    definition,
                    earlier=_earlier(definition, definitions),
                    participants=cast,
                    invariant=invariant,
                    openings=openings,
                    examples=examples,
                    seeded=seed,
                    bounds=Bounds() if exhaustive else FEW_FAULTS,
                    progress=bar.move,
                )
                row |= _figures(checked)
                if checked.hint:
                    say(f"[yellow]{escape(definition.name)}[/] {escape(checked.hint)}")
            except LawBroken as finding:
                broken += 1
                file = _save(definition, finding)
                complain(str(finding), _hint(finding, file))
                row |= {"ok": False, "counterexample": file and str(file)}
            rows.append(row | {"steps": list(_steps(definition))})
    _show_rows(rows, output)
    if broken:
        raise typer.Exit(EXIT_FINDING)
    many = "1 saga" if len(definitions) == 1 else f"{len(definitions)} sagas"
    say(f"[green]ok[/] {escape(found.name)}: {many} without a fault")


def _earlier(definition: Definition, definitions: Sequence[Definition]) -> list[Definition]:
    """The versions that sagas may still be on, as far as they can be played together."""
    named = [one for one in definitions if one.name == definition.name and one.conducted]
    return [one for one in named if one.version < definition.version]


def _beside(app: str, name: str) -> Any:
    """What the module that has the app calls so; None: nothing."""
    return getattr(sys.modules[app.partition(":")[0]], name, None)


def _invariant(app: str) -> Sequence[Invariant]:
    found: Invariant | None = _beside(app, "invariant")
    return [found] if callable(found) else ()


def _openings(app: str) -> Openings:
    found: Openings | None = _beside(app, "openings")
    return found if isinstance(found, Mapping) else {}


class _Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._saga = ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=quiet or not sys.stderr.isatty(),
        )

    def __enter__(self) -> _Bar:
        self._bar.start()
        self._task = self._bar.add_task("", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, saga: str) -> None:
        """The next saga."""
        self._saga = saga
        self._bar.reset(self._task, description=saga, total=None)

    def move(self, what: str, done: int, total: int) -> None:
        """As `check_saga` tells it."""
        told = f"{self._saga}  {done:,} {what}"
        self._bar.update(self._task, description=told, completed=done, total=total)


def _figures(checked: Checked) -> dict[str, Any]:
    return {
        "ok": True,
        "earlier": list(checked.earlier),
        "states": checked.exploration.states,
        "complete": checked.exploration.complete,
        "schedules": checked.schedules,
        "played": list(checked.played),
        "faults": checked.faults.total(),
        "laws": sorted(checked.laws),
        "fates": {fate.value: count for fate, count in checked.fates.most_common()},
        "seconds": round(checked.seconds, 1),
    }


def _save(definition: Definition, finding: LawBroken) -> Path | None:
    """Where the history that breaks a law now is; the last one of its name is replaced."""
    from es_saga.cli.running import data_folder
    from es_saga.config import Settings
    from es_saga.core.errors import CorruptHistory
    from es_saga.testing.history import write_history

    story, violation = finding.story, finding.violation
    if story is None or violation is None:
        return None
    folder = data_folder(Settings()) / "counterexamples"
    folder.mkdir(exist_ok=True)
    file = folder / f"{definition.name}-{violation.law}.jsonl"
    file.unlink(missing_ok=True)
    try:
        write_history(
            file, story.saga_id, story.history, found=str(violation), effects=story.effects
        )
    except CorruptHistory:  # that it is none is what was found
        return None
    return file


def _hint(finding: LawBroken, file: Path | None) -> str:
    """How to look at what was found, and what else it may mean."""
    hints = [f"es-saga replay {file}"] if file else []
    if finding.violation is not None and finding.violation.law == "participant":
        hints.append(
            "If no such input ever comes, let its model say so: Field(min_length=1, le=…)."
        )
    return "\n      ".join(hints)


# ── on stdout ────────────────────────────────────────────────────────────────────────────────────


def _steps(definition: Definition) -> Iterator[dict[str, Any]]:
    from es_saga.diagrams.plan import plan_of

    for step, box in zip(definition.steps.values(), plan_of(definition).boxes, strict=True):
        yield {
            "step": step.name,
            "kind": step.kind.value,
            "remarks": [*filter(None, [box.special]), *box.remarks],
            "command": step.asks,
            "to": step.command.to,
            "undo": step.undo.command.__name__ if step.undo else None,
            "after": list(step.after),
            "timeout": step.timeout,
        }


def _show_steps(definitions: Sequence[Definition]) -> None:
    from es_saga.cli.table import Column
    from es_saga.diagrams.plan import plan_of
    from es_saga.diagrams.timescale import lasting

    rows = [
        step
        | {
            "saga": f"{definition.name} v{definition.version}" if number == 0 else "",
            "kind": box.gist,
            "command": "" if box.special else step["command"],
            "to": step["to"].replace(":", " "),  # a saga that it runs
            "after": ", ".join(step["after"]),
            "timeout": "" if "save-point" in step["remarks"] else lasting(step["timeout"]),
        }
        for definition in definitions
        for number, (step, box) in enumerate(
            zip(_steps(definition), plan_of(definition).boxes, strict=True)
        )
    ]
    columns = (
        "saga",
        "step",
        "kind",
        "command",
        "undo",
        Column("to", optional=True),
        Column("after", folds=True, optional=True),
        Column("timeout", right=True, optional=True),
    )
    show(rows, Output.TABLE, columns, styles=_style)


def _show_rows(rows: list[dict[str, Any]], output: Output) -> None:
    if output is not Output.TABLE:
        show(rows, output)
        return
    from es_saga.cli.table import Column

    told = [
        {
            "saga": row["saga"],
            "states": f"{row['states']:,}",
            "schedules": f"{row['schedules']:,}",
            "faults": f"{row['faults']:,}",
            "laws": len(row["laws"]),
            "fates": ", ".join(f"{fate} {count:,}" for fate, count in row["fates"].items()),
            "seconds": f"{row['seconds']:.1f}",
        }
        for row in rows
        if row["ok"]
    ]
    if told:
        sys.stdout.write("\n")
    numbers = [Column(name, right=True) for name in ("states", "schedules", "faults", "laws")]
    columns: list[str | Column] = ["saga", *numbers]
    columns += [Column("fates", folds=True), Column("seconds", right=True)]
    show(told, Output.TABLE, columns, styles=_style)


_KINDS = {"pivot": "bold magenta", "check": "cyan", "retriable": "green"}


def _style(column: str, value: Any) -> str:
    text = escape(text_of(value))
    if column == "kind" and value in _KINDS:
        return f"[{_KINDS[value]}]{text}[/]"
    return f"[bold]{text}[/]" if column == "saga" and text else text

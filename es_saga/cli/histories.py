"""A saga's history, by its id out of the log or out of a file, and the code that it ran on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from es_saga.app import App
    from es_saga.config import Settings
    from es_saga.core.compiled import Definition
    from es_saga.core.events import SagaEvent
    from es_saga.projections.queries import AuditRow, Queries
    from es_saga.replay import Replay
    from es_saga.testing.history import History

SUFFIX: Final = ".jsonl"
"""What ends so is a file."""

SagaArgument = Annotated[
    str, typer.Argument(metavar="ID|FILE", help="A saga's id, or a history kept in a .jsonl file.")
]
CodeOption = Annotated[
    str | None,
    typer.Option(
        "--app", help="module:attribute of its code; default: what runs here.", show_default=False
    ),
]


class Where:
    """Where the log is, as far as options say; settings are read when they are needed first."""

    def __init__(self, data: Path | None, database: str | None) -> None:
        self._options = {"data": data, "database": database}

    @cached_property
    def settings(self) -> Settings:
        """All of them."""
        from es_saga.config import load

        return load(**self._options)


@dataclass(frozen=True)
class Found:
    """A history, to be looked at: what is sensitive is hidden where it comes from the log."""

    replay: Replay
    where: Where
    kept: History | None = None
    """As it was kept, where it is a file."""

    def real(self) -> Replay:
        """The same with everything in it, to decide on, and not to be shown.

        Raises:
            Unavailable: the log is encrypted, and there is no key.
        """
        if self.kept is not None:
            return self.replay
        import asyncio

        from es_saga.cli import compose
        from es_saga.replay import Replay

        saga_id = self.replay.saga_id
        return Replay.of(saga_id, asyncio.run(compose.history(self.where.settings, saga_id)))


def find(which: str, where: Where) -> Found:
    """The history of a saga.

    Raises:
        NotFound: no such saga, or no such file.
        CorruptHistory: it is not as it was written; the first bad event is named.
        Unavailable: the log is out of reach.
    """
    from es_saga.replay import Replay

    path = Path(which)
    if path.suffix == SUFFIX or path.is_file():
        kept = _kept(path)
        return Found(Replay.of(kept.saga_id, kept.events), where, kept)
    from es_saga.cli import compose

    rows = list(whole(compose.queries(where.settings), which))
    return Found(Replay.of(which, _events(rows)), where)


def whole(queries: Queries, saga_id: str) -> Iterator[AuditRow]:
    """An audit trail of any length, page by page."""
    after = 0
    while page := queries.history(saga_id, after=after):
        yield from page
        after = page[-1].version


def _kept(path: Path) -> History:
    from es_saga.core.errors import InvalidInput, NotFound
    from es_saga.testing.history import read_history

    if not path.is_file():
        raise NotFound(f"There is no file {path}.", hint="`check` says where it has put one.")
    try:
        return read_history(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}.") from error


def _events(rows: Sequence[AuditRow]) -> list[SagaEvent]:
    from es_saga.core.errors import CorruptHistory
    from es_saga.core.events import EVENTS

    found: list[SagaEvent] = []
    for row in rows:
        try:
            found.append(EVENTS[row.kind].model_validate(row.payload))
        except (KeyError, ValueError) as error:
            raise CorruptHistory(
                f"saga {row.saga_id!r}, event {row.version}: {row.kind} cannot be read: {error}",
                hint="Was it written by a later release?",
            ) from error
    return found


# ── code ─────────────────────────────────────────────────────────────────────────────────────────


def code_of(found: Found, reference: str | None) -> tuple[Definition, App, str]:
    """The definition that the saga began with, the app that has it, and where that is.

    Raises:
        InvalidInput: nothing says where the code is, or there is none.
        NotFound: the app has no such saga.
    """
    from es_saga.cli import compose
    from es_saga.cli.running import running_apps
    from es_saga.core.errors import InvalidInput

    references = [reference] if reference else []
    if not references:
        running = {entry.reference for entry in running_apps(found.where.settings)}
        references = sorted(running - {""})
    if not references:
        raise InvalidInput(
            "That takes the saga's code, and nothing says where it is.",
            hint="Give it: --app module:attribute, as domain.orders:app.",
        )
    origin = found.replay.state.origin
    known: list[str] = []
    for one in references:
        app = compose.load_app(one)
        for definition in app.definitions():
            if (definition.name, definition.version) == (origin.saga_type, origin.definition):
                return definition, app, one
            known.append(f"{definition.name} v{definition.version}")
    raise _no_such(origin.saga_type, origin.definition, known)


def _no_such(name: str, version: int, known: Sequence[str]) -> Exception:
    from es_saga.core.errors import NotFound

    hint = f"Known: {', '.join(known)}. A saga is read by the version that it began with."
    return NotFound(f"The app has no saga {name} v{version}.", hint=hint)

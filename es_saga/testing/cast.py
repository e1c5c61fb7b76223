"""The participants that are played by their own handlers, and what must be true of their data."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

from es_saga.core.compiled import Definition
from es_saga.core.errors import InvalidInput
from es_saga.participant.holds import es_holds
from es_saga.participant.kit import Participant
from es_saga.testing.invariants import (
    Invariant,
    Sagas,
    Total,
    as_many,
    check_residue,
    left_behind,
    objections,
)
from es_saga.testing.laws import judge_data
from es_saga.testing.laws.isolation import Data
from es_saga.testing.refusals import refusals_of
from es_saga.testing.simulation.chance import seeded
from es_saga.testing.simulation.databases import Database
from es_saga.testing.simulation.lending import opened
from es_saga.testing.simulation.postgres_server import is_installed
from es_saga.testing.simulation.process import exits_are_deaths
from es_saga.testing.simulation.sockets import no_sockets
from es_saga.testing.story import Reservation

Databases = Mapping[str, Database]
Objection = tuple[str, str]
"""What is broken, as a law's number, and why."""


def unplayable(participants: Iterable[Participant]) -> list[Participant]:
    """Those that would need a database which is not installed."""
    return [one for one in participants if one.prepares_holds and not is_installed()]


class Cast:
    """Participants with their handlers; see `World` for the arguments.

    Raises:
        InvalidInput: two have one name, or one serves less than the sagas ask of it; there is no
            such residue.
    """

    def __init__(
        self,
        participants: Iterable[Participant],
        definitions: Iterable[Definition],
        *,
        invariant: Invariant | Sequence[Invariant] = (),
        always: Invariant | Sequence[Invariant] = (),
        constant: Total | Sequence[Total] = (),
        residue: Collection[str] | None = None,
    ) -> None:
        given = list(participants)
        self.participants = {participant.name: participant for participant in given}
        if len(self.participants) < len(given):
            raise InvalidInput("participants: two of them have the same name.")
        for participant in unplayable(given):
            raise InvalidInput(
                f"The participant {participant.name!r} prepares transactions, which takes "
                f"PostgreSQL, and that is not installed.",
                hint="Install es-saga[postgres], or leave it out: a model answers then.",
            )
        self.invariants = as_many(invariant)
        self.always = as_many(always)
        self.constant = as_many(constant)
        self.residue = residue
        check_residue(residue or (), given)
        self.refusals = refusals_of(given)
        """What a command is refused with, by its name; None: its handler never refuses it."""
        self._look_whether_all_is_served(definitions)

    def _look_whether_all_is_served(self, definitions: Iterable[Definition]) -> None:
        for definition in definitions:
            if not definition.conducted:
                self._look_whether_all_is_told(definition)
                continue
            steps = definition.steps.values()
            commands = [step.command for step in steps]
            commands += [step.undo.command for step in steps if step.undo is not None]
            for command in commands:
                participant = self.participants.get(command.to)
                if participant is not None and command.__name__ not in participant.commands:
                    raise InvalidInput(
                        f"The participant {participant.name!r} has no handler for "
                        f"{command.__name__}, which the saga {definition.name!r} sends it.",
                        hint="Write one, or leave the participant out: a model answers then.",
                    )

    def _look_whether_all_is_told(self, definition: Definition) -> None:
        for by, event in definition.correlations:
            participant = self.participants.get(by)
            if participant is None:
                continue
            told = participant.outbox.events if participant.outbox is not None else ()
            if event not in {kind.__name__ for kind in told}:
                raise InvalidInput(
                    f"The participant {by!r} does not publish {event}, which the choreography "
                    f"{definition.name!r} expects of it.",
                    hint="Name it in `publishes`, or leave the participant out: a model tells it.",
                )

    @contextmanager
    def ready(self, seed: int) -> Generator[Databases]:
        """Their databases, as new. As long as this lasts chance is the seed's, an exit is the end
        of a simulated process, and nobody outside can be reached."""
        if not self.participants:
            yield {}
            return
        given = self.participants.values()
        with seeded(seed), exits_are_deaths(), no_sockets(), opened(given) as databases:
            yield databases

    def in_the_middle(self, databases: Databases, sagas: Sagas) -> Iterator[Objection]:
        """What the invariants that always hold object to."""
        for why in objections(self.always, databases, sagas):
            yield "invariant", why
        yield from self._data(databases, sagas, settled=False)

    def _data(self, databases: Databases, sagas: Sagas, *, settled: bool) -> Iterator[Objection]:
        """Which laws of shared data are broken."""
        for name, database in databases.items():
            book = database.connection
            yield from judge_data(
                Data(name, book, frozenset(database.tables), sagas), settled=settled
            )
            book.rollback()

    def measure(self, databases: Databases, totals: dict[str, list[int]]) -> None:
        """Note what must never change, where it has another value than before."""
        books = {name: database.connection for name, database in databases.items()}
        for total in self.constant:
            seen = totals.setdefault(total.__name__, [])
            value = total(books)
            if not seen or seen[-1] != value:
                seen.append(value)
        for book in books.values():
            book.rollback()

    def reservations(self, databases: Databases, now: float) -> Iterator[Reservation]:
        """What the participants held, and what became of it."""
        for name, participant in self.participants.items():
            if participant.has_holds:
                book = databases[name].connection
                for row in book.execute(sa.select(es_holds)).all():
                    kept = (row.status, row.expires_at, row.settled_at)
                    yield Reservation(row.hold, name, *kept, now)
                book.rollback()

    def in_the_end(self, databases: Databases, sagas: Sagas, *, wrong: bool) -> Iterator[Objection]:
        """What is wrong with the data once everything has settled.

        Args:
            wrong: something was before; what always holds is not asked for once more.
        """
        asked = self.invariants if wrong else (*self.always, *self.invariants)
        for why in objections(asked, databases, sagas):
            yield "invariant", why
        yield from self._data(databases, sagas, settled=True)
        for database in databases.values():
            if database.doubts is not None:
                yield from database.doubts.in_the_end(database.connection, sagas)
        if self.residue is not None:
            for why in left_behind(self.residue, databases, sagas):
                yield "L58", why

"""What is prepared in a participant's database, and the law that it ends as was decided.

PostgreSQL does the preparing, and keeps what is in doubt while a simulated process is dead. Only
the time is the world's: the server knows no other than its own. Once all is settled

    L71    nothing is prepared any more for a saga that is over
    L72    what is confirmed was committed, and nothing else was
    L73    what is decided is carried out; so it is, too, as soon as one that died is back
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

from es_saga.core.state import SagaState, SagaStatus, WorkStatus
from es_saga.participant.holds import HoldStatus, es_holds
from es_saga.participant.kit import Part, Participant
from es_saga.participant.prepared import InDoubt, doubts, gid_of

_STATEMENT: Final = re.compile(r"(PREPARE TRANSACTION|COMMIT PREPARED|ROLLBACK PREPARED) '(.+)'")
_COMMIT: Final = "COMMIT PREPARED"
_ROLLBACK: Final = "ROLLBACK PREPARED"


@dataclass(slots=True)
class _Prepared:
    """One prepared transaction, and how it was ended."""

    at: float
    end: str | None = None


class Doubts:
    """The prepared transactions of one participant in one world.

    Args:
        engine: of its database; what is executed there is listened to.
    """

    def __init__(self, participant: Participant, engine: sa.Engine) -> None:
        self._who = participant.name
        self._commands = [
            name for name, one in participant.commands.items() if one.part is Part.PREPARES
        ]
        self._seen: dict[str, _Prepared] = {}
        self._clock: Callable[[], float] = time.time
        event.listen(engine, "after_cursor_execute", self._executed)

    def begin(self, clock: Callable[[], float]) -> None:
        """A world begins; its clock tells seconds since the epoch."""
        self._clock = clock
        self._seen.clear()

    def _executed(self, _connection: object, _cursor: object, statement: str, *_: Any) -> None:
        found = _STATEMENT.fullmatch(statement)
        if found is None:
            return
        what, gid = found.groups()
        if what not in (_COMMIT, _ROLLBACK):
            self._seen[gid] = _Prepared(self._clock())
        elif gid in self._seen:  # else it is of the world before
            self._seen[gid].end = what

    @property
    def ages(self) -> Mapping[str, float]:
        """How long ago each was prepared, by gid; seconds."""
        now = self._clock()
        return {gid: now - prepared.at for gid, prepared in self._seen.items()}

    @property
    def open(self) -> int:
        """How many are neither committed nor rolled back, as far as was heard."""
        return sum(prepared.end is None for prepared in self._seen.values())

    # ── what is wrong ────────────────────────────────────────────────────────────────────────────

    def undone_decisions(self, book: sa.Connection) -> Iterator[tuple[str, str]]:
        """What is decided and still in doubt, as hold and why: asked of one that is just back."""
        for found in self._in_doubt(book):
            if found.status not in (None, HoldStatus.HELD):
                yield found.hold, f"{found.hold} is {found.status}, and its transaction in doubt"

    def in_the_end(
        self, book: sa.Connection, sagas: Mapping[str, SagaState]
    ) -> Iterator[tuple[str, str]]:
        """What did not end as the rows of its holds say, as a law's number and why."""
        for _, why in self.undone_decisions(book):
            yield "L73", f"{self._who}: {why}"
        in_doubt = self._in_doubt(book)
        for found in in_doubt:
            if _is_over(sagas.get(found.hold.partition("/")[0])):
                why = f"{found.hold} is still prepared, and its saga is over"
                yield "L71", f"{self._who}: {why}"
        gids = {found.gid for found in in_doubt}
        rows = sa.select(es_holds.c.hold, es_holds.c.status).where(
            es_holds.c.command.in_(self._commands)
        )
        for hold, status in book.execute(rows):
            gid = gid_of(self._who, hold)
            if gid in gids:
                continue
            kept = self._seen.get(gid)
            end = (kept and kept.end) or "nothing"
            if (end == _COMMIT) != (status == HoldStatus.CONFIRMED) or status == HoldStatus.HELD:
                why = f"{hold} is {status}, and what was done is {end}"
                yield "L72", f"{self._who}: {why}"

    def _in_doubt(self, book: sa.Connection) -> list[InDoubt]:
        found = list(doubts(book, self._who))
        book.rollback()
        return found


def _is_over(state: SagaState | None) -> bool:
    """Whether it is closed and owes nothing, and no operator has waived what it had to do."""
    if state is None or state.status not in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED):
        return False
    works = (work for step in state.steps.values() for work in (step.do, step.undo))
    return not any(work is not None and work.status is WorkStatus.SKIPPED for work in works)

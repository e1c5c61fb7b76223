"""Whole histories, to be replayed: as everybody may see them, or as they are.

What is shown comes from the audit trail, with sensitive values hidden. Deciding again needs the
values themselves; what comes of it is hidden afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from es_saga.core.errors import CorruptHistory, IllegalOperation, Unavailable
from es_saga.core.events import EVENTS, SagaEvent
from es_saga.projections.queries import AuditRow, Queries, no_such
from es_saga.replay import Replay

MAX_EVENTS: Final = 5_000
"""Events of a saga that is replayed here; `es-saga replay` takes longer ones."""

PAGE: Final = 1_000
"""Events asked for at once."""


class Log(Protocol):
    """The log itself, see `es_saga.engine.ports.Store`."""

    async def load(self, saga_ids: Collection[str]) -> Mapping[str, Sequence[SagaEvent]]: ...


class NoLog:
    """A log whose values cannot be read here."""

    async def load(self, saga_ids: Collection[str]) -> Mapping[str, Sequence[SagaEvent]]:
        """Nothing.

        Raises:
            Unavailable: always.
        """
        raise Unavailable(
            "The log is encrypted, and no key is set here.", hint="Set ES_SAGA_ENCRYPTION_KEY."
        )


def shown(queries: Queries, saga_id: str) -> Replay:
    """A saga's history with sensitive values hidden; blocking.

    Raises:
        NotFound: there is no such saga.
        IllegalOperation: it is too long.
        CorruptHistory: it is no history.
    """
    check_length(queries, saga_id)
    rows: list[AuditRow] = []
    while page := queries.history(saga_id, after=len(rows), limit=PAGE):
        rows += page
        if len(page) < PAGE:
            break
    return Replay.of(saga_id, events(rows))


async def real(log: Log, saga_id: str) -> Replay:
    """A saga's history as it is: not to be shown.

    Raises:
        NotFound: there is no such saga.
        CorruptHistory: it is no history.
        Unavailable: the database is out of reach, or encrypted and we have no key.
    """
    found = (await log.load([saga_id])).get(saga_id)
    if not found:
        raise no_such(saga_id)
    return Replay.of(saga_id, found)


def events(rows: Iterable[AuditRow]) -> list[SagaEvent]:
    """A trail as events again.

    Raises:
        CorruptHistory: one cannot be read.
    """
    found: list[SagaEvent] = []
    for row in rows:
        kind = EVENTS.get(row.kind)
        if kind is None:
            raise CorruptHistory(
                f"Saga {row.saga_id!r}, event {row.version}: nothing is known of {row.kind!r}.",
                hint="A later release wrote it: use that one.",
            )
        found.append(kind.model_validate(row.payload))
    return found


def check_length(queries: Queries, saga_id: str) -> None:
    """Refuse a history that takes too long. Raises as `shown` does."""
    version = queries.status(saga_id).version
    if version > MAX_EVENTS:
        raise IllegalOperation(
            f"Saga {saga_id} has {version} events; {MAX_EVENTS} are replayed here.",
            hint=f"Use `es-saga replay {saga_id}`.",
        )

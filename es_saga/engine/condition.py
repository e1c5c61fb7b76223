"""How a participant is: what it tells of itself when it is asked, and what of that is an alert.

Every participant that is served answers at `saga.v1.<tenant>.qry.<name>._condition`. Its databases
are its own; so this is all that others can know of transactions in doubt and of replication slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from es_saga.core.errors import SagaError, Unavailable
from es_saga.core.messages import Subjects
from es_saga.engine.alerts import AlertKind

CONDITION: Final = "_condition"
"""The question, as its subject names it; no query of a participant's begins like this."""

MAX_DOUBTS: Final = 50
"""Transactions in doubt that are told one by one, the oldest first."""

IN_DOUBT_SECONDS: Final = 300.0
"""A transaction that is prepared for longer than this is an alert."""

MEBIBYTE: Final = 2**20

_log = structlog.get_logger("es_saga.alerts")


class Doubt(BaseModel):
    """A prepared transaction that is not settled: its rows are locked."""

    model_config = ConfigDict(frozen=True)

    hold: str
    saga_id: str
    """Empty where the id of the hold does not say."""
    step: str
    status: str | None
    """What the participant has written of it: `held` while the saga has not decided."""
    age: float
    """Seconds since it was prepared."""


class Slot(BaseModel):
    """A replication slot, for which PostgreSQL keeps its log until somebody has read it."""

    model_config = ConfigDict(frozen=True)

    name: str
    retained_bytes: int
    limit_bytes: int
    lost: bool

    @property
    def lags(self) -> bool:
        """Whether the server keeps too much for it."""
        return self.lost or self.retained_bytes > self.limit_bytes


class Complaint(NamedTuple):
    """Something about a participant that needs a human."""

    kind: AlertKind
    saga_id: str
    """Empty: it is of no saga."""
    step: str
    why: str
    hint: str


class Condition(BaseModel):
    """How one participant is."""

    model_config = ConfigDict(frozen=True)

    holds: int = 0
    """What it holds for sagas that have not decided."""
    prepared: int = 0
    """How many of its transactions are prepared."""
    doubts: tuple[Doubt, ...] = ()
    outbox: int = 0
    """Events that are not published yet."""
    slot: Slot | None = None

    def complaints(self) -> Iterator[Complaint]:
        """What needs a human."""
        for doubt in self.doubts:
            if doubt.age > IN_DOUBT_SECONDS:
                why = f"{doubt.hold} is prepared and in doubt; its rows are locked"
                hint = (
                    f"`es-saga status {doubt.saga_id}` says what the saga waits for."
                    if doubt.saga_id
                    else "Whoever sent the hold has to confirm or cancel it."
                )
                yield Complaint(AlertKind.DOUBT, doubt.saga_id, doubt.step, why, hint)
        slot = self.slot
        if slot is not None and slot.lost:
            why = f"the replication slot {slot.name} is lost: the server deleted log it needed"
            hint = "Nothing is lost: start the tailing relay again, which makes it anew."
            yield Complaint(AlertKind.SLOT, "", "", why, hint)
        elif slot is not None and slot.lags:
            why = (
                f"the replication slot {slot.name} lags: the server keeps more than "
                f"{slot.limit_bytes / MEBIBYTE:,.0f} MiB of its log for it"
            )
            hint = (
                "Start the tailing relay (`relay = tailing`), or drop the slot if nobody reads it:"
                f" SELECT pg_drop_replication_slot('{slot.name}')."
            )
            yield Complaint(AlertKind.SLOT, "", "", why, hint)


class Asks(Protocol):
    """The half of `Questions` that asks."""

    async def ask(self, subject: str, question: bytes, *, timeout: float) -> bytes:
        """See `Questions.ask`."""
        ...


async def conditions_of(
    participants: Iterable[str], questions: Asks, *, tenant: str = "main", within: float
) -> dict[str, Condition]:
    """What participants say of themselves; who does not answer in time, or cannot, is left out."""
    subjects = Subjects(tenant)

    async def one(name: str) -> Condition | None:
        try:
            answer = await questions.ask(subjects.query(name, CONDITION), b"{}", timeout=within)
            return Condition.model_validate_json(answer)
        except Unavailable:
            return None
        except (SagaError, ValidationError) as error:
            _log.warning("condition_unknown", participant=name, error=str(error))
            return None

    names = list(participants)
    found = await asyncio.gather(*map(one, names))
    return {name: said for name, said in zip(names, found, strict=True) if said is not None}

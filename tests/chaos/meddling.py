"""People at a fair that is under attack: who gives permits, who operates, and who turns up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from es_saga.core.errors import Unavailable
from es_saga.core.messages import Message
from es_saga.engine.client import Client
from es_saga.engine.requests import Answer, VerbName, VerbRequest
from es_saga.projections.status import STATUS
from tests.chaos.fair import Permit, Review
from tests.chaos.fairground import LEDGERS, Offered, Ticket, come
from tests.chaos.siege import Siege
from tests.chaos.story import ANSWER_SECONDS, PACE_SECONDS

LOOK_SECONDS = 0.15

TURNED_BACK = 0.15
"""Share of the sagas, nested ones among them, that an operator turns back when they are seen."""

HURRIED = 0.01
"""Share of those that are under way that he meddles with at each look."""

PERMITTED, REVIEWED, MENDED = 0.1, 0.2, 0.7
"""Share of those that wait for it which get it at each look."""

TURNING: Sequence[VerbName] = ("cancel", "cancel", "compensate")
HURRYING: Sequence[VerbName] = ("resend", "resume", "cancel")

_OPEN = sa.select(STATUS).where(STATUS.c.closed.is_(None))


class Operator:
    """Looks at what is open, again and again, and does something about it."""

    def __init__(self, siege: Siege, client: Client, die: random.Random) -> None:
        self._log = siege.engine("log")
        self._client = client
        self._die = die
        self._seen: set[str] = set()
        self.meddles = True
        """Else he only mends, and gives what is waited for."""
        self.done: Counter[str] = Counter()
        """What was carried out."""

    async def look_often(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(SQLAlchemyError):  # the database is being killed
                rows = await asyncio.to_thread(self._open)
                await asyncio.gather(*(deed for row in rows if (deed := self._deed(row))))

    def close(self) -> None:
        self._log.dispose()

    def _open(self) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        with self._log.connect() as connection:
            return connection.execute(_OPEN).all()

    def _deed(self, row: sa.Row[*tuple[Any, ...]]) -> Coroutine[None, None, None] | None:
        saga_id, type, current = row.saga_id, row.type, row.current
        chance = self._die.random()
        if row.status == "stuck":
            return self._operate(saga_id, "retry") if chance < MENDED else None
        if type == "booth" and "permit" in current:
            return self._tell(saga_id, Permit(by="mayor")) if chance < PERMITTED else None
        if type == "fair" and "review" in current:
            return self._tell(saga_id, Review(stars=3)) if chance < REVIEWED else None
        if not self.meddles or type == "sale":
            return None
        if saga_id not in self._seen:
            self._seen.add(saga_id)
            verb = self._die.choice(TURNING)
            return self._operate(saga_id, verb) if chance < TURNED_BACK else None
        verb = self._die.choice(HURRYING)
        return self._operate(saga_id, verb) if chance < HURRIED else None

    def _operate(self, saga_id: str, verb: VerbName) -> Coroutine[None, None, None]:
        request = VerbRequest(verb=verb, actor="operator", reason="a siege")
        return self._ask(verb, self._client.operate(saga_id, request, timeout=ANSWER_SECONDS))

    def _tell(self, saga_id: str, message: Message) -> Coroutine[None, None, None]:
        name = type(message).__name__
        asked = self._client.signal(saga_id, name, message, timeout=ANSWER_SECONDS)
        return self._ask(name, asked)

    async def _ask(self, what: str, asking: Coroutine[object, object, Answer]) -> None:
        """It may be too late for it by now, or the broker be away: it is tried again, or not."""
        with suppress(Unavailable):
            answer = await asking
            self.done[what] += answer.code is None


async def come_all(
    siege: Siege, events: Iterable[Ticket | Offered], attack: asyncio.Task[None]
) -> None:
    """Everybody comes to the gate, whatever becomes of its database meanwhile."""
    engine = siege.engine("gate")

    def one(event: Ticket | Offered) -> None:
        with engine.begin() as connection:
            come(connection, event)

    for event in events:
        while True:
            try:
                await asyncio.to_thread(one, event)
                break
            except SQLAlchemyError:
                await asyncio.sleep(PACE_SECONDS)
        if not attack.done():
            await asyncio.sleep(PACE_SECONDS)
    engine.dispose()


def stamped(siege: Siege) -> int:
    """How many visitors the office has looked at."""
    engine, effects = siege.engine("office"), LEDGERS["office"].effects
    try:
        with engine.connect() as connection:
            zero = sa.select(sa.func.count()).where(effects.c.units == 0)
            return connection.scalar(zero) or 0
    finally:
        engine.dispose()

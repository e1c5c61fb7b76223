"""Faults on demand, so that a demonstration or a test can see what the saga makes of them.

A word after an exclamation mark in one field of a command names its fate: a charge of the card
`visa!crash` brings the payments service down, once. The service itself sees the card `visa` and
knows nothing of it; `with_faults` stands in between.

Refusals need none of this: the card `prepaid` has little money, the `unicorn` is out of stock,
there is no delivery to Atlantis, and `mallory` is barred.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Any

import sqlalchemy as sa
from pydantic import create_model
from sqlalchemy.exc import IntegrityError

from es_saga import Command, Message, Participant, Refusal, Tx, Unavailable

SLOW_SECONDS = 3.0
"""How long a slow service takes: longer than a step waits for one attempt, shorter than for all.
Commands to the same service wait meanwhile."""

CRASH_EXIT_CODE = 70
"""With which a crashing process ends."""


class Fate(StrEnum):
    """What can go wrong with a command."""

    FLAKY = "flaky"
    """The first attempt fails; the second does not."""
    FAILS = "fails"
    """Every attempt fails, and nothing was done."""
    SLOW = "slow"
    """It is done, and answered too late."""
    GARBLED = "garbled"
    """It is done, but nobody can read the answer: to the saga no answer ever comes."""
    CRASH = "crash"
    """The process dies before it commits; the next time all goes well."""


_FATES = {fate.value: fate for fate in Fate}


class Mishap(Exception):
    """A service could not do its work, because somebody wanted to see that."""


def with_faults(service: Participant, *, field: str) -> Participant:
    """The same service, where `field` of a command may name a fate: `visa!slow`.

    Commands without that field, undos for example, are carried out as ever. Handlers must be async.
    """
    faulty = Participant(service.name, tables=service.tables)
    for handling in service.commands.values():
        acts = field in handling.command.model_fields
        assert handling.is_async or not acts, f"{handling.fn.__qualname__} is not async"
        faulty.register(handling.command, _fated(handling.fn, field) if acts else handling.fn)
    for asked in service.queries.values():
        faulty.register_query(asked.query, asked.fn)
    return faulty


def _fated(handler: Callable[..., Any], field: str) -> Callable[..., Any]:
    @wraps(handler)  # what it may answer can still be asked
    async def carry_out(cmd: Command[Any], tx: Tx) -> Any:
        value, _, word = str(getattr(cmd, field)).partition("!")
        fate = _FATES.get(word)
        if fate is None:
            return await handler(cmd, tx)
        if fate is Fate.FLAKY and tx.command.attempt == 1:
            raise Unavailable("The line is bad.")
        if fate is Fate.FAILS:
            raise Mishap("It does not work today.")
        if fate is Fate.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        reply: Message | None = await handler(cmd.model_copy(update={field: value}), tx)
        if fate is Fate.CRASH and _first_time(tx):
            os._exit(CRASH_EXIT_CODE)
        return _garble(reply) if fate is Fate.GARBLED else reply

    return carry_out


def _garble(reply: Message | None) -> Message | None:
    """The reply with a field too many, which whoever awaits it does not accept."""
    if reply is None or isinstance(reply, Refusal):
        return reply
    garbled = create_model(type(reply).__name__, __base__=type(reply), scribble=(str, "~~~"))
    return garbled(**reply.model_dump())


_crashes = sa.Table("crashes", sa.MetaData(), sa.Column("command_id", sa.Text, primary_key=True))


def _first_time(tx: Tx) -> bool:
    """Whether this command never crashed; remembered apart, for the transaction will be lost."""
    url = tx.connection.engine.url
    if url.get_backend_name() == "sqlite":  # one writer at a time: it needs a file of its own
        name, mark, options = (url.database or "").partition("?")
        url = url.set(database=f"{name}.crashes{mark}{options}")
    engine = sa.create_engine(url)
    try:
        _crashes.create(engine, checkfirst=True)
        with engine.begin() as connection:
            connection.execute(sa.insert(_crashes), {"command_id": tx.command.id})
    except IntegrityError:
        return False
    finally:
        engine.dispose()
    return True

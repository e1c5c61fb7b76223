"""What a service declares: its name, its tables, what it serves, answers, hears and publishes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import MappingProxyType, NoneType
from typing import Any, TypeVar

import sqlalchemy as sa

from es_saga.core.errors import DefinitionError
from es_saga.core.messages import (
    Command,
    Event,
    Message,
    Query,
    is_event,
    is_token,
    reply_type,
)
from es_saga.core.signatures import named
from es_saga.core.tcc import cancel_of, confirm_of
from es_saga.participant.decorators import Answers, Handles, Hears, Settles
from es_saga.participant.outbox import Outbox

C = TypeVar("C", bound=Command[Any])
E = TypeVar("E", bound=Event)
Q = TypeVar("Q", bound=Query[Any])


class Part(Enum):
    """What a handler is for."""

    HANDLES = "handles"
    TRIES = "tries"
    PREPARES = "prepares"
    CONFIRMS = "confirms"
    CANCELS = "cancels"


HOLDING = frozenset({Part.TRIES, Part.PREPARES})


@dataclass(frozen=True, slots=True)
class Handling:
    """One command of a participant and the function that carries it out."""

    command: type[Command[Any]]
    reply: type[Message] | type[None]
    fn: Callable[..., Any]
    is_async: bool
    part: Part = Part.HANDLES
    hold: type[Command[Any]] | None = None
    """Of a confirm or cancel: the hold that it settles."""
    prepared: bool = False
    """Of a confirm or cancel: the hold is a prepared transaction."""

    @property
    def held(self) -> type[Message]:
        """Of a confirm or cancel: the model of what its hold was answered."""
        assert self.hold is not None, "it settles one"
        answer: type[Message] = reply_type(self.hold)
        return answer


@dataclass(frozen=True, slots=True)
class Reaction:
    """An event that a participant hears, and the function that acts on it."""

    event: type[Event]
    fn: Callable[..., Any]
    is_async: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to a participant and the function that answers it."""

    query: type[Query[Any]]
    reply: type[Message]
    fn: Callable[..., Any]
    is_async: bool


class Participant:
    """A service that takes part in sagas: the commands it serves, each with one handler.

    `name` is what commands are addressed to (`Command.to`). `tables` are created on demand for
    demos and tests; a service in production has migrations. `publishes` are the events that its
    handlers and reactions may pass to `tx.publish`.

    >>> class Reserved(Message):
    ...     reservation: str
    >>> class Reserve(Command[Reserved]):
    ...     to = "stock"
    ...     sku: str
    >>> stock = Participant("stock")
    >>> @stock.handles(Reserve)
    ... def reserve(cmd: Reserve, tx: SyncTx) -> Reserved:
    ...     return Reserved(reservation=f"r-{cmd.sku}")

    Raises:
        DefinitionError: the name cannot stand in a subject; what it publishes is not its own.
    """

    def __init__(
        self,
        name: str,
        *,
        tables: sa.MetaData | None = None,
        publishes: Sequence[type[Event]] = (),
    ) -> None:
        if not is_token(name):
            raise DefinitionError(
                name, ["the name may have letters, digits, '_' and '-' only"], kind="participant"
            )
        self.name = name
        self.tables = tables
        self.outbox = Outbox(name, publishes) if publishes else None
        self._commands: dict[str, Handling] = {}
        self._reactions: dict[tuple[str, str], Reaction] = {}
        self._queries: dict[str, Asked] = {}

    # ── what it declares: decorators ─────────────────────────────────────────────────────────────

    def handles(self, command: type[C]) -> Handles[C]:
        """Decorator: the function carries out `command`, once per command id.

        `async def fn(cmd, tx: Tx)` or `def fn(cmd, tx: SyncTx)`, returning the reply that the
        command names, or any `Refusal`. An async one may await what it likes; it runs in a worker
        thread with an event loop of its own.

        A refusal keeps nothing that was written (requirement R034). `Unavailable(retry_after=…)`
        asks the saga to try again, `Terminal` never to; any other exception counts as a technical
        failure. What an exception leaves written is rolled back.

        The function may run more than once before its transaction commits: when it shared the
        transaction with a command that failed, or met a deadlock. What it does outside `tx` must
        bear that; give the other side `tx.command.id` as an idempotency key.

        Raises:
            DefinitionError: the command is addressed to another service, has a handler already, or
                does not say what it answers; the function does not take two arguments.
        """
        return Handles(partial(self.register, command))

    def tries(self, hold: type[C]) -> Handles[C]:
        """Decorator: the function sets something aside, until it is confirmed or cancelled.

        As `handles`, and it needs a `confirms` and a `cancels`. What is held is remembered in the
        table `es_holds`, in the same transaction. What nobody settles before it expires is
        cancelled by the participant itself, and can no longer be confirmed (law L74).
        """
        return Handles(partial(self.register, hold, part=Part.TRIES))

    def confirms(self, hold: type[C]) -> Settles[C]:
        """Decorator: the function makes final what was held.

        It is given the hold, what that was answered, and `tx`. It runs at most once for a hold, and
        only while that is held; it cannot refuse, and what it raises is tried again.
        """
        return Settles(partial(self.register, confirm_of(hold), part=Part.CONFIRMS, hold=hold))

    def cancels(self, hold: type[C]) -> Settles[C]:
        """Decorator: the function gives back what was held, asked to or because it has expired.

        As `confirms`. For one hold only one of the two ever runs (law L72).
        """
        return Settles(partial(self.register, cancel_of(hold), part=Part.CANCELS, hold=hold))

    def prepares(self, hold: type[C]) -> Handles[C]:
        """Decorator: as `tries`, strictly: what the function writes is a prepared transaction.

        A confirm commits it, a cancel or its expiry rolls it back, so there is nothing else to
        write (`es_saga.participant.prepared`). Until then nobody sees it, and what it wrote stays
        locked. PostgreSQL only, with `max_prepared_transactions` above 0. The saga is the same.
        """
        return Handles(partial(self.register, hold, part=Part.PREPARES))

    def on(self, event: type[E]) -> Hears[E]:
        """Decorator: the function acts on `event`, once for each that another service publishes.

        `async def fn(event, tx: Tx) -> None` or `def fn(event, tx: SyncTx) -> None`, in a
        transaction with the inbox, served by a `Subscriber`. The events of one aggregate come one
        after the other, also when one has to be tried again; an exception rolls back what was
        written and has the event tried again, `Terminal` puts it aside.

        What it does outside `tx` may happen more than once, as in a handler of commands.

        Raises:
            DefinitionError: the event does not say whose it is, or has a reaction already; the
                function does not take two arguments.
        """
        return Hears(partial(self.react, event))

    def answers(self, query: type[Q]) -> Answers[Q]:
        """Decorator: the function answers `query`, whenever somebody asks.

        `async def fn(query, tx: Tx)` or `def fn(query, tx: SyncTx)`, returning the reply that the
        query names. It reads: what it writes is refused by the database, and never kept. There is
        no fence, since nothing is done twice. What it raises is told to whoever asked, a SagaError
        in its own words; sensitive fields of the reply are hidden.

        Raises:
            DefinitionError: as `handles`.
        """
        return Answers(partial(self.register_query, query))

    # ── what was declared ────────────────────────────────────────────────────────────────────────

    @property
    def commands(self) -> Mapping[str, Handling]:
        """What it serves, by the name of the command's class."""
        return MappingProxyType(self._commands)

    @property
    def reactions(self) -> Mapping[tuple[str, str], Reaction]:
        """What it hears, by the service and the name of the event."""
        return MappingProxyType(self._reactions)

    @property
    def queries(self) -> Mapping[str, Asked]:
        """What it answers, by the name of the query's class."""
        return MappingProxyType(self._queries)

    @property
    def holds(self) -> list[str]:
        """The names of the commands by which it holds something."""
        return [name for name, one in self._commands.items() if one.part in HOLDING]

    @property
    def has_holds(self) -> bool:
        """Whether it holds anything, and so needs the table `es_holds`."""
        return bool(self.holds)

    @property
    def prepares_holds(self) -> bool:
        """Whether it needs a database that can prepare transactions."""
        return any(one.part is Part.PREPARES for one in self._commands.values())

    def faults(self) -> list[str]:
        """What is missing, now that everything is declared: a hold must be settled both ways."""
        tried = {self._commands[name].command for name in self.holds}
        settled = {(one.hold, one.part) for one in self._commands.values() if one.hold is not None}
        found = [
            f"{hold.__name__} is held by {self.name!r}, which never {part.value} it: "
            f"write @{self.name}.{part.value}({hold.__name__})"
            for hold in sorted(tried, key=lambda one: one.__name__)
            for part in (Part.CONFIRMS, Part.CANCELS)
            if (hold, part) not in settled
        ]
        found += [
            f"{self.name!r} {part.value} {hold.__name__}, which it does not try"
            for hold, part in sorted(settled, key=lambda one: (one[0].__name__, one[1].value))
            if hold not in tried
        ]
        return found

    # ── what the decorators do ───────────────────────────────────────────────────────────────────

    def register(
        self,
        command: type[Command[Any]],
        fn: Callable[..., Any],
        part: Part = Part.HANDLES,
        hold: type[Command[Any]] | None = None,
    ) -> None:
        """What `handles` does to the decorated function.

        Raises:
            DefinitionError: see `handles`.
        """
        taken = self._commands.get(command.__name__)
        arguments = ("the message", "tx") if hold is None else ("the hold", "its answer", "tx")
        reply, faults = self._checked(command, fn, taken, arguments)
        if faults:
            raise DefinitionError(self.name, faults, kind="participant")
        self._commands[command.__name__] = Handling(
            command, reply, fn, inspect.iscoroutinefunction(fn), part, hold
        )
        if part is Part.PREPARES:
            for derive, way in ((confirm_of, Part.CONFIRMS), (cancel_of, Part.CANCELS)):
                settling = derive(command)
                self._commands[settling.__name__] = Handling(
                    settling, NoneType, _nothing, False, way, command, prepared=True
                )

    def react(self, event: type[Event], fn: Callable[..., Any]) -> None:
        """What `on` does to the decorated function.

        Raises:
            DefinitionError: see `on`.
        """
        if not is_event(event):
            raise DefinitionError(self.name, [f"{named(event)} is no Event"], kind="participant")
        faults: list[str] = []
        key = (event.by, event.__name__)
        if not is_token(event.by):
            faults.append(f"{event.__name__} does not say whose event it is: set `by` in its class")
        if key in self._reactions:
            faults.append(f"{event.__name__} has a reaction already")
        if not _takes(fn, 2):
            faults.append(f"the reaction to {event.__name__} must take two arguments, it and tx")
        if faults:
            raise DefinitionError(self.name, faults, kind="participant")
        self._reactions[key] = Reaction(event, fn, inspect.iscoroutinefunction(fn))

    def register_query(self, query: type[Query[Any]], fn: Callable[..., Any]) -> None:
        """What `answers` does to the decorated function.

        Raises:
            DefinitionError: see `answers`.
        """
        reply, faults = self._checked(query, fn, self._queries.get(query.__name__), kind=Query)
        if faults:
            raise DefinitionError(self.name, faults, kind="participant")
        self._queries[query.__name__] = Asked(query, reply, fn, inspect.iscoroutinefunction(fn))

    def _checked(
        self,
        message: type[Command[Any]] | type[Query[Any]],
        fn: Callable[..., Any],
        taken: Handling | Asked | None,
        arguments: Sequence[str] = ("the message", "tx"),
        kind: type[Message] = Command,
    ) -> tuple[Any, list[str]]:
        """What a message is answered with, and what is wrong with having it served by `fn`."""
        name = message.__name__
        if not issubclass(message, kind):
            return Message, [f"{name} is no {kind.__name__}"]
        faults: list[str] = []
        if message.to != self.name:
            faults.append(f"{name} is addressed to {message.to!r}, not to {self.name!r}")
        if isinstance(taken, Handling) and taken.prepared:
            faults.append(f"{name} needs no handler: the hold is a prepared transaction")
        elif taken is not None:
            faults.append(f"{name} has a handler already: {taken.fn.__qualname__}")
        reply: Any = Message
        try:
            reply = reply_type(message)
        except TypeError as error:
            faults.append(str(error))
        else:
            if not _can_be_answered(reply):
                faults.append(f"{name} answers {reply!r}, which is no Message")
            elif reply is NoneType and issubclass(message, Query):
                faults.append(f"{name} asks for nothing: write Query[Reply]")
        if not _takes(fn, len(arguments)):
            told = f"{', '.join(arguments[:-1])} and {arguments[-1]}"
            faults.append(f"the handler of {name} must take {len(arguments)} arguments: {told}")
        return reply, faults


def _nothing(hold: object, held: object, tx: object) -> None:
    """All there is to do to a prepared transaction is to end it."""


def _can_be_answered(reply: Any) -> bool:
    return inspect.isclass(reply) and issubclass(reply, (Message, NoneType))


def _takes(fn: Callable[..., Any], arguments: int) -> bool:
    try:
        inspect.signature(fn).bind(*[None] * arguments)
    except TypeError:
        return False
    return True

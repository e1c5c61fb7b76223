"""What a participant's decorators accept: functions that fit the message they are for.

Each of them knows one kind of message. It registers the function, and gives it back as it was, so
that mypy and pyright check its arguments and its reply without a plugin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, overload

from es_saga.core.messages import Command, Event, Query, Refusal
from es_saga.participant.tx import SyncTx, Tx

R = TypeVar("R")
C_co = TypeVar("C_co", bound=Command[Any], covariant=True)
E_co = TypeVar("E_co", bound=Event, covariant=True)
Q_co = TypeVar("Q_co", bound=Query[Any], covariant=True)


class _Decorator:
    """Registers what it decorates."""

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    def _take(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        self._register(fn)
        return fn


class Handles(_Decorator, Generic[C_co]):
    """Takes the handler of a command; see `Participant.handles`."""

    @overload
    def __call__(
        self: Handles[Command[R]], fn: Callable[[C_co, Tx], Awaitable[R | Refusal]]
    ) -> Callable[[C_co, Tx], Awaitable[R | Refusal]]: ...
    @overload
    def __call__(
        self: Handles[Command[R]], fn: Callable[[C_co, SyncTx], R | Refusal]
    ) -> Callable[[C_co, SyncTx], R | Refusal]: ...
    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return self._take(fn)


class Settles(_Decorator, Generic[C_co]):
    """Takes what settles a hold; see `Participant.confirms` and `cancels`."""

    @overload
    def __call__(
        self: Settles[Command[R]], fn: Callable[[C_co, R, Tx], Awaitable[None]]
    ) -> Callable[[C_co, R, Tx], Awaitable[None]]: ...
    @overload
    def __call__(
        self: Settles[Command[R]], fn: Callable[[C_co, R, SyncTx], None]
    ) -> Callable[[C_co, R, SyncTx], None]: ...
    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return self._take(fn)


class Hears(_Decorator, Generic[E_co]):
    """Takes the reaction to an event; see `Participant.on`."""

    @overload
    def __call__(
        self, fn: Callable[[E_co, Tx], Awaitable[None]]
    ) -> Callable[[E_co, Tx], Awaitable[None]]: ...
    @overload
    def __call__(self, fn: Callable[[E_co, SyncTx], None]) -> Callable[[E_co, SyncTx], None]: ...
    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return self._take(fn)


class Answers(_Decorator, Generic[Q_co]):
    """Takes what answers a query; see `Participant.answers`."""

    @overload
    def __call__(
        self: Answers[Query[R]], fn: Callable[[Q_co, Tx], Awaitable[R]]
    ) -> Callable[[Q_co, Tx], Awaitable[R]]: ...
    @overload
    def __call__(
        self: Answers[Query[R]], fn: Callable[[Q_co, SyncTx], R]
    ) -> Callable[[Q_co, SyncTx], R]: ...
    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return self._take(fn)

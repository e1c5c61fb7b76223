"""The read models of one system: the library's own, and those that the settings name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeGuard

import sqlalchemy as sa

from es_saga.adapters.catch_up import CatchUp
from es_saga.core.errors import InvalidInput, NotFound, SagaError
from es_saga.engine.following import Undigested
from es_saga.engine.ports import Clock
from es_saga.engine.projector import Projector
from es_saga.projections.alerts import AlertsView
from es_saga.projections.audit import AuditView
from es_saga.projections.health import health
from es_saga.projections.projection import Projection
from es_saga.projections.status import StatusView
from es_saga.projections.view import View

INLINE: Final[Sequence[View]] = (StatusView(), AuditView())
"""The library's own that are kept in step with the log, in its own transactions."""

FOLLOWING: Final[Sequence[View]] = (health, AlertsView())
"""The library's own that follow behind."""


class Kept(NamedTuple):
    """A view that a system keeps."""

    view: View
    inline: bool
    """In step with the log; else it follows behind."""


def kept(named: Iterable[tuple[str, object]]) -> list[Kept]:
    """The library's views, then these, each with the reference that it was found under.

    Raises:
        InvalidInput: one is no view, or has the name of another one.
    """
    found = [Kept(view, inline=True) for view in INLINE]
    found += [Kept(view, inline=False) for view in FOLLOWING]
    for reference, view in named:
        if not _is_view(view):
            raise InvalidInput(
                f"{reference!r} is {type(view).__name__}, not a view.",
                hint="Make one with @projection.",
            )
        if view.name in {other.view.name for other in found}:
            raise InvalidInput(
                f"{reference!r} has the name of another view, {view.name!r}.",
                hint="Give it another one: @projection(table, name=...).",
            )
        found.append(Kept(view, inline=isinstance(view, Projection) and view.inline))
    return found


def named(found: Sequence[Kept], names: Sequence[str]) -> list[Kept]:
    """Those of these names.

    Raises:
        NotFound: there is none of such a name.
    """
    by_name = {each.view.name: each for each in found}
    for name in names:
        if name not in by_name:
            raise NotFound(
                f"There is no view {name[:80]!r}.",
                hint=f"Known: {', '.join(by_name)}. ES_SAGA_PROJECTIONS names those of your own.",
            )
    return [by_name[name] for name in dict.fromkeys(names)]


async def caught_up(engine: sa.Engine, views: Sequence[View], clock: Clock) -> None:
    """Have views take in everything there is, as those that are kept in step must have.

    Raises:
        SagaError: one of them cannot.
        Unavailable: the database is out of reach.
    """
    catching = CatchUp(engine)
    try:
        for view in views:
            try:
                await Projector([view], catching, clock).catch_up(view)
            except Undigested as error:
                raise refused(view, error) from error
    finally:
        catching.close()


def refused(view: View, error: Undigested) -> SagaError:
    """What a view cannot take in, in words."""
    cause = error.__cause__ or error
    which = (
        f"event {error.position}"
        if error.events == 1
        else f"one of the {error.events} events from {error.position} on"
    )
    return SagaError(
        f"View {view.name!r} cannot take in {which} of part {error.part}: "
        f"{type(cause).__name__}: {cause}",
        hint="ES_SAGA_LOG_LEVEL=debug shows the traceback.",
    )


def _is_view(found: object) -> TypeGuard[View]:
    return all(hasattr(found, name) for name in ("name", "metadata", "apply"))

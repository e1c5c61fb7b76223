"""Where the dashboard has its read models verified and rebuilt: the database of the log."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from es_saga.adapters import rebuild as building
from es_saga.cli.views import Kept, refused
from es_saga.core.errors import SagaError
from es_saga.database import make_engine
from es_saga.engine.following import Undigested
from es_saga.web.upkeep import Difference, Finding, Told, Work


class DatabaseWorkshop:
    """Works on the views of one log, with connections of its own for as long as it takes."""

    def __init__(self, url: str | sa.URL, found: Sequence[Kept]) -> None:
        self._url = url
        self._kept = {kept.view.name: kept for kept in found}

    @property
    def names(self) -> Collection[str]:
        """See `Workshop.names`."""
        return self._kept.keys()

    def carry_out(self, work: Work, name: str, told: Told) -> Finding:
        """See `Workshop.carry_out`."""
        kept = self._kept[name]
        engine = make_engine(self._url)
        try:
            carry_out = _rebuild if work is Work.REBUILD else _verify
            return carry_out(engine, kept, told)
        except Undigested as error:
            raise refused(kept.view, error) from error
        except DBAPIError as error:  # no outage, see `building`
            why = str(error.orig).partition("\n")[0]
            raise SagaError(
                f"The database refuses it: {why}.",
                hint=f"Whoever may make tables there: `es-saga projections {work} {name}`.",
            ) from error
        finally:
            engine.dispose()


def _rebuild(engine: sa.Engine, kept: Kept, told: Told) -> Finding:
    done = building.rebuild(engine, kept.view, inline=kept.inline, told=told)
    return Finding(done.events, stopped_seconds=done.stopped_seconds)


def _verify(engine: sa.Engine, kept: Kept, told: Told) -> Finding:
    verdict = building.verify(engine, kept.view, told=told)
    first = next((Difference(one.table, one.row, one.what) for one in verdict.drifts), None)
    return Finding(verdict.events, verdict.rows, verdict.drifted, first)

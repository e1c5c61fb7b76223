"""Which definitions the log has seen: one version of a saga type means one shape, for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError

from es_saga.adapters.tables import DEFINITIONS
from es_saga.adapters.trouble import Trouble, trouble, unavailable
from es_saga.core.compiled import Definition
from es_saga.core.errors import DefinitionError
from es_saga.core.sensitive import SensitiveFields


def register(engine: sa.Engine, definitions: Iterable[Definition]) -> None:
    """Remember each definition, or make sure that it is the one remembered.

    Raises:
        DefinitionError: a version is known with another shape; every difference is listed.
        Unavailable: the database is out of reach.
    """
    try:
        with engine.begin() as connection:
            for definition in definitions:
                _remember(connection, definition)
                fingerprint, shape = _known(connection, definition)
                if fingerprint != definition.fingerprint:
                    raise _changed(definition, json.loads(shape))
                _update_sensitive(connection, definition)
    except DBAPIError as error:
        if trouble(error) is Trouble.OUTAGE:
            raise unavailable(error) from error
        raise


def _changed(definition: Definition, known: dict[str, Any]) -> DefinitionError:
    return DefinitionError(
        f"{definition.name} version {definition.version}",
        [
            *_differences(known, definition.shape),
            f"sagas run on the old shape: give the new one version={definition.version + 1}, "
            f"and keep the old one in the app",
        ],
    )


def _remember(connection: sa.Connection, definition: Definition) -> None:
    """Insert it where it is missing; another process may do so at the same time."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    row = {
        "type": definition.name,
        "version": definition.version,
        "fingerprint": definition.fingerprint,
        "shape": json.dumps(definition.shape),
        "first_seen": time.time(),
        "sensitive": "{}",
    }
    connection.execute(insert(DEFINITIONS).values(row).on_conflict_do_nothing())


def _update_sensitive(connection: sa.Connection, definition: Definition) -> None:
    """Marking a field changes nothing that a saga does, and so needs no new version."""
    connection.execute(
        DEFINITIONS.update()
        .where(DEFINITIONS.c.type == definition.name, DEFINITIONS.c.version == definition.version)
        .values(sensitive=json.dumps(definition.sensitive))
    )


class KnownFields:
    """The sensitive fields of the definitions in a database, each read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], SensitiveFields] = {}

    def on(self, connection: sa.Connection) -> Callable[[str, int], SensitiveFields]:
        """Asked by type and version; what is not known is read through this connection."""

        def fields_of(saga_type: str, version: int) -> SensitiveFields:
            key = (saga_type, version)
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = SensitiveFields(_sensitive(connection, *key))
            return found

        return fields_of


def _sensitive(connection: sa.Connection, saga_type: str, version: int) -> dict[str, Any]:
    text = connection.execute(
        sa.select(DEFINITIONS.c.sensitive).where(
            DEFINITIONS.c.type == saga_type, DEFINITIONS.c.version == version
        )
    ).scalar()
    found: dict[str, Any] = json.loads(text or "{}")
    return found


def _known(connection: sa.Connection, definition: Definition) -> tuple[str, str]:
    row = connection.execute(
        sa.select(DEFINITIONS.c.fingerprint, DEFINITIONS.c.shape).where(
            DEFINITIONS.c.type == definition.name, DEFINITIONS.c.version == definition.version
        )
    ).one()
    return row.fingerprint, row.shape


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What changed between two shapes, a line each."""
    before = {step["name"]: step for step in old["steps"]}
    after = {step["name"]: step for step in new["steps"]}
    lines = [f"step {name} is gone" for name in before if name not in after]
    lines += [f"step {name} is new" for name in after if name not in before]
    for name in before.keys() & after.keys():
        for aspect, was in before[name].items():
            now = after[name].get(aspect)
            if was != now:
                lines.append(f"step {name}: {aspect} was {was!r}, is {now!r}")
    kept_before = [name for name in before if name in after]
    kept_after = [name for name in after if name in before]
    if kept_before != kept_after:
        lines.append(f"the order was {', '.join(kept_before)}, is {', '.join(kept_after)}")
    return sorted(lines)

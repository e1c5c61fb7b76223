"""Reread value: an update is applied only if nobody has changed its base since it was read (L67).

    row = reread.look(tx, accounts, {"id": cmd.account})  # in one step; its reply has the version
    ...
    return reread.update(tx, accounts, {"id": cmd.account}, read=cmd.version, values={...})

The table has an integer column `version`. What was read may be steps and minutes old: the version
travels in the messages, and the saga is undone, or reads anew, where the record has moved on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from es_saga.core.errors import InvalidInput
from es_saga.core.messages import Refusal
from es_saga.participant.tx import Transaction, work_of

VERSION: Final = "version"


class Changed(Refusal):
    """Somebody has changed, or removed, the record since it was read."""

    record: str
    read: int


def look(tx: Transaction, table: sa.Table, key: Mapping[str, Any]) -> sa.RowMapping | None:
    """The record as it is, its `version` among the columns; None: there is none."""
    found = work_of(tx).run(sa.select(table).where(_at(table, key)), None, reading=True)
    return found.mappings().first()


def update(
    tx: Transaction,
    table: sa.Table,
    key: Mapping[str, Any],
    *,
    read: int,
    values: Mapping[str, Any],
) -> Changed | None:
    """Change the record, whose version was `read`; a refusal to be returned if it has moved on."""
    version = _version(table)
    statement = (
        sa.update(table)
        .where(_at(table, key), version == read)
        .values({**values, VERSION: version + 1})
    )
    if work_of(tx).changed(statement, None):
        return None
    return Changed(record=", ".join(str(value) for value in key.values()), read=read)


def _at(table: sa.Table, key: Mapping[str, Any]) -> sa.ColumnElement[bool]:
    if not key:
        raise InvalidInput("A key names the record: {'id': …}.")
    return sa.and_(*(table.c[name] == value for name, value in key.items()))


def _version(table: sa.Table) -> sa.Column[Any]:
    if VERSION not in table.c:
        raise InvalidInput(f"{table.name} has no column {VERSION!r}, an integer, to be reread by.")
    return table.c[VERSION]

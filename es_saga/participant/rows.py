"""Many rows in one statement. Its text is the same however many there are: it is planned once.

SQLite is given a list as JSON, and rows one after the other; PostgreSQL arrays, one a column. Each
statement is a text for each of the two, by dialect, and goes to the driver as it stands.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

Texts = Mapping[str, str]
"""The same statement for each dialect: `sqlite`, `postgresql`."""


def read(connection: sa.Connection, texts: Texts, keys: Collection[str]) -> Sequence[sa.Row[Any]]:
    """What a SELECT with a list of keys as its only parameter finds."""
    dialect = connection.dialect.name
    given = list(keys)
    argument = json.dumps(given) if dialect == "sqlite" else given
    return connection.exec_driver_sql(texts[dialect], (argument,)).all()


def write(connection: sa.Connection, texts: Texts, rows: Sequence[tuple[object, ...]]) -> None:
    """Carry out an INSERT or UPDATE with these rows, of which there is at least one."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        connection.exec_driver_sql(texts[dialect], list(rows))
    else:
        columns = tuple(list(column) for column in zip(*rows, strict=True))
        connection.exec_driver_sql(texts[dialect], columns)

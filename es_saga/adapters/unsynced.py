"""Transactions that do not wait for the disk, for what can be had from the log again.

What a power cut takes of a view it takes with its checkpoint, and the view takes those events in
once more. Nothing of the log itself is ever written like this.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa


@contextmanager
def unsynced(engine: sa.Engine) -> Generator[sa.Connection, None, None]:
    """A transaction, committed at the end; durable soon afterwards."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            with connection.begin():
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                yield connection
            return
        driver = connection.connection.driver_connection
        assert driver is not None, "it is connected"
        driver.execute("PRAGMA synchronous=NORMAL").close()
        try:
            with connection.begin():
                yield connection
        finally:
            try:
                driver.execute("PRAGMA synchronous=FULL").close()
            except sqlite3.Error:
                connection.invalidate()  # it is still in a transaction: nobody may go on with it

"""SQLAlchemy's asynchronous side is taken from those who have it, and asked of nobody else."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_GREENLET = """
import sys
sys.modules["greenlet"] = None  # as if it was not installed
import es_saga.cli.compose
from sqlalchemy import create_engine
from es_saga.participant.inbox import Inbox, metadata
engine = create_engine("sqlite://")
metadata.create_all(engine)
with engine.begin() as connection:
    print(Inbox("shipping").first_time(connection, "m-1"))
"""


def test_nothing_of_ours_needs_greenlet() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_GREENLET], capture_output=True, text=True, check=False
    )

    assert done.stdout == "True\n", done.stderr

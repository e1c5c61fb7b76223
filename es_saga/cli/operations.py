"""Commands for whoever keeps it running: migrate, streams, bench, doctor."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""

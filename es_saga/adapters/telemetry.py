"""Logging: fields, not sentences; for people on a terminal, as JSON lines everywhere else."""

from __future__ import annotations

import logging
import sys

import structlog

_PROCESSORS: list[structlog.typing.Processor] = []
"""One list for all loggers, those that are in use as well: they keep the list, not its items."""


def configure_logging(level: str = "info", *, plain: bool | None = None) -> None:
    """Send logs to stderr. `plain` forces the form for people, or with False, JSON."""
    people = sys.stderr.isatty() if plain is None else plain
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    _PROCESSORS[:] = [*shared, *last]
    structlog.configure(
        processors=_PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(
            getattr(logging, level.upper(), logging.INFO)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

"""A support bundle: what somebody else needs to help, and nothing that is nobody's business.

No secrets, and no people's data: of sagas only ids, types, statuses, steps and times.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from es_saga.cli import compose
from es_saga.cli.health import packages
from es_saga.config import HIDDEN, Settings
from es_saga.core.errors import InvalidInput, SagaError
from es_saga.projections.queries import Queries, SagaFilter

MAX_LOG_BYTES = 256 * 1024
"""How much of the end of the NATS server's log is taken."""

MAX_SAGAS = 100
"""Stuck sagas, and others, that are told of: the most recently changed."""


def write(path: Path, settings: Settings, report: Mapping[str, Any]) -> None:
    """Write the bundle; nothing is overwritten.

    Raises:
        InvalidInput: there is such a file already, or it cannot be written.
    """
    secrets = settings.secrets()
    try:
        with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
            for name, text in _files(settings, report):
                archive.writestr(name, _without(text, secrets))
    except FileExistsError as error:
        raise InvalidInput(f"There is a file {path} already.", hint="Choose another.") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}.") from error


def _files(settings: Settings, report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "doctor.json", _json(report)
    yield "packages.json", _json(packages())
    try:
        found = compose.queries(settings)
        sagas = {
            "counts": found.counts(),
            "stuck": _outlines(found, SagaFilter(status=("stuck",))),
            "latest": _outlines(found, SagaFilter()),
        }
    except SagaError as error:
        sagas = {"error": error.message}
    yield "sagas.json", _json(sagas)
    log = settings.data / "nats" / "run" / "server.log"
    if log.is_file():
        yield "nats-server.log", log.read_bytes()[-MAX_LOG_BYTES:].decode(errors="replace")


def _outlines(found: Queries, wanted: SagaFilter) -> list[dict[str, Any]]:
    return [_outline(row) for row in found.sagas(wanted, limit=MAX_SAGAS)]


def _outline(row: Any) -> dict[str, Any]:
    """A saga without anything that was said in it: no key, input, reply, or reason."""
    whole = asdict(row)
    kept = ("saga_id", "type", "definition", "status", "current", "version", "reason_step")
    times = ("created", "updated", "closed", "next_due", "deadline")
    return {name: whole[name] for name in (*kept, *times)}


def _without(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        for form in (secret, json.dumps(secret)[1:-1]):
            text = text.replace(form, HIDDEN)
    return text


def _json(value: object) -> str:
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)

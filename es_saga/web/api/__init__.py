"""The endpoints of the HTTP API, a file for each kind of question."""

from __future__ import annotations

from fastapi import APIRouter

from es_saga.web.api import following, operating, replaying, sagas, starting, system
from es_saga.web.api.errors import ERRORS


def router() -> APIRouter:
    """All of them."""
    every = APIRouter(responses=ERRORS)
    for part in (starting, sagas, replaying, operating, following, system):
        every.include_router(part.router)
    return every

"""The endpoints of the HTTP API, a file for each kind of question."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from es_saga.web.api import (
    composing,
    definitions,
    drawing,
    following,
    monitoring,
    operating,
    replaying,
    sagas,
    signalling,
    starting,
    system,
)
from es_saga.web.api.errors import ERRORS
from es_saga.web.callers import known_query


def router() -> APIRouter:
    """All of them."""
    every = APIRouter(responses=ERRORS, dependencies=[Depends(known_query)])
    for part in (
        *(starting, signalling, sagas, composing, replaying, operating, definitions),
        *(drawing, monitoring, following, system),
    ):
        every.include_router(part.router)
    return every

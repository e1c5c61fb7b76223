"""Puts the HTTP side together: the API, the dashboard, and what every request goes through."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI

from es_saga.web.desk import Desk

API: Final = "/api/v1"
"""What the paths of the API begin with."""


def create_app(desk: Desk) -> FastAPI:
    """The application over a desk; any ASGI server runs it, `es-saga ui` with uvicorn."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        yield
        desk.close()

    app = FastAPI(
        title="es_saga",
        version=version("es-saga"),
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.desk = desk
    return app

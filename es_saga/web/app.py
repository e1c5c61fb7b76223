"""Puts the HTTP side together: the API, the dashboard, and what every request goes through."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI

from es_saga.web import api, faults
from es_saga.web.api.inputs import API
from es_saga.web.dashboard.router import router as dashboard
from es_saga.web.desk import Desk
from es_saga.web.document import with_inputs
from es_saga.web.guard import Guard

DESCRIPTION: Final = """\
Start sagas, learn how they end, look at them, and help them on.

Times are seconds since the epoch. Lists are paged by a cursor that a page gives. Every error has
the shape `{"error": {"code", "message", "hint"}}`; `503` says in `Retry-After` when to come back.
Whatever changes something goes to the process manager as a message and may be sent again: a start
under its key, a verb with the version it was decided on.
"""


class _Application(FastAPI):
    """Knows its desk, and what the saga types behind it take."""

    def __init__(self, desk: Desk, **options: Any) -> None:
        super().__init__(**options)
        self.state.desk = desk
        self._desk = desk

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = with_inputs(super().openapi(), self._desk.code.values())
        return self.openapi_schema


def create_app(desk: Desk) -> FastAPI:
    """The application over a desk; any ASGI server runs it, `es-saga ui` with uvicorn."""
    app = _Application(
        desk,
        title="es_saga",
        description=DESCRIPTION,
        version=version("es-saga"),
        openapi_url=None,  # it needs a caller, like everything else
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    faults.register(app)
    app.include_router(api.router(), prefix=API)
    app.include_router(dashboard(desk))
    app.add_middleware(Guard, local_only=not desk.access.guarded, json_under=[API])
    return app

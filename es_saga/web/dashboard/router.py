"""The dashboard's routes: every screen, its stream, static files, and the way in and out."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match

from es_saga.core.errors import NotFound, SagaError
from es_saga.web.access import SESSION_COOKIE, SESSION_SECONDS, Caller, Role
from es_saga.web.api.inputs import API
from es_saga.web.dashboard import (
    batch,
    compare,
    definitions,
    history,
    incidents,
    ledger,
    messages,
    operating,
    overview,
    participants,
    pending,
    projections,
    sagas,
    starting,
    system,
    timeline,
    travel,
)
from es_saga.web.dashboard.live import LiveStream
from es_saga.web.dashboard.page import LIVE, THEME_COOKIE, THEMES, Pages, Screen, Visit
from es_saga.web.dashboard.rendering import HERE, STATIC, asset
from es_saga.web.dashboard.shield import PROOF, fields_of, local_path, set_cookie
from es_saga.web.desk import Desk

YEAR_SECONDS: Final = 365 * 86_400
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""All of them: a path that is not there is not there whatever is to be done with it."""


def router(desk: Desk) -> APIRouter:
    """Everything that is for people; `es_saga.web.app` puts it beside the API."""
    pages = Pages(desk)
    routes = APIRouter(include_in_schema=False)
    every = screens(pages)
    pages.sections = frozenset(screen.section for screen in every)
    pages.tabs = frozenset(screen.tab for screen in every)
    for screen in every:
        show = partial(_show, pages, screen)
        routes.add_api_route(screen.path, show, methods=["GET"], response_model=None)
        if screen.live:
            live = partial(_live, pages, screen)
            routes.add_api_route(LIVE + screen.path, live, methods=["GET"], response_model=None)
    routes.include_router(operating.routes(pages))
    routes.include_router(batch.routes(pages))
    routes.include_router(starting.routes(pages))
    routes.include_router(projections.routes(pages))
    _add_doors(routes, pages)
    routes.add_api_route(STATIC + "/{digest}/{name:path}", _static, response_model=None)
    nowhere = partial(_nowhere, pages)
    routes.add_api_route("/{path:path}", nowhere, methods=[*METHODS], response_model=None)
    return routes


def screens(pages: Pages) -> Sequence[Screen]:
    """Every page there is."""
    return [
        *overview.screens(pages),
        *sagas.screens(pages),
        *timeline.screens(pages),
        *history.screens(pages),
        *messages.screens(pages),
        *travel.screens(pages),
        *ledger.screens(pages),
        *pending.screens(pages),
        *incidents.screens(pages),
        *compare.screens(pages),
        *definitions.screens(pages),
        *participants.screens(pages),
        *projections.screens(pages),
        *system.screens(pages),
        *batch.screens(pages),
    ]


async def _show(pages: Pages, screen: Screen, request: Request) -> Response:
    return await pages.show(screen, request)


async def _live(pages: Pages, screen: Screen, request: Request) -> Response:
    return LiveStream(pages, screen, request)


async def _nowhere(pages: Pages, request: Request) -> Response:
    """Everything else: to people a page, to programs what they would get without this route."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if request.url.path.startswith(API) or not wants_page:
        found = (route.matches(request.scope)[0] for route in request.app.router.routes)
        raise HTTPException(405 if Match.PARTIAL in found else 404)
    visit = Visit(request, pages.caller(request) or Caller("", Role.READ))
    return pages.failed(visit, NotFound("There is no such page.", hint="Begin at the overview."))


# ── doors ────────────────────────────────────────────────────────────────────────────────────────


def _add_doors(routes: APIRouter, pages: Pages) -> None:
    access, forms = pages.desk.access, pages.forms

    async def login(request: Request) -> Response:
        visit = Visit(request, pages.caller(request) or Caller("", Role.READ))
        onward = local_path(request.query_params.get("next", "/"))
        return pages.render(visit, "login.html", {"onward": onward, "refused": False})

    async def log_in(request: Request) -> Response:
        form = await fields_of(request)
        onward = local_path(_first(form, "next", "/"))
        session = None
        if forms.ours(request, _first(form, PROOF)):
            session = access.log_in(_first(form, "token").strip())
        if session is None:
            visit = Visit(request, Caller("", Role.READ))
            context = {"onward": onward, "refused": True}
            return pages.render(visit, "login.html", context, status=401)
        response = RedirectResponse(onward, 303)
        set_cookie(request, response, SESSION_COOKIE, session, seconds=SESSION_SECONDS)
        return response

    async def log_out(request: Request) -> Response:
        form = await fields_of(request)
        if forms.ours(request, _first(form, PROOF)):
            access.log_out(request.cookies.get(SESSION_COOKIE, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(SESSION_COOKIE)
        return response

    async def theme(request: Request) -> Response:
        form = await fields_of(request)
        response = RedirectResponse(local_path(_first(form, "next", "/")), 303)
        if forms.ours(request, _first(form, PROOF)):
            chosen = _first(form, "theme")
            if chosen in THEMES:
                set_cookie(request, response, THEME_COOKIE, chosen, seconds=YEAR_SECONDS)
            else:
                response.delete_cookie(THEME_COOKIE)
        return response

    for path, method, endpoint in (
        ("/login", "GET", login),
        ("/login", "POST", log_in),
        ("/logout", "POST", log_out),
        ("/theme", "POST", theme),
    ):
        answer = partial(_door, pages, endpoint)
        routes.add_api_route(path, answer, methods=[method], response_model=None)


async def _door(
    pages: Pages, endpoint: Callable[[Request], Awaitable[Response]], request: Request
) -> Response:
    try:
        return await endpoint(request)
    except SagaError as error:
        return pages.failed(Visit(request, pages.caller(request) or Caller("", Role.READ)), error)


def _first(form: Mapping[str, Sequence[str]], name: str, default: str = "") -> str:
    return form.get(name, [default])[0]


# ── static files ─────────────────────────────────────────────────────────────────────────────────


@cache
def _files() -> dict[str, bytes]:
    """Everything in the folder, read once; nothing else can be asked for."""
    folder = HERE / "static"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in (".css", ".js", ".svg")
    }


async def _static(digest: str, name: str) -> Response:
    body = _files().get(name)
    if body is None or asset(name) != f"{STATIC}/{digest}/{name}":
        return Response(status_code=404)
    media = mimetypes.guess_type(name)[0] or "application/octet-stream"
    forever = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(body, media_type=media, headers=forever)

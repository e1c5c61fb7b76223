"""One page: who visits, what the template is given, and which of its regions are kept up to date.

A screen is a path, a template, and a function that gathers what the template shows. Blocks of the
template whose names begin with `live_` stand in an element of the same id; whenever the log moves,
they are rendered again and sent to whoever looks (see `live`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import time
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Template
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from es_saga.core.errors import SagaError
from es_saga.projections.listing import Count, SagaFilter
from es_saga.web.access import Caller
from es_saga.web.dashboard.costly import Costly
from es_saga.web.dashboard.figures import Observatory
from es_saga.web.dashboard.plans import Shapes
from es_saga.web.dashboard.rendering import as_of, block, blocks, environment
from es_saga.web.dashboard.shield import HEADERS, Forms, cookie
from es_saga.web.desk import Desk
from es_saga.web.faults import come_back, status_of

LIVE: Final = "/live"
"""What the paths of the streams begin with; the page's own path follows."""

REFRESH_SECONDS: Final = 5.0
"""A page is looked at again after this long though nothing happened: figures fade with time."""

ZONE_COOKIE: Final = "es_saga_zone"
THEME_COOKIE: Final = "es_saga_theme"
THEMES: Final = ("light", "dark")

TABS: Final = (
    ("timeline", "Timeline"),
    ("history", "History"),
    ("travel", "Time travel"),
    ("messages", "Messages"),
    ("ledger", "Ledger"),
)
"""Pages of one saga, in the order in which they are shown."""

Context = dict[str, Any]
"""What a template is given."""


@dataclass(frozen=True)
class Visit:
    """One request for a page, and who makes it."""

    request: Request
    caller: Caller
    now: float = field(default_factory=time)

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters in the URL, without the empty ones."""
        return {key: value for key, value in self.request.query_params.items() if value}

    @property
    def here(self) -> str:
        """Path and parameters."""
        url = self.request.url
        return f"{url.path}?{url.query}" if url.query else url.path

    def saga_id(self) -> str:
        """The saga that the path names."""
        return str(self.request.path_params["saga_id"])


Gather = Callable[[Visit], Awaitable[Context]]


@dataclass(frozen=True, slots=True)
class Screen:
    """A page that can be asked for."""

    path: str
    template: str
    section: str
    """Its entry in the navigation."""
    gather: Gather
    live: bool = True
    """Whether it has regions that are kept up to date; `still` in what was gathered says no."""
    refresh: float = REFRESH_SECONDS
    """Seconds after which it is looked at again though the log has not moved."""

    @property
    def tab(self) -> str:
        """Its name among the pages of one saga."""
        return self.path.removeprefix("/sagas/{saga_id}").strip("/") or "timeline"


class Pages:
    """Renders screens for visitors of one desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.forms = Forms()
        self._stuck = Costly(lambda: desk.ask(desk.queries.count, SagaFilter(status=("stuck",))))
        self._known_stuck: Count | None = None
        self.definitions = Costly(lambda: desk.ask(desk.queries.definitions))
        """What the log knows, with the number of open sagas on each."""
        self.shapes = Shapes(self.definitions)
        self.observatory = Observatory(desk)
        self.sections: frozenset[str] = frozenset()
        """Those that the navigation leads to."""
        self.tabs: frozenset[str] = frozenset()
        """Pages that a saga has."""
        self._environment = environment()
        self._live: dict[str, dict[str, Template]] = {}

    def caller(self, request: Request) -> Caller | None:
        """Who visits; None: nobody we know."""
        return self.desk.access.caller(request)

    async def show(self, screen: Screen, request: Request) -> Response:
        """The whole page; to the login where one is needed; an error as a page of its own."""
        caller = self.caller(request)
        if caller is None:
            return RedirectResponse(f"/login?{urlencode({'next': _here(request)})}", 303)
        visit = Visit(request, caller)
        try:
            context = await screen.gather(visit)
        except SagaError as error:
            return self.failed(visit, error, section=screen.section)
        around: Context = {"section": screen.section, "attention": await self._attention()}
        if screen.live and not context.get("still"):
            around["live"] = LIVE + visit.here
        return self.render(visit, screen.template, around | context)

    def render(
        self, visit: Visit, template: str, context: Context, *, status: int = 200
    ) -> HTMLResponse:
        """A page with everything around it."""
        nonce = self.forms.nonce(visit.request)
        given = self._around(visit, nonce) | context
        page = self._environment.get_template(template).render(given)
        response = HTMLResponse(page, status, headers=dict(HEADERS))
        self.forms.remember(visit.request, response, nonce)
        return response

    def failed(self, visit: Visit, error: SagaError, *, section: str = "") -> HTMLResponse:
        """One of our errors as a page."""
        status = status_of(error.code)
        context = {"section": section, "error": error, "status": status}
        response = self.render(visit, "error.html", context, status=status)
        if status == 503:
            response.headers.update(come_back(getattr(error, "retry_after", None)))
        return response

    async def regions(self, screen: Screen, visit: Visit) -> dict[str, str]:
        """The parts of a page that are kept up to date, by the id of their element."""
        nonce = self.forms.nonce(visit.request)
        given = self._around(visit, nonce) | await screen.gather(visit)
        given["attention"] = await self._attention()
        return {
            name: block(template, name, given)
            for name, template in self._live_blocks(screen.template).items()
        }

    def _live_blocks(self, name: str) -> dict[str, Template]:
        if name not in self._live:
            found = blocks(self._environment, name).items()
            self._live[name] = {block: at for block, at in found if block.startswith("live_")}
        return self._live[name]

    async def _attention(self) -> Count | None:
        """How many sagas take a human; None: nobody knows just now."""
        try:
            self._known_stuck = await self._stuck.answer()
        except SagaError:
            self._known_stuck = None
        return self._known_stuck

    def _around(self, visit: Visit, nonce: str) -> Context:
        request, access = visit.request, self.desk.access
        theme = request.cookies.get(THEME_COOKIE)
        as_of(visit.now, cookie(request, ZONE_COOKIE))
        return {
            "caller": visit.caller,
            "guarded": access.guarded,
            "read_only": access.read_only,
            "proof": self.forms.proof(nonce),
            "here": visit.here.removeprefix(LIVE),
            "theme": theme if theme in THEMES else None,
            "sections": self.sections,
            "tabs": self.tabs,
            "saga_tabs": TABS,
            "now": visit.now,
            "section": "",
            "attention": self._known_stuck,
            "live": None,
        }


def _here(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path

"""Templates: where they are, and what every one of them may use.

Filters and macros are not given the context of the page that is being rendered, so its time and
the reader's zone stand beside it, see `as_of`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, nodes
from markupsafe import Markup

from es_saga.web.dashboard import looks, words

HERE: Final = Path(__file__).parent
STATIC: Final = "/static"

_zone: ContextVar[tzinfo] = ContextVar("zone", default=UTC)
_now: ContextVar[float] = ContextVar("now", default=0.0)


def as_of(now: float, zone: str) -> None:
    """What is rendered from here on, in this task, is rendered at this time for this zone."""
    _now.set(now)
    _zone.set(words.zone(zone))


@cache
def asset(name: str) -> str:
    """The address of a static file; it changes with the file, which may so be kept for ever."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()[:12]
    return f"{STATIC}/{digest}/{name}"


def link(path: str, /, **parameters: object) -> str:
    """A path with parameters; those that are empty are left out.

    >>> link("/sagas", status="stuck", type=None)
    '/sagas?status=stuck'
    """
    given = {key: value for key, value in parameters.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def saga_path(saga_id: str, *more: str) -> str:
    """Where a saga's pages are."""
    return "/".join(("/sagas", quote(saga_id, safe=""), *more))


def blocks(made: Environment, name: str) -> dict[str, Template]:
    """The blocks of a template and of those that it extends, each with where it is written."""
    found: dict[str, Template] = {}
    wanted: str | None = name
    while wanted is not None:
        template = made.get_template(wanted)
        found = dict.fromkeys(template.blocks, template) | found
        assert made.loader is not None, "templates come from a folder"
        source = made.parse(made.loader.get_source(made, wanted)[0])
        extends = next(iter(source.find_all(nodes.Extends)), None)
        wanted = None if extends is None else extends.template.as_const()
    return found


def block(template: Template, name: str, given: dict[str, Any]) -> str:
    """One block of a template, alone."""
    return "".join(template.blocks[name](template.new_context(given)))


def environment() -> Environment:
    """The templates."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Callable[..., Any]] = {
        "clock": _clock,
        "moment": _moment,
        "ago": _ago,
        "span": words.span,
        "number": words.number,
        "rate": words.rate,
        "line": words.on_one_line,
        "marked": words.marked,
        "data": words.data,
        "svg": Markup,
    }
    made.filters.update(filters)
    # Declared as holding nothing but its own defaults.
    known = cast(dict[str, Any], made.globals)
    known |= {
        "asset": asset,
        "link": link,
        "saga_path": saga_path,
        "look": looks,
        "STATUSES": looks.STATUSES,
    }
    # Macros of one module, known to every template and to blocks that are rendered alone.
    known["ui"] = made.get_template("parts.html").module
    return made


def _clock(at: float) -> str:
    return words.clock(at, _zone.get())


def _moment(at: float) -> str:
    return words.moment(at, _zone.get())


def _ago(at: float) -> Markup:
    """A time as its age; which is right only at first, so `app.js` goes on counting."""
    return Markup('<time datetime="{}" title="{}" data-at="{}">{}</time>').format(
        datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        _moment(at),
        f"{at:.3f}",
        words.age(_now.get() - at),
    )

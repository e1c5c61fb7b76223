"""Time travel: a saga as it was after any of its events, what that event changed, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from es_saga.core.errors import InvalidInput, SagaError
from es_saga.core.events import SagaEvent
from es_saga.replay import Change, Divergence, Replay, diverges, scene
from es_saga.testing.history import plain
from es_saga.web.dashboard import saga
from es_saga.web.dashboard.forks import fork_of
from es_saga.web.dashboard.page import Context, Pages, Screen, Visit
from es_saga.web.dashboard.rendering import link, saga_path
from es_saga.web.dashboard.steps import groups, told_after

_TIMES: Final = frozenset({"started", "due", "ended", "closed", "deadline"})
"""Fields of a saga that are seconds since the epoch."""


def screens(pages: Pages) -> Sequence[Screen]:
    """The page; it does not move by itself, for the reader is somewhere else in time."""

    async def gather(visit: Visit) -> Context:
        around = await saga.head(pages, visit, "travel")
        replay = await pages.desk.replay(visit.saga_id())
        version = _version(visit.query.get("at"), len(replay))
        moment = replay.at(version)
        path = saga_path(visit.saga_id(), "travel")
        return around | {
            "count": len(replay),
            "moment": moment,
            "since": moment.event.at - around["saga"].created,
            "kinds": [type(event).__name__ for event in replay.events],
            "actor": getattr(moment.event, "actor", None),
            "changes": [_change(change) for change in moment.changes],
            "commands": moment.commands,
            "state": _kept(plain(moment.after)),
            "steps": [*groups(told_after(moment.after, around["plan"]))],
            "path": path,
            "to_previous": link(path, at=version - 1) if version > 1 else None,
            "to_next": link(path, at=version + 1) if version < len(replay) else None,
            **await _with_code(pages, replay, visit.query),
        }

    return [Screen("/sagas/{saga_id}/travel", "travel.html", "sagas", gather, live=False)]


def _version(text: str | None, last: int) -> int:
    """The event that a URL names; the last one unless it names any.

    Raises:
        InvalidInput: that is no number.
    """
    if text is None:
        return last
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidInput(f"{text[:40]!r} is no event.", hint=f"Write a number from 1 to {last}.")
    return min(max(int(text), 1), last)


def _change(change: Change) -> dict[str, Any]:
    return {
        "path": change.path,
        "is_time": change.path.rpartition(".")[2] in _TIMES,
        "before": change.before,
        "after": change.after,
    }


def _kept(value: Any) -> Any:
    """A state without what is not there."""
    if isinstance(value, dict):
        pairs = cast(dict[str, Any], value).items()
        return {key: _kept(own) for key, own in pairs if own not in (None, [], {}, False)}
    return value


async def _with_code(pages: Pages, replay: Replay, query: Mapping[str, str]) -> Context:
    """What takes today's code: whether it decides the same, and the history as a test."""
    desk, origin = pages.desk, replay.state.origin
    definition = desk.code.get((origin.saga_type, origin.definition))
    found: Context = {"code": definition is not None, "same": None, "divergence": None}
    found |= {"test": None, "untold": None, "fork": None}
    if definition is None:
        return found
    found["fork"] = await fork_of(pages, definition, replay.saga_id, query)
    if "check" not in query:
        return found
    try:
        # Decided on what really stands there; of what comes of it, values are not shown.
        real = await desk.history(replay.saga_id)
        divergence = await desk.think(diverges, definition, real)
        found["same"] = divergence is None
        if divergence is not None:
            found["divergence"] = _diverged(replay, divergence)
        found["test"] = await desk.think(scene, definition, replay)
    except SagaError as error:  # it says why it cannot be told; the rest of the page is as good
        found["untold"] = error
    return found


def _diverged(replay: Replay, found: Divergence) -> Context:
    beyond = found.version > len(replay)
    return {
        "version": found.version,
        "what": None if beyond else replay.at(found.version).reaction.what,
        "recorded": _name(found.recorded),
        "today": _name(found.today),
        "paths": [change.path for change in found.changes],
        "why": found.why,
    }


def _name(event: SagaEvent | None) -> str | None:
    return None if event is None else type(event).__name__

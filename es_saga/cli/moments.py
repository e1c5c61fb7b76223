"""A moment of a saga as lines for people, in rich's markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from es_saga.cli.console import clock, escape, styled_status
from es_saga.cli.looks import look_of

if TYPE_CHECKING:
    from es_saga.core.state import SagaState, Work
    from es_saga.replay import Change, Moment, Replay

MAX_VALUE_CHARS: Final = 100
"""Longest value in a line; `-o json` has it whole."""

_TIMES: Final = frozenset({"due", "started", "ended", "closed", "deadline"})
"""Fields that are seconds since the epoch."""

_WORK_STYLE: Final = {
    "succeeded": "green",
    "refused": "red",
    "failed": "red",
    "unknown": "red",
    "backoff": "yellow",
    "started": "cyan",
    "skipped": "dim",
}


def head_of(moment: Moment, replay: Replay | None = None) -> str:
    """The event itself, on one line; with the replay, right below the others."""
    from es_saga.core.gist import gist

    event = moment.event
    around = [moment] if replay is None else replay.moments
    number = len(str(len(around) if replay else moment.version))
    kind, step = type(event).__name__, _step(moment)
    kinds = max(len(type(one.event).__name__) for one in around)
    steps = max(len(_step(one)) for one in around)
    parts = [
        f"[dim]{moment.version:>{number}}  {clock(event.at)}[/]",
        f"{look_of(kind).of(kind)}{' ' * (kinds - len(kind))}",
        *([f"[bold]{escape(step)}[/]{' ' * (steps - len(step))}"] if steps else []),
        escape(short(gist(event))),
    ]
    return "  ".join(parts).rstrip()


def _step(moment: Moment) -> str:
    return getattr(moment.event, "step", None) or ""


def lines_of(moment: Moment) -> Iterator[str]:
    """What it changed, and what would be sent because of it."""
    for change in moment.changes:
        if change.path.endswith(".sent"):
            continue  # what is sent is told below, and that it may be forgotten later is no news
        before, after = _value(change, change.before), _value(change, change.after)
        yield f"[dim]{escape(change.path)}[/]  {escape(before)} [dim]→[/] {escape(after)}"
    for command in moment.commands:
        envelope = command.envelope
        data = escape(short(_json(envelope.data)))
        yield f"[magenta]send[/] {envelope.type} {data} [dim]to {escape(command.subject)}[/]"


def standing_of(state: SagaState) -> Iterator[str]:
    """Where the saga stands: its status, and each step that was begun."""
    yield f"[bold]{escape(state.saga_id)}[/]  {styled_status(state.status.value)}"
    if state.failure is not None:
        where = f" at {escape(state.failure.step)}" if state.failure.step else ""
        yield f"[dim]reason[/]  [yellow]{escape(short(state.failure.why))}[/]{where}"
    wide = max((len(name) for name in state.steps), default=0)
    for name, own in state.steps.items():
        undo = "" if own.undo is None else f"  [dim]undo[/] {_work(own.undo)}"
        yield f"  {escape(name.ljust(wide))}  {_work(own.do)}{undo}"


def _work(work: Work) -> str:
    status = work.status.value
    told = f"[{_WORK_STYLE.get(status, 'default')}]{status}[/]"
    if work.attempt > 1:
        told += f" [dim]attempt {work.attempt}[/]"
    if work.error:
        told += f" {escape(short(work.error))}"
    elif work.reply is not None:
        told += f" [dim]{escape(short(_json(work.reply)))}[/]"
    return told


def _value(change: Change, value: Any) -> str:
    if value is None:
        return "nothing"
    if change.path.rpartition(".")[2] in _TIMES and isinstance(value, (int, float)):
        return clock(value)
    return short(value if isinstance(value, str) else _json(value))


def short(text: str) -> str:
    """On one line, and not too long for it."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_VALUE_CHARS else f"{line[: MAX_VALUE_CHARS - 1]}…"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)

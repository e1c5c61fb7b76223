"""What an event changes: two states of a saga, told apart field by field.

>>> from es_saga.core.state import Work, WorkStatus
>>> before = Work(WorkStatus.STARTED, attempt=1, started=0.0, due=30.0)
>>> after = before._replace(status=WorkStatus.SUCCEEDED, due=None)
>>> print(*changes(before, after, "steps.charge.do"), sep="; ")
steps.charge.do.status: started -> succeeded; steps.charge.do.due: 30.0 -> nothing
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from es_saga.core.state import SagaState, Sent, StepState
from es_saga.testing.history import plain

NOTHING: Final = "nothing"
"""How a value that is not there is told."""

_COUNTING: Final = frozenset({"version", "updated"})
"""Fields of a saga that every event moves on: they say nothing about this one."""

_NO_STEPS: Final[Mapping[str, StepState]] = {}


class Change(NamedTuple):
    """One field that is not what it was; None: it was not, or is not, there."""

    path: str
    """Names with dots between them: `steps.charge.do.status`."""
    before: Any
    """As JSON has it."""
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {told(self.before)} -> {told(self.after)}"


def told(value: object) -> str:
    """A value of a change on one line."""
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def changes(before: Any, after: Any, path: str = "") -> list[Change]:
    """From one state to the next; None: before the start.

    A command, a reply, an input are one value each. A field that has its default where there
    was nothing at all is no change.
    """
    return list(_changes(before, after, path))


def _changes(before: Any, after: Any, path: str) -> Iterator[Change]:
    if before is after:
        return
    known = before if before is not None else after
    if isinstance(known, Sent) or not hasattr(known, "_fields"):
        if before != after:
            yield Change(path, _shown(before), _shown(after))
        return
    kind = type(cast(NamedTuple, known))
    for name in kind._fields:
        if kind is SagaState and name in _COUNTING:
            continue
        where = f"{path}.{name}" if path else name
        was, now = getattr(before, name, None), getattr(after, name, None)
        if kind is SagaState and name == "steps":
            yield from _of_steps(was or _NO_STEPS, now or _NO_STEPS, where)
        elif (before is None or after is None) and known is not None and _usual(known, name):
            continue
        else:
            yield from _changes(was, now, where)


def _of_steps(
    before: Mapping[str, StepState], after: Mapping[str, StepState], path: str
) -> Iterator[Change]:
    for name in dict.fromkeys([*before, *after]):
        yield from _changes(before.get(name), after.get(name), f"{path}.{name}")


def _shown(value: Any) -> Any:
    """As plain data; that a command was sent, as most are, is not said."""
    found = plain(value)
    if isinstance(value, Sent) and not value.expected:
        del found["expected"]
    return found


def _usual(known: NamedTuple, field: str) -> bool:
    """Whether a field has its default."""
    defaults = type(known)._field_defaults
    return field in defaults and getattr(known, field) == defaults[field]


def changes_of_json(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """From one JSON value to another; objects are looked into, lists are one value each.

    >>> [str(change) for change in changes_of_json({"sku": "tea", "n": 1}, {"sku": "lamp", "n": 1})]
    ['sku: tea -> lamp']
    """
    if before == after:
        return
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield Change(path, before, after)
        return
    had, have = cast(Mapping[str, Any], before), cast(Mapping[str, Any], after)
    for name in dict.fromkeys([*had, *have]):
        where = f"{path}.{name}" if path else name
        yield from changes_of_json(had.get(name), have.get(name), where)

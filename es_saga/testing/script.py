"""A run as a Python file that runs by itself: whoever gets it sees what its finder saw."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.errors import InvalidInput
from es_saga.engine.manager import ProcessManager
from es_saga.participant.fence import judge

if TYPE_CHECKING:
    from es_saga.testing.outcome import Outcome

_FILE = '''\
"""{title}"""

from es_saga.testing.faults import Fault, FaultPlan, Kind
from es_saga.testing.world import Begin, World
{setup}

plan = FaultPlan(
    faults=({faults}),
    seed={plan.seed},
    managers={plan.managers},
    scarce={plan.scarce!r},
)
begins = [{begins}]

outcome = World(sagas, faults=plan{instead}).run(begins)
print(outcome)
raise SystemExit(bool(outcome.findings))
'''


def script(outcome: Outcome, setup: str | None) -> str:
    """See `Outcome.script`."""
    world = outcome.world
    lines = [_sagas(world.sagas) if setup is None else setup.rstrip()]
    instead = ""
    for option, given, usual in (
        ("manager", world.manager, ProcessManager),
        ("fence", world.fence, judge),
    ):
        if given is not usual:
            name = _name(given)
            lines.append(f"from {given.__module__} import {name}")
            instead += f", {option}={name}"
    titles = [str(finding) for finding in outcome.findings] or ["No finding."]
    return _FILE.format(
        title="\n".join(titles).replace("\\", "\\\\").replace('"""', "'''"),
        setup="\n".join(lines),
        faults=_list([repr(fault) for fault in outcome.plan.faults]),
        begins=_list([repr(begin) for begin in outcome.begins]),
        plan=outcome.plan,
        instead=instead,
    )


def _list(items: list[str]) -> str:
    return "".join(f"\n    {item}," for item in items) + ("\n" if items else "")


def _name(given: Any) -> str:
    return str(given.__qualname__)


def _sagas(sagas: tuple[Saga[Any] | Definition, ...]) -> str:
    """Lines that import the saga types from where they are defined."""
    names: list[str] = []
    lines: list[str] = []
    for saga in sagas:
        module, name = _place(saga)
        lines.append(f"from {module} import {name}")
        names.append(name)
    return "\n".join([*lines, "", f"sagas = [{', '.join(names)}]"])


def _place(saga: Saga[Any] | Definition) -> tuple[str, str]:
    """The module that has a saga, and under which name."""
    steps = saga.steps if isinstance(saga, Saga) else saga.steps.values()
    for step in steps:
        for name, value in vars(sys.modules[step.fn.__module__]).items():
            if isinstance(value, Saga) and (value is saga or value.definition == saga):
                return step.fn.__module__, name
    raise InvalidInput(
        f"The saga {saga.name!r} stands in no module.",
        hint="Pass `setup`: lines that define `sagas`.",
    )

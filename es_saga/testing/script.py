"""A run as a Python file that runs by itself: whoever gets it sees what its finder saw."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.errors import InvalidInput
from es_saga.engine.manager import ProcessManager
from es_saga.participant.fence import judge
from es_saga.testing.faults import FaultPlan

if TYPE_CHECKING:
    from es_saga.testing.outcome import Outcome

_FILE = '''\
"""{title}"""

{imports}

{sagas}
plan = {plan}
begins = [{begins}
]

outcome = World(sagas, faults=plan{instead}).run(begins)
print(outcome)
raise SystemExit(bool(outcome.findings))
'''


def script(outcome: Outcome, setup: str | None) -> str:
    """See `Outcome.script`."""
    world = outcome.world
    imports = [
        "from es_saga.testing.faults import Fault, FaultPlan, Kind",
        "from es_saga.testing.world import Begin, World",
    ]
    if setup is None:
        places = [_place(saga) for saga in world.sagas]
        imports += dict.fromkeys(f"from {module} import {name}" for module, name in places)
        setup = f"sagas = [{', '.join(name for _, name in places)}]"
    instead = ""
    for option, given, usual in (
        ("manager", world.manager, ProcessManager),
        ("fence", world.fence, judge),
    ):
        if given is not usual:
            name: str = given.__qualname__
            imports.append(f"from {given.__module__} import {name}")
            instead += f", {option}={name}"
    if world.replies:
        types = {one for command, reply in world.replies.items() for one in (command, type(reply))}
        imports += sorted(f"from {one.__module__} import {one.__name__}" for one in types)
        replies = (f"{command.__name__}: {reply!r}" for command, reply in world.replies.items())
        instead += f", replies={{{', '.join(replies)}}}"
    titles = [str(finding) for finding in outcome.findings] or ["No finding."]
    return _FILE.format(
        title="\n".join(titles).replace("\\", "\\\\").replace('"""', "'''"),
        imports="\n".join(imports),
        sagas=setup.rstrip(),
        plan=_plan(outcome.plan),
        begins="".join(f"\n    {begin!r}," for begin in outcome.begins),
        instead=instead,
    )


def _plan(plan: FaultPlan) -> str:
    faults = "".join(f"\n        {fault!r}," for fault in plan.faults)
    lines = [f"    faults=({faults}\n    ),"]
    lines += [
        f"    {name}={getattr(plan, name)!r},"
        for name in ("seed", "managers", "scarce")
        if getattr(plan, name) != getattr(FaultPlan(), name)
    ]
    return "\n".join(["FaultPlan(", *lines, ")"])


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

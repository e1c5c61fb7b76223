"""Where a saga stands in the user's own modules, and how a test gets at it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import es_saga
from es_saga.core.compiled import Definition
from es_saga.core.definition import Saga
from es_saga.core.errors import DefinitionError, InvalidInput


class Home(NamedTuple):
    """A saga by the name under which it can be imported."""

    saga: Saga[Any]
    module: str
    name: str
    """Of the saga, or of the app that has it."""
    in_app: bool = False


def home_of(definition: Definition, app: str | None = None) -> Home:
    """Where a saga can be imported from.

    Args:
        app: `module:attribute`; its module is looked at first, its sagas last.

    Raises:
        InvalidInput: it stands in no module, and no app has it.
    """
    module, _, attribute = (app or "").partition(":")
    functions = (step.fn.__module__ for step in definition.steps.values())
    messages = definition.data.__module__
    beside = (messages, messages.rpartition(".")[0])  # a choreography has no functions
    for name in dict.fromkeys([*filter(None, [module]), *functions, *filter(None, beside)]):
        for found, value in vars(sys.modules.get(name, ModuleType(name))).items():
            if _is(value, definition):
                return Home(value, name, found)
    sagas = getattr(getattr(sys.modules.get(module), attribute or "-", None), "sagas", ())
    for saga in sagas:
        if _is(saga, definition):
            return Home(saga, module, attribute, in_app=True)
    raise InvalidInput(
        f"Saga {definition.name!r} stands in no module that a test could import.",
        hint="Make it a name at the top of a module, or say which app has it.",
    )


def top_package(home: Home) -> str:
    """The project's own top package; empty where the library stands in the same folder.

    Import sorters put the two into groups of their own, or into one.
    """
    top = home.module.partition(".")[0]
    file = getattr(sys.modules.get(top), "__file__", None)
    paths = list(getattr(sys.modules.get(top), "__path__", ()))
    root = Path(paths[0]).parent if paths else Path(file).parent if file else None
    return "" if root == Path(es_saga.__path__[0]).parent else top


def _is(value: object, definition: Definition) -> bool:
    try:
        return isinstance(value, Saga) and value.definition == definition
    except DefinitionError:  # another one that stands there, too
        return False

"""Finds the app that a command is about: `module:attribute`, or what is meant by it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from es_saga.app import App
from es_saga.core.errors import InvalidInput, SagaError

if TYPE_CHECKING:  # with the extra `web` only
    pass


def load(reference: str) -> Any:
    """The object that `module:attribute` names; modules of the working directory first.

    Raises:
        InvalidInput: there is none.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise InvalidInput(
            f"{reference!r} names nothing.", hint="Write module:attribute, as domain.orders:app."
        )
    for folder in (*_examples(), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except SagaError:
        raise
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module_name}.".startswith(f"{missing}."):
            raise InvalidInput(
                f"There is no module {missing!r} here.", hint="Run it from your project's folder."
            ) from error
        raise InvalidInput(
            f"Module {module_name!r} cannot be imported: "
            f"{type(error).__name__}: {error}{_place(error)}.",
            hint="ES_SAGA_LOG_LEVEL=debug shows the traceback.",
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        known = [name for name, found in vars(module).items() if isinstance(found, App)]
        hint = f"Its apps: {', '.join(known)}." if known else "It has no App at all."
        raise InvalidInput(f"Module {module_name!r} has no {attribute!r}.", hint=hint) from error


def _place(error: Exception) -> str:
    """File and line that an import came to grief at."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or isinstance(error, SyntaxError):  # says it itself
        return ""
    return f" ({last.tb_frame.f_code.co_filename}, line {last.tb_lineno})"


def _examples() -> Iterator[str]:
    """Where the reference business is: shipped with the package, or beside it in its repository."""
    package = Path(__file__).parents[1]
    for folder in (package / "scaffold", package.parent):
        if (folder / "domain" / "orders").is_dir():
            yield str(folder)
            return


def load_app(reference: str) -> App:
    """An app.

    Raises:
        InvalidInput: the reference names something else, or nothing.
        DefinitionError: its definitions cannot be run.
    """
    app = load(reference)
    if not isinstance(app, App):
        raise InvalidInput(
            f"{reference!r} is {type(app).__name__}, not App.",
            hint="Make one: app = App('name', sagas=[...]).",
        )
    return app

"""The command that begins a project: a small one that is whole, to be changed into one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from es_saga.cli.console import QuietOption, say

TEMPLATE = Path(__file__).parents[1] / "scaffold" / "project"
"""A whole project, but for its name."""

PLACEHOLDER = "__project__"
"""Stands for the name, in paths and in texts."""

LONGEST_NAME = 40
"""Characters; the name stands in subjects, file names and databases."""

LEFT_OUT = "cache"
"""In the name of a folder: what tools leave behind in a checkout."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: es-saga new bookshop")(new)


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the project, its folder, package and app.")
    ],
    quiet: QuietOption = False,
) -> None:
    """Write a project: messages, a saga, its services, tests.

    It passes its own checks as it is. A folder that exists is left alone.
    """
    _check(name)
    files = dict(_template(name))
    Path(name).mkdir()
    for path, text in files.items():
        file = Path(name) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    typer.echo(name)
    say(f"{len(files)} files written; what to do with them stands in {name}/README.md:")
    say(f"  cd {name} && es-saga check {name}:app", quiet=quiet)


def _check(name: str) -> None:
    """
    Raises:
        InvalidInput: it cannot be the name of a package, or another one has it.
        ConflictError: there is something of that name here.
    """
    import sys
    from importlib.util import find_spec
    from keyword import iskeyword

    from es_saga.core.errors import ConflictError, InvalidInput

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or iskeyword(name) or len(name) > LONGEST_NAME:
        raise InvalidInput(
            f"A project cannot be called {name!r}.",
            hint=f"Small letters, digits and '_', at most {LONGEST_NAME} of them and a letter "
            "first, and no word of Python's own: it is a package's name.",
        )
    if Path(name).exists() or Path(name).is_symlink():
        raise ConflictError(
            f"There is a {name!r} here already; nothing was written.",
            hint="Take another name, or go to another folder.",
        )
    if name in sys.stdlib_module_names or find_spec(name) is not None:
        raise InvalidInput(
            f"There is a Python module {name!r} already, which the project would hide.",
            hint="Take another name.",
        )


def _template(name: str) -> Iterator[tuple[str, str]]:
    """The paths and texts of the project's files."""
    for file in sorted(TEMPLATE.rglob("*")):
        path = str(file.relative_to(TEMPLATE))
        if file.is_file() and LEFT_OUT not in path:
            text = file.read_text(encoding="utf-8")
            yield path.replace(PLACEHOLDER, name), text.replace(PLACEHOLDER, name)

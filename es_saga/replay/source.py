"""Python source out of values: laid out as formatters do, with the imports that it needs.

What does not fit on a line is put one item a line with a comma after the last one, which formatters
leave as it is at whatever width.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, cast

from pydantic import BaseModel

from es_saga.core.errors import InvalidInput
from es_saga.core.nested import nested_command, order_of
from es_saga.core.tcc import settled_by

WIDTH: Final = 88
"""Characters in a line, the narrowest that formatters use by default."""

STEP: Final = 4
"""Spaces by which a line is indented under another one."""


class Group(NamedTuple):
    """Items in brackets, with what stands before the bracket: a call, a list, a dictionary."""

    head: str
    items: tuple[tuple[str, str | Group], ...]
    """What stands before an item, `sku=` for one, and the item."""
    brackets: str = "()"
    always: bool = False
    """One item a line, also where all of them would fit on one."""


def laid_out(code: str | Group, indent: int, taken: int = 0) -> str:
    """As it stands in a file, from `indent` on; so many characters of the line are taken."""
    flat = _flat(code)
    if isinstance(code, str) or (not code.always and indent + taken + len(flat) <= WIDTH):
        return flat
    inside = " " * (indent + STEP)
    lines = [
        f"{inside}{before}{laid_out(item, indent + STEP, len(before) + 1)},"
        for before, item in code.items
    ]
    opening, closing = code.brackets[0], code.brackets[1]
    return "\n".join([f"{code.head}{opening}", *lines, f"{' ' * indent}{closing}"])


def _flat(code: str | Group) -> str:
    if isinstance(code, str):
        return code
    opening, closing = code.brackets[0], code.brackets[1]
    items = [f"{before}{_flat(item)}" for before, item in code.items]
    comma = "," if code.brackets == "()" and not code.head and len(items) == 1 else ""
    return f"{code.head}{opening}{', '.join(items)}{comma}{closing}"


def quoted(text: str) -> str:
    """A string, in double quotes where that needs no more escapes."""
    plain = repr(text)
    if plain.startswith("'") and '"' not in plain:
        return f'"{plain[1:-1]}"'
    return plain


class Imports:
    """The names that a file needs, under which they can be used in it."""

    def __init__(self, *taken: str) -> None:
        self._names: dict[str, tuple[str, str]] = {name: ("", name) for name in taken}

    def name(self, module: str, qualified: str) -> str:
        """A class or a value of a module.

        Raises:
            InvalidInput: it stands inside a function, or in no module.
        """
        top, _, rest = qualified.partition(".")
        if "<" in qualified or module in ("", "__main__"):
            raise InvalidInput(
                f"{qualified} cannot be imported.", hint="Move it to the top of a module."
            )
        alias = top
        number = 2
        while self._names.setdefault(alias, (module, top)) != (module, top):
            alias, number = f"{top}_{number}", number + 1
        return f"{alias}.{rest}" if rest else alias

    def of(self, kind: type[Any]) -> str:
        """A class; one that follows from a hold or a child, by what makes it."""
        made = settled_by(kind)
        if made is not None:
            maker, hold = made
            return f"{self.name(settled_by.__module__, maker)}({self.of(hold)})"
        asked = order_of(kind)
        if asked is not None:
            order, saga, data = asked
            maker = self.name(order_of.__module__, nested_command.__name__)
            return f"{maker}({quoted(order)}, {quoted(saga)}, {self.of(data)})"
        return self.name(kind.__module__, kind.__qualname__)

    def lines(self, library: Sequence[str], own: str) -> str:
        """The import statements.

        Args:
            library: those of es_saga.
            own: the project's top package, whose modules come last; empty: there is one group.
        """
        modules: dict[str, list[tuple[str, str]]] = {}
        for alias, (module, name) in self._names.items():
            if module:
                modules.setdefault(module, []).append((name, alias))
        found = {module: _from(module, names) for module, names in modules.items()}
        found |= {line.split()[1]: line for line in library}
        groups: dict[bool, list[str]] = {}
        for module in sorted(found, key=str.lower):
            last = bool(own) and module.partition(".")[0] == own
            groups.setdefault(last, []).append(found[module])
        return "\n\n".join("\n".join(groups[last]) for last in sorted(groups))


def _from(module: str, names: Iterable[tuple[str, str]]) -> str:
    told = [
        name if name == alias else f"{name} as {alias}" for name, alias in sorted(names, key=_rank)
    ]
    line = f"from {module} import {', '.join(told)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in told), ")"])


def _rank(pair: tuple[str, str]) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order of import sorters."""
    name = pair[0]
    if name.isupper() and len(name) > 1:
        return 0, name.lower()
    return (1 if name[:1].isupper() else 2), name.lower()


# ── values ───────────────────────────────────────────────────────────────────────────────────────


class Values:
    """Source for values, and the imports it takes."""

    def __init__(self, imports: Imports) -> None:
        self.imports = imports

    def model(self, model: BaseModel) -> Group:
        """A model: by its fields where that gives it again, else by its JSON."""
        kind = type(model)
        fields = {
            name: value
            for name, value in ((name, getattr(model, name)) for name in kind.model_fields)
            if name in model.model_fields_set or value != kind.model_fields[name].get_default()
        }
        if _gives_again(model, fields):
            items = tuple((f"{name}=", self.value(value)) for name, value in fields.items())
            return Group(self.imports.of(kind), items)
        json = self.value(model.model_dump(mode="json"))
        return Group(f"{self.imports.of(kind)}.model_validate", (("", json),))

    def own(self, model: BaseModel) -> Group:
        """A model whose class stands in the same file."""
        fields = ((name, getattr(model, name)) for name in type(model).model_fields)
        items = tuple((f"{name}=", self.value(value)) for name, value in fields)
        return Group(type(model).__name__, items)

    def value(self, value: Any) -> str | Group:
        """A value that `is_plain`, or a model."""
        if isinstance(value, BaseModel):
            return self.model(value)
        if isinstance(value, Enum):
            return f"{self.imports.of(type(value))}.{value.name}"
        if isinstance(value, str):
            return quoted(value)
        if isinstance(value, dict):
            pairs = cast(Mapping[Any, Any], value)
            items = tuple(
                (f"{_flat(self.value(key))}: ", self.value(own)) for key, own in pairs.items()
            )
            return Group("", items, "{}")
        if isinstance(value, (list, tuple)):
            each = tuple(("", self.value(one)) for one in cast(Sequence[Any], value))
            return Group("", each, "[]" if isinstance(value, list) else "()")
        return repr(value)


def _gives_again(model: BaseModel, fields: dict[str, Any]) -> bool:
    if not all(_is_plain(value) for value in fields.values()):
        return False
    if not all(name.isidentifier() and not keyword.iskeyword(name) for name in fields):
        return False
    try:
        return type(model)(**fields) == model
    except (ValueError, TypeError):  # an alias, or a validator that wants something else
        return False


def _is_plain(value: Any) -> bool:
    """Whether its source is `repr`, or made of such."""
    if isinstance(value, BaseModel):
        names = type(value).model_fields
        return _gives_again(value, {name: getattr(value, name) for name in names})
    if isinstance(value, Enum):
        return True
    if isinstance(value, dict):
        pairs = cast(Mapping[Any, Any], value)
        return all(_is_plain(key) and _is_plain(own) for key, own in pairs.items())
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


_WORD: Final = re.compile(r"\W+")


def identifier(text: str) -> str:
    """A name made of a text.

    >>> identifier("order-2026/0001")
    'order_2026_0001'
    """
    return _WORD.sub("_", text).strip("_").lower()

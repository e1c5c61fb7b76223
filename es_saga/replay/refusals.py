"""Refusals for a test: of the user's classes where they are known, else of classes made for it."""

from __future__ import annotations

import keyword
from typing import Any, Final

from pydantic import ValidationError, create_model

from es_saga.core.errors import InvalidInput
from es_saga.core.events import Json
from es_saga.core.messages import Refusal
from es_saga.replay.answers import Refusals
from es_saga.testing.examples import example

_TYPES: Final[dict[type, str]] = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    list: "list[object]",
    dict: "dict[str, object]",
    type(None): "None",
}
"""How a field that holds such a value is annotated."""


class RefusalMaker:
    """Makes refusals as a history tells them, and remembers what had to be defined for them."""

    def __init__(self, known: Refusals) -> None:
        self._known = known
        self.made: dict[str, tuple[type[Refusal], Json]] = {}
        """Classes that are defined in the test, and the data that their fields follow."""

    def refusal(self, name: str, data: Json | None) -> Refusal:
        """A refusal of this name; None: its data was not recorded, so any will do.

        Raises:
            InvalidInput: no class can have such a name, or such fields.
        """
        kind = self._known.get(name)
        if kind is not None and name not in self.made:
            try:
                return example(kind) if data is None else kind.model_validate(data)
            except (InvalidInput, ValidationError):
                pass  # the class is another one by now: the test gets its own
        if data is None and name in self.made:
            made, fields = self.made[name]
            return made.model_validate(fields)
        return self._own(name, data or {})

    def _own(self, name: str, data: Json) -> Refusal:
        words = [name, *data]
        if not all(word.isidentifier() and not keyword.iskeyword(word) for word in words):
            raise InvalidInput(f"No class can be made for the refusal {name[:80]!r}.")
        kind, fields = self.made.get(name, (None, data))
        if kind is None:
            annotated: dict[str, Any] = dict.fromkeys(data, (Any, ...))
            kind = create_model(name, __base__=Refusal, **annotated)
            self.made[name] = kind, data
        if fields.keys() != data.keys():
            raise InvalidInput(f"The refusal {name} was told with other fields each time.")
        return kind.model_validate(data)

    def definitions(self) -> list[str]:
        """The source of the classes that were made."""
        return [
            "\n".join(
                [
                    f"class {name}(Refusal):",
                    '    """As the history tells it."""',
                    *([""] if data else []),
                    *(f"    {field}: {_TYPES[type(value)]}" for field, value in data.items()),
                ]
            )
            for name, (_, data) in self.made.items()
        ]

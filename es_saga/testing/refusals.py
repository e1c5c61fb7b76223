"""What handlers say that they may refuse with: it stands in their annotations."""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Any, get_args, get_type_hints

from es_saga.core.messages import Refusal
from es_saga.participant.kit import Participant


def refusals_of(participants: Iterable[Participant]) -> dict[str, type[Refusal] | None]:
    """By command: the first refusal its handler's annotation names, or None if it names none.

    A command is absent whose handler does not say what it returns.
    """
    found: dict[str, type[Refusal] | None] = {}
    for participant in participants:
        for name, handling in participant.commands.items():
            try:
                answer: Any = get_type_hints(handling.fn).get("return", Any)
            except Exception:  # an annotation may be any expression
                continue
            options = [one for one in get_args(answer) or (answer,) if one is not NoneType]
            if all(isinstance(one, type) and one is not Any for one in options):
                noes = [one for one in options if issubclass(one, Refusal)]
                found[name] = noes[0] if noes else None
    return found

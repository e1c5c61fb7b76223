"""By value: what is at stake decides how strictly it is done (law L69).

    ordering = ByValue(usual=order, strict=checked_order, risk=lambda o: o.pence, above=100_000)
    await sagas.start(ordering.of(data), data)

The strict saga takes the same input: it locks what the usual one leaves open, or asks a human.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from es_saga.core.definition import Saga
from es_saga.core.errors import DefinitionError
from es_saga.core.messages import Message

D = TypeVar("D", bound=Message)


class ByValue(Generic[D]):
    """Chooses between two sagas for each input.

    Args:
        risk: what is at stake in an input; pure.
        above: beyond this it takes the strict one, and so does what is no number.

    Raises:
        DefinitionError: the two do not take the same input.
    """

    def __init__(
        self, *, usual: Saga[D], strict: Saga[D], risk: Callable[[D], float], above: float
    ) -> None:
        if usual.data is not strict.data:
            fault = f"{usual.name!r} and {strict.name!r} take different inputs"
            raise DefinitionError(strict.name, [fault])
        self._usual, self._strict = usual, strict
        self._risk, self._above = risk, above

    def of(self, data: D) -> Saga[D]:
        """The saga that this input takes."""
        return self._usual if self._risk(data) <= self._above else self._strict

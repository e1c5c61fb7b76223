"""A scene of a saga that another one runs: what that parent decides.

given(shipping, BookShipping(order_id="1"), child=True)
    .expect(BookParcel).reply(ParcelBooked(parcel="p-1"))
    .held()
    .parent_undoes().expect(CancelParcel).reply()
    .compensated()
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, Generic, TypeVar

from es_saga.core.compiled import Definition
from es_saga.core.events import Parent
from es_saga.core.inputs import FromParent, Start
from es_saga.core.messages import Direction, command_id
from es_saga.core.nested import Order, closing
from es_saga.testing.stage import Stage

S = TypeVar("S")

RUN: Final = command_id("parent-1", "run", Direction.DO)
"""The command that every child in a scene was begun by."""

_ORDERS: Final[dict[Order, str]] = {
    "close": command_id("parent-1", closing("run"), Direction.DO),
    "undo": command_id("parent-1", "run", Direction.UNDO),
}
"""The commands that it is closed and undone by."""


def parent_of(definition: Definition) -> Parent:
    """The parent of a child: that may have it undone, unless it has a pivot."""
    return Parent(command_id=RUN, undoable=definition.pivot is None)


class Belonging(ABC, Generic[S]):
    """The parent's part."""

    _stage: Stage

    def parent_closes(self) -> S:
        """The parent has come to its end: what is held may complete."""
        __tracebackhide__ = True
        return self._told("close")

    def parent_undoes(self) -> S:
        """The parent is being undone, and this with it."""
        __tracebackhide__ = True
        return self._told("undo")

    def held(self) -> S:
        """All steps are done, and its parent may still have them undone."""
        __tracebackhide__ = True
        stage = self._settled()
        if not stage.saga.held:
            stage.fail(f"expected it to be held, but it is {stage.saga.status}")
        return self._at(stage)

    def _told(self, order: Order) -> S:
        __tracebackhide__ = True
        stage = self._settled()
        saga = stage.saga
        begin = Start(
            saga.saga_id,
            saga.origin.data,
            message_id=f"{order}-{len(stage.inputs)}",
            parent=saga.origin.parent,
        )
        return self._at(stage.feed(FromParent(begin, order, _ORDERS[order])))

    @abstractmethod
    def _settled(self) -> Stage:
        """The stage, once all that was sent has been expected."""

    @abstractmethod
    def _at(self, stage: Stage) -> S:
        """The scene there."""

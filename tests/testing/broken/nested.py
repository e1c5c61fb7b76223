"""Sagas that other sagas run: broken (L59 and L60)."""

from __future__ import annotations

from es_saga import Saga
from es_saga.core.events import Parent, ParentDecided, SagaHeld
from es_saga.testing.story import Story, System
from tests.core.sagas import Trip, chain
from tests.testing.broken import BrokenSystem
from tests.testing.told import SAGA, Told

_CHILD = chain("a")
_PARENT = Saga("parent", Trip)
_BY = Parent(command_id=f"{SAGA}/run/do", undoable=True)


@_PARENT.saga(_CHILD)
def run(trip: Trip) -> Trip:
    return trip


def _parent() -> Told:
    return Told(_PARENT).do("run")


def _child() -> Told:
    return Told(_CHILD, parent=_BY).do("a")


def _held() -> Told:
    return _child().ok("a").add(SagaHeld, {})


def _decided(child: Told, command: str, *, close: bool) -> Told:
    return child.add(ParentDecided, {}, close=close, command_id=f"{SAGA}/{command}")


def _system(parent: Told, child: Told) -> System:
    of_child: Story = child.story()._replace(saga_id=f"{SAGA}--run")
    return System([parent.story(), of_child])


def kept() -> tuple[Told, Story]:
    """A parent whose child an operator cancelled: it turned back when it was told."""
    child = _child().cancelled().back().no("a").compensated()
    parent = _parent().no("run").back(step="run").compensated()
    return parent, child.story()._replace(saga_id=f"{SAGA}--run")


BROKEN_SYSTEMS = [
    BrokenSystem(
        "L59",
        _system(_parent().ok("run"), _child().ok("a").completed()),
        "it completed, and s-1 had not let it",
        4,
    ),
    BrokenSystem(
        "L59",
        _system(_parent().ok("run"), _decided(_held(), "close_run/do", close=True)),
        "s-1 never sent s-1/close_run/do",
        5,
    ),
    BrokenSystem(
        "L59",
        _system(_parent().ok("run"), _held().back()),
        "it was turned back while s-1 held it",
        5,
    ),
    BrokenSystem(
        "L59",
        _system(_parent().ok("run").do("close_run").ok("close_run").completed(), _held()),
        "it is held, and s-1 has ended",
    ),
    BrokenSystem(
        "L59",
        _system(
            _parent().ok("run").do("close_run").back().undo("run").undone("run").compensated(),
            _decided(_held(), "close_run/do", close=True).completed(),
        ),
        "it completed, and s-1 was undone",
    ),
    BrokenSystem(
        "L60",
        _system(_parent().back(), _child().cancelled().back()),
        "it was turned back, and nobody had asked for it",
        3,
    ),
    BrokenSystem(
        "L60",
        _system(_parent().back(step="run"), _child().turned_back().back()),
        "it was turned back before run was answered",
        3,
    ),
]

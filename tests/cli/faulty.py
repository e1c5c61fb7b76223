"""An app that cannot be run, and so cannot be imported."""

from __future__ import annotations

from es_saga import App, Saga
from tests.cli.bakery import Bake, Cake

faulty = Saga("faulty", Cake)


@faulty.step
def never_undone(c: Cake) -> Bake:
    return Bake(name=c.name)


@faulty.step(after="nobody")
def after_nobody(c: Cake) -> Bake:
    return Bake(name=c.name)


app = App("faulty", sagas=[faulty])

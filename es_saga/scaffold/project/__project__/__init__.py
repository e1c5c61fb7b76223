"""Sagas of __project__, and the services that take part in them.

    messages      what is said between them
    saga          the steps of an order, and how each is undone
    participants  the services: each has a database of its own
    bookkeeping   what must be true of their books, whatever breaks on the way
    board         a read model: where each order stands

`app` is what `es-saga run` and `es-saga check` are told: __project__:app.
"""

from es_saga import App

from __project__.bookkeeping import invariant
from __project__.participants import payments, shipping, stock
from __project__.saga import order

app = App("__project__", sagas=[order], participants=[stock, payments, shipping])

__all__ = ["app", "invariant", "order"]

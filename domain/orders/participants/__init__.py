"""The shop's services: the order book, payments, stock, shipping.

Each has tables of its own and shares none. What a handler writes is committed together with the
note that its command was carried out, or not at all; so a command that comes twice acts once, and
an undo reaches its handler only when there is something to undo.

`totals` of each counts what it holds, and shows that nothing is created or lost on the way.
"""

from domain.orders.participants import card_payments, carrier, order_book, stockroom
from domain.orders.participants.card_payments import payments
from domain.orders.participants.carrier import shipping
from domain.orders.participants.order_book import orders
from domain.orders.participants.stockroom import stock

totals = {
    "orders": order_book.totals,
    "payments": card_payments.totals,
    "stock": stockroom.totals,
    "shipping": carrier.totals,
}

__all__ = ["orders", "payments", "shipping", "stock", "totals"]

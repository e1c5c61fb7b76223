"""The shop: four services, and four ways to sell.

    order     create the order, charge the card, reserve the stock, ship the parcel
    collect   reserve, charge, create: the goods wait at the counter
    express   charge, reserve, ship: paid at once, and no order is kept
    counter   create, reserve, charge: the charge is the point of no return

All of them take a `PlaceOrder`. The services come with their faults to be had on demand, for
demonstrations and for tests; see `domain.faults`.
"""

from domain.faults import with_faults
from domain.orders.click_and_collect import collect
from domain.orders.counter_sale import counter
from domain.orders.express_order import express
from domain.orders.participants import orders, payments, shipping, stock
from domain.orders.saga import order
from es_saga import App

app = App(
    "orders",
    sagas=[order, collect, express, counter],
    participants=[
        with_faults(orders, field="customer"),
        with_faults(payments, field="card"),
        with_faults(stock, field="sku"),
        with_faults(shipping, field="town"),
    ],
)

__all__ = ["app", "collect", "counter", "express", "order"]

"""Wrong uses of scenes: both type checkers must object to each marked line."""

from __future__ import annotations

from es_saga import Command, Message, Refusal, Saga
from es_saga.testing import given


class PlaceOrder(Message):
    sku: str


class StockReserved(Message):
    reservation: str


class CardCharged(Message):
    receipt: str


class OutOfStock(Refusal):
    sku: str


class ReserveStock(Command[StockReserved]):
    to = "stock"


class ReleaseStock(Command[None]):
    to = "stock"


order = Saga("order", PlaceOrder)
reserved = StockReserved(reservation="r")
given(order, reserved)  # error: another saga's input
given(order, {"sku": "tea"})  # error: no message
scene = given(order, PlaceOrder(sku="tea"))

scene.expect(StockReserved)  # error: no command
scene.expect("ReserveStock")  # error: a name is no command
scene.expect()  # error: nothing to expect; that is nothing_sent
scene.reply(reserved)  # error: nothing was expected that could be answered

asked = scene.expect(ReserveStock)
asked.reply(CardCharged(receipt="c"))  # error: another command's reply
asked.reply()  # error: it answers with more than success
asked.reply(None)  # error: the same, spelt out
asked.reply(OutOfStock(sku="tea"))  # error: a refusal is no reply
asked.refuse(reserved)  # error: a reply is no refusal
asked.late(CardCharged(receipt="c"))  # error: another command's reply
asked.late()  # error: it answers with more than success
asked.resolve(CardCharged(receipt="c"))  # error: another command's reply
asked.fail(OSError)  # error: the name of an error, not its class
asked.timeout(3)  # error: options are given by name

scene.expect(ReleaseStock).reply(reserved)  # error: it answers with nothing but success
scene.on(ReleaseStock).resolve(reserved)  # error: the same
scene.expect(ReserveStock, ReleaseStock).reply(reserved)  # error: which of the two
scene.stuck("reserve")  # error: a command, not the name of a step
scene.compensated(owing=ReleaseStock)  # error: a list of them
scene.resume("reserve")  # error: a command, not the name of a step
scene.resend(reserved)  # error: a command, not a reply
scene.compensate(ReserveStock)  # error: the whole saga, and this is no reason
scene.resend().reply(reserved)  # error: what is sent again is to be expected again

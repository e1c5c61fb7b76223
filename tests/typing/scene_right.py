"""Right uses of scenes: both type checkers must have nothing to say."""

from __future__ import annotations

from typing import assert_type

from es_saga import Command, Message, Refusal, Saga
from es_saga.testing import Asked, Scene, given


class PlaceOrder(Message):
    sku: str


class StockReserved(Message):
    reservation: str


class ReservedByHand(StockReserved):
    clerk: str


class OutOfStock(Refusal):
    sku: str


class ReserveStock(Command[StockReserved]):
    to = "stock"
    sku: str


class ReleaseStock(Command[None]):
    to = "stock"


order = Saga("order", PlaceOrder)
scene = given(order, PlaceOrder(sku="tea"), saga_id="o-1", key="k")
assert_type(scene, Scene)

asked = scene.expect(ReserveStock)
assert_type(asked, Asked[StockReserved])
assert_type(scene.expect(ReserveStock(sku="tea")), Asked[StockReserved])
assert_type(scene.expect(ReserveStock, ReleaseStock()), Scene)
assert_type(scene.on(ReleaseStock), Asked[None])

assert_type(asked.reply(StockReserved(reservation="r")), Scene)
asked.reply(ReservedByHand(reservation="r", clerk="bob"))
asked.refuse(OutOfStock(sku="tea")).nothing_sent()
asked.fail("OSError", "the roof is leaking", attempts=2, retry_after=1.5)
asked.timeout(attempts=3).wait(1.5).duplicate()
asked.late(StockReserved(reservation="r"), attempt=2)
asked.late(OutOfStock(sku="tea"))
asked.resolve(StockReserved(reservation="r"), reason="saw it", actor="bob")
asked.resolve_not_done(reason="saw it")

undo = scene.expect(ReleaseStock)
undo.reply().compensated(owing=[ReleaseStock])
undo.reply(None).completed()
undo.late()
undo.late(attempt=2)
undo.resolve(reason="by hand")

scene.cancel("no longer wanted", actor="ann")
assert_type(scene.compensate("it rains").resume(ReserveStock).resend(actor="bob"), Scene)
scene.retry().retry(ReserveStock).skip(ReleaseStock, reason="never mind").stuck(ReserveStock)
assert_type(scene.resume().resume(ReserveStock).resend().resend(ReleaseStock, actor="ann"), Scene)
assert_type(asked.resend(reason="they lost it").compensate("enough", actor="ann"), Scene)

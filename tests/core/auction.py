"""A saga that needs some of its steps only: three haulers are asked, and the best bid wins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from es_saga import START, Command, Message, Retry, Saga, of
from es_saga.core.after import Quorum
from es_saga.core.step import Step


class Load(Message):
    tonnes: int = 1


class Bid(Message):
    pence: int = 100


class AskHauler(Command[Bid]):
    to = "haulers"
    name: str


class ThankHauler(Command[None]):
    to = "haulers"
    name: str


class Award(Command[None]):
    to = "office"
    bids: tuple[int, ...]


Asked = Step[Load, [], AskHauler]


def auction(
    join: Callable[[Asked, Asked, Asked], Quorum], *, reads_only: bool = False, pivot: bool = False
) -> Saga[Load]:
    """Ask three at once, then award to the lowest bid."""
    saga = Saga("auction", Load)

    def ask(name: str) -> Asked:
        def step(load: Load) -> AskHauler:
            return AskHauler(name=name)

        step.__name__ = name
        once = Retry(attempts=1)
        wait = timedelta(seconds=10)
        if reads_only:
            return saga.check(after=START, retry=once, timeout=wait)(step)
        asked = saga.step(after=START, retry=once, timeout=wait)(step)

        @asked.compensation
        def thank(load: Load) -> ThankHauler:
            return ThankHauler(name=name)

        return asked

    ann, bob, cid = ask("ann"), ask("bob"), ask("cid")
    kind = saga.pivot if pivot else saga.check

    @kind(after=join(ann, bob, cid))
    def award(
        load: Load, a: Bid | None = of(ann), b: Bid | None = of(bob), c: Bid | None = of(cid)
    ) -> Award:
        return Award(bids=tuple(bid.pence for bid in (a, b, c) if bid))

    return saga

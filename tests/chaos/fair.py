"""The business under attack where sagas are nested: tours run fairs, and fairs run booths.

A booth has a list, a save-point, a wait, and another list on each way. A fair asks for a quorum,
runs booths side by side and one on each way, and goes on after its pivot with a list, a wait and a
parade that ends by itself. What can become of one stands in its input.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Literal

from es_saga import START, ChildSaga, Command, Message, Saga, Way, quorum
from tests.chaos.shop import FOR_EVER, PATIENCE

THREE_TIMES = replace(FOR_EVER, attempts=3)

LONGER = 2 * PATIENCE
"""How long a saga waits for one that it runs: until then that one is at work, or in an outage."""

PERMIT, REVIEW = timedelta(seconds=3), timedelta(seconds=1)
"""How long they are waited for; without the permit a booth turns back."""

BOOTH_DEADLINE, FAIR_DEADLINE = timedelta(seconds=15), timedelta(seconds=18)
"""Some are over it: by then a booth may be at work, or held by its fair."""

JAMS = 2
"""How often a thing that jams says no, until an operator has had it tried often enough."""

MOST = 4
"""Hands, and tickets."""

BoothFate = Literal["good", "muddy", "flooded", "short-handed"]
BOOTH_FATES: tuple[BoothFate, ...] = ("good", "good", "good", "muddy", "flooded", "short-handed")

FairFate = Literal["good", "no-money", "no-deposit", "no-answers", "jammed"]
FAIR_FATES: tuple[FairFate, ...] = (
    "good",
    "good",
    "jammed",
    "jammed",
    "no-money",
    "no-deposit",
    "no-answers",
)


class Done(Message):
    at: str = "here"


class Hand(Message):
    units: int


class Booth(Message):
    fate: BoothFate
    strict: bool
    """It needs a permit."""
    sticky: bool
    """It takes an operator to strike it."""
    hands: list[Hand]

    @property
    def hopeless(self) -> bool:
        return self.fate == "flooded" or (self.fate == "short-handed" and bool(self.hands))


class Permit(Message):
    by: str


class Parade(Message):
    units: int
    shy: bool
    """The first one does not get far: an operator has another one run."""


class Review(Message):
    stars: int


class Fair(Message):
    fate: FairFate
    units: int
    left: Booth
    right: Booth | None
    encore: Booth | None
    tickets: list[Hand]

    @property
    def hopeless(self) -> bool:
        """Whatever is done by hand, it cannot complete."""
        refused = self.fate in ("no-money", "no-deposit", "no-answers")
        return refused or self.left.hopeless or (self.right is not None and self.right.hopeless)


class Tour(Message):
    fair: Fair
    units: int


class Move(Command[Done]):
    to = "stage"
    units: int
    willing: bool = True
    shy: bool = False


class MoveBack(Command[None]):
    to = "stage"
    units: int
    jams: int = 0


class Look(Command[Done]):
    to = "stage"
    willing: bool


class Pay(Command[Done]):
    to = "till"
    units: int
    willing: bool = True
    jams: int = 0


class PayBack(Command[None]):
    to = "till"
    units: int


# ── a booth ──────────────────────────────────────────────────────────────────────────────────────

booth = Saga("booth", Booth, deadline=BOOTH_DEADLINE)


@booth.step(each=lambda b: b.hands, most=MOST, at_once=2, timeout=PATIENCE, retry=FOR_EVER)
def hire(b: Booth, hand: Hand) -> Pay:
    return Pay(units=hand.units, willing=b.fate != "short-handed" or hand != b.hands[-1])


@hire.compensation(timeout=PATIENCE, retry=FOR_EVER)
def dismiss(b: Booth, hand: Hand) -> PayBack:
    return PayBack(units=hand.units)


booth.save_point("sited", ways=2)


@booth.step(timeout=PATIENCE, retry=THREE_TIMES)
def unload(b: Booth) -> Move:
    return Move(units=1)


@unload.compensation(timeout=PATIENCE, retry=FOR_EVER)
def load(b: Booth) -> MoveBack:
    return MoveBack(units=1)


@booth.step(timeout=PATIENCE, retry=FOR_EVER)
def pitch(b: Booth, way: Way) -> Move:
    wet = b.fate == "flooded" or (b.fate == "muddy" and way.number == 1)
    return Move(units=7, willing=not wet)


@pitch.compensation(timeout=PATIENCE, retry=FOR_EVER)
def strike(b: Booth) -> MoveBack:
    return MoveBack(units=7, jams=int(b.sticky))


booth.wait(Permit, timeout=PERMIT, when=lambda b: b.strict)


@booth.step(each=lambda b: b.hands, most=MOST, at_once=3, timeout=PATIENCE, retry=FOR_EVER)
def light(b: Booth, hand: Hand) -> Move:
    return Move(units=hand.units)


@light.compensation(timeout=PATIENCE, retry=FOR_EVER)
def dim(b: Booth, hand: Hand) -> MoveBack:
    return MoveBack(units=hand.units)


# ── a parade: its undos are asked for side by side ───────────────────────────────────────────────

parade = Saga("parade", Parade, undo_order="parallel")


@parade.step(timeout=PATIENCE, retry=FOR_EVER)
def march(p: Parade) -> Move:
    return Move(units=p.units)


@march.compensation(timeout=PATIENCE, retry=FOR_EVER)
def march_back(p: Parade) -> MoveBack:
    return MoveBack(units=p.units)


@parade.step(timeout=PATIENCE, retry=FOR_EVER)
def sing(p: Parade) -> Move:
    return Move(units=3, shy=p.shy)


@sing.compensation(timeout=PATIENCE, retry=FOR_EVER)
def hush(p: Parade) -> MoveBack:
    return MoveBack(units=3)


# ── a fair ───────────────────────────────────────────────────────────────────────────────────────

fair = Saga("fair", Fair, deadline=FAIR_DEADLINE)


@fair.check(after=START, timeout=PATIENCE, retry=THREE_TIMES)
def mayor(f: Fair) -> Look:
    return Look(willing=f.fate != "no-answers")


@fair.check(after=START, timeout=PATIENCE, retry=THREE_TIMES)
def priest(f: Fair) -> Look:
    return Look(willing=f.fate != "no-answers")


@fair.check(after=START, timeout=PATIENCE, retry=THREE_TIMES)
def baker(f: Fair) -> Look:
    return Look(willing=f.units % 2 == 0)


@fair.step(after=quorum(2, mayor, priest, baker), timeout=PATIENCE, retry=THREE_TIMES)
def deposit(f: Fair) -> Pay:
    return Pay(units=f.units, willing=f.fate != "no-deposit")


@deposit.compensation(timeout=PATIENCE, retry=FOR_EVER)
def give_back(f: Fair, done: Done | None) -> PayBack:
    return PayBack(units=f.units)


@fair.saga(booth, after=deposit, timeout=LONGER)
def left(f: Fair) -> Booth:
    return f.left


@fair.saga(booth, after=deposit, timeout=LONGER, when=lambda f: f.right is not None)
def right(f: Fair) -> Booth:
    assert f.right is not None, "it is wanted"
    return f.right


fair.save_point("evening", ways=2, after=(left, right))


@fair.saga(booth, timeout=LONGER, when=lambda f: f.encore is not None)
def encore(f: Fair, way: Way) -> Booth:
    """Where it fails, it is dry and well staffed the second time."""
    assert f.encore is not None, "it is wanted"
    return f.encore if way.number == 1 else f.encore.model_copy(update={"fate": "good"})


fair.sleep("rest", timedelta(seconds=0.3))


@fair.pivot(timeout=PATIENCE, retry=FOR_EVER)
def pay(f: Fair) -> Pay:
    return Pay(units=f.units, willing=f.fate != "no-money")


@fair.step(each=lambda f: f.tickets, most=MOST, at_once=2, timeout=PATIENCE, retry=FOR_EVER)
def print_ticket(f: Fair, ticket: Hand) -> Pay:
    return Pay(units=ticket.units, jams=JAMS if f.fate == "jammed" else 0)


fair.wait(Review, timeout=REVIEW, on_timeout="go-on")


@fair.saga(parade, timeout=LONGER)
def parades(f: Fair) -> Parade:
    return Parade(units=f.units, shy=f.fate == "jammed")


# ── a tour: a fair is its pivot ──────────────────────────────────────────────────────────────────

tour = Saga("tour", Tour)


@tour.step(timeout=PATIENCE, retry=FOR_EVER)
def insure(t: Tour) -> Pay:
    return Pay(units=t.units)


@insure.compensation(timeout=PATIENCE, retry=FOR_EVER)
def uninsure(t: Tour) -> PayBack:
    return PayBack(units=t.units)


@tour.saga(booth, timeout=LONGER)
def rehearsal(t: Tour) -> Booth:
    return t.fair.left.model_copy(update={"fate": "muddy"})


@tour.saga(fair, timeout=LONGER)
def travel(t: Tour, rehearsal: ChildSaga) -> Fair:
    return t.fair


@tour.step(timeout=PATIENCE, retry=FOR_EVER)
def celebrate(t: Tour) -> Move:
    return Move(units=t.units)

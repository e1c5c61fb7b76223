# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does every undo undo the right thing?
#
# A saga has no transaction around it. What holds it together are laws: *each step that was done
# is either kept or undone, once, in reverse order, whatever breaks on the way.* An example or two
# shows little about that; what breaks a saga is a schedule of failures that nobody thought of.
#
# `es_saga.testing` searches for it. This notebook checks a right saga, plants a mistake of the kind
# that reviews miss, and reads the counterexample.

# %%
import altair as alt
import pandas as pd

from domain.orders import order
from domain.orders.contracts import (
    CancelOrder,
    ChargeCard,
    CreateOrder,
    PlaceOrder,
    RefundCard,
    ReleaseStock,
    ReserveStock,
    ShipParcel,
    StockReserved,
)
from es_saga import Saga
from es_saga.testing import LAWS, LawBroken, check_saga, explore

alt.renderers.enable("svg")  # pictures that need no network

# %% [markdown]
# ## A right saga
#
# The shop's order: create it, charge the card, reserve the stock, ship the parcel; each step has an
# undo. One line explores every schedule with up to two faults, then plays a few hundred random ones
# in a simulated world: messages lost, doubled and late, participants and process managers that die
# between any two writes, operators who meddle.

# %%
checked = check_saga(order)
print(checked)

# %% [markdown]
# Which laws had something to look at, and how the sagas ended:

# %%
sentences = {law.number: law.sentence for law in LAWS}
laws = sorted(checked.laws & sentences.keys())
pd.set_option("display.max_colwidth", 110)
pd.DataFrame({"law": laws, "says": [sentences[number] for number in laws]}).head(12)

# %%
COLOURS = {"completed": "#2a9d5c", "compensated": "#3b7dd8", "stuck": "#d1495b"}
fates = pd.DataFrame(
    [(fate.value, count) for fate, count in checked.fates.items()], columns=["fate", "sagas"]
)
colour = alt.Color("fate", legend=None).scale(domain=[*COLOURS], range=[*COLOURS.values()])
alt.Chart(fates, title="How the simulated sagas ended").mark_bar().encode(
    x="sagas", y=alt.Y("fate", sort="-x", title=None), color=colour
).properties(width=520)

# %% [markdown]
# ## The same saga with a mistake
#
# Somebody copied a compensation and changed the wrong line: the undo of `charge` releases the
# stock, the undo of `reserve` refunds the card. Every type fits, the happy path works, and so do
# all tests in which nothing is undone.

# %%
swapped = Saga("swapped", PlaceOrder)


@swapped.step
def create(o: PlaceOrder) -> CreateOrder:
    return CreateOrder(
        order_id=o.order_id, customer=o.customer, sku=o.sku, quantity=o.quantity, pence=o.pence
    )


@create.compensation
def cancel(o: PlaceOrder) -> CancelOrder:
    return CancelOrder(order_id=o.order_id)


@swapped.step
def charge(o: PlaceOrder) -> ChargeCard:
    return ChargeCard(order_id=o.order_id, card=o.card, pence=o.pence)


@charge.compensation
def release(o: PlaceOrder) -> ReleaseStock:
    return ReleaseStock(order_id=o.order_id)


@swapped.step
def reserve(o: PlaceOrder) -> ReserveStock:
    return ReserveStock(order_id=o.order_id, sku=o.sku, quantity=o.quantity)


@reserve.compensation
def refund(o: PlaceOrder) -> RefundCard:
    return RefundCard(order_id=o.order_id)


@swapped.pivot
def ship(o: PlaceOrder, stock: StockReserved) -> ShipParcel:
    return ShipParcel(
        order_id=o.order_id, reservation=stock.reservation, quantity=o.quantity, town=o.town
    )


# %%
try:
    check_saga(swapped)
except LawBroken as broken:
    print(broken)

# %% [markdown]
# ## The counterexample, drawn
#
# It is the shortest schedule there is: fewest faults first, then fewest moves. Time runs
# downwards, one row a move; each lane is a participant, the saga itself, or the operator.

# %%
found = explore(swapped).counterexample
assert found is not None, "the mistake above is a mistake"


def lane(what: str) -> str:
    """Who moved: a sentence about a participant begins with its name."""
    first = what.split()[0]
    return "operator" if "operator" in what else first if first in SERVICES else "saga"


SERVICES = ("orders", "payments", "stock", "shipping")
moves = pd.DataFrame(
    [
        {
            "move": f"{number}. {turn.what}",
            "who": lane(turn.what),
            "effect": {"do": "done", "undo": "undone"}[turn.effects[0].direction]
            if turn.effects
            else "none",
            "events": ", ".join(type(event).__name__ for event in turn.events),
        }
        for number, turn in enumerate(found.turns)
    ]
)
moves

# %%
base = alt.Chart(moves).encode(
    y=alt.Y("move", sort=None, title=None, axis=alt.Axis(labelLimit=420, grid=True)),
    x=alt.X(
        "who",
        title=None,
        sort=["saga", "operator", *SERVICES],
        axis=alt.Axis(orient="top", labelAngle=0),
    ),
)
effect = alt.Color("effect", title="in the database").scale(
    domain=["done", "undone", "none"], range=["#2a9d5c", "#3b7dd8", "#b8b8b8"]
)
way = base.mark_line(color="#d8d8d8").encode(order=alt.Order("index:Q"))
marks = base.mark_point(size=150, filled=True, opacity=1).encode(color=effect, tooltip=["events"])
chart = (way.transform_window(index="row_number()") + marks).properties(
    width=380, height=28 * len(moves), title=str(found.violation)
)
chart

# %% [markdown]
# What was done and what was undone, added up. A step that is done and not undone in a saga that
# says *compensated* is money or goods that nobody looks for.

# %%
net = pd.DataFrame(
    [
        {"step": one.step, "net effect": 1 if one.direction == "do" else -1}
        for one in found.story.effects or ()
    ]
)
net.groupby("step", as_index=False).sum()

# %% [markdown]
# ## Mended
#
# With the two compensations where they belong, the same search finds nothing, and says how much it
# has looked at.

# %%
print(explore(order))

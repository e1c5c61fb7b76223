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
# # What happened to Ada's order?
#
# Ada ordered three lamps for £59.97. The shop says that her card was declined; her bank says that
# there is money enough. Every saga is a log, so nobody has to guess: here is the history of that
# order, as `es-saga export order-7` wrote it. We walk through it, find the wrong decision, mend the
# code, have today's code decide again, and keep the case as a test.

# %%
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import altair as alt
import pandas as pd

from domain.orders import order
from domain.orders.contracts import (
    CancelOrder,
    CardDeclined,
    ChargeCard,
    CreateOrder,
    OrderCreated,
    PlaceOrder,
)
from es_saga import Saga
from es_saga.replay import Replay, diverges, scene, spans, what_if
from es_saga.testing import given
from es_saga.testing.history import read_history, write_history

alt.renderers.enable("svg")  # pictures that need no network
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The day before
#
# So that this notebook needs no database, the code of that day stands here: the shop's order, but
# for one line that somebody had changed. Can you see it?

# %%
yesterday = Saga("order", PlaceOrder)


def charge(o: PlaceOrder) -> ChargeCard:
    """Take the money."""
    return ChargeCard(order_id=o.order_id, card=o.card, pence=o.pence * o.quantity)


for step in order.definition.steps.values():
    function = charge if step.name == "charge" else step.fn
    then = yesterday.step(timeout=timedelta(seconds=step.timeout))(function)
    then.compensation(step.undo.fn)

placed = PlaceOrder(
    order_id="7", customer="ada", sku="lamp", quantity=3, pence=5_997, card="visa", town="Leeds"
)
played = (
    given(yesterday, placed, saga_id="order-7")
    .expect(CreateOrder)
    .wait(0.004)
    .on(CreateOrder)
    .reply(OrderCreated(order_id="7"))
    .expect(ChargeCard)
    .wait(0.011)
    .on(ChargeCard)
    .refuse(CardDeclined(card="visa"))
    .expect(CancelOrder)
    .wait(0.006)
    .on(CancelOrder)
    .reply()
    .compensated()
)
write_history(folder / "order-7.jsonl", "order-7", played.story.history)

# %% [markdown]
# ## The history
#
# A history that was edited, cut or put in another order is refused when it is read; this one is as
# it was written.

# %%
kept = read_history(folder / "order-7.jsonl")
replay = Replay.of(kept.saga_id, kept.events)
pd.DataFrame(
    [
        {
            "event": moment.version,
            "what happened": type(moment.event).__name__,
            "decided on": moment.reaction.what,
            "to be sent": ", ".join(sent.envelope.type for sent in moment.commands),
        }
        for moment in replay.moments
    ]
).set_index("event")

# %% [markdown]
# When was what under way? The order was entered, the card was refused, the order was cancelled:
# as a saga should.

# %%
began = replay.events[0].at
ways = pd.DataFrame(
    [
        {
            "step": span.step,
            "way": "forward" if span.direction == "do" else "undo",
            "command": f"{span.command}, {span.outcome}",
            "from": 1_000 * (span.begin - began),
            "to": 1_000 * ((span.end or span.begin) - began),
        }
        for span in spans(replay.events)
    ]
)
bars = alt.Chart(ways).encode(
    y=alt.Y("command", sort=None, title=None, axis=alt.Axis(labelLimit=280)),
    x=alt.X("from", title="milliseconds after the start"),
)
colour = alt.Color("way", title=None).scale(
    domain=["forward", "undo"], range=["#2a9d5c", "#3b7dd8"]
)
bars.mark_bar(height=14, cornerRadius=3).encode(x2="to", color=colour).properties(
    width=420, height=110
)

# %% [markdown]
# ## Walk through it
#
# The saga as it was after any event is a fold of the events up to there. What one event changed is
# the difference of two such states:

# %%
for version in (1, 4, 5):
    moment = replay.at(version)
    print(f"{version}  {type(moment.event).__name__}  (decided on: {moment.reaction.what})")
    for change in moment.changes:
        if "fingerprint" not in change.path:
            print(f"     {change}")

# %% [markdown]
# There it is. Event 1 has the price of the *whole* order, 5,997 pence; the command that was decided
# on in event 4 asks the bank for 17,991. The bank was right.
#
# ## Decide again
#
# Today's code has the line mended. It is given every input of the history, at the time it came, and
# its decisions are compared with those in the log:

# %%
found = diverges(order.definition, replay)
print(found)

# %% [markdown]
# One divergence, in one field of one command: the change does what it is meant to do. Is it *all*
# that it does? The answer of the bank belongs to another question now, so what would have followed
# is a fork of the history, played on in memory. Nothing is written and nothing is sent.

# %%
fork = what_if(order.definition, replay, {})
print("then:", replay.state.status)
print("now: ", fork.replay.state.status, f"(another story from event {fork.version})")
for note in fork.notes:
    print("     ", note)

# %% [markdown]
# ## Keep it
#
# The fork, told as a test: a scene in the saga's own messages, checked by the type checkers, that
# fails should that line ever come back.

# %%
test = scene(order.definition, fork.replay)
print(test)

# %%
(folder / "test_order_7.py").write_text(test)
run = subprocess.run(
    [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", str(folder)],
    capture_output=True,
    text=True,
)
print(run.stdout)
assert run.returncode == 0, run.stderr

# %% [markdown]
# On the command line the same is `es-saga replay order-7 --check`, `--what-if`, and
# `--emit-test tests/test_order_7.py`; the dashboard's *Time travel* shows it with a slider.

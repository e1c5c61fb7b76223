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
# # A morning at the shop, read off its sagas
#
# Everything that ever happened to an order stands in the log. Read models are tables made from it:
# ordinary tables in the same database, that Grafana, Metabase or pandas read as they are. This
# notebook asks them what a dashboard asks: how many orders come through, where they get lost, how
# long each step takes, who needs a human. Then it makes the tables anew from the log and compares.

# %%
import json
import tempfile
from pathlib import Path

import altair as alt
import pandas as pd
import sqlalchemy as sa

from domain.orders import order
from domain.orders.contracts import PlaceOrder
from es_saga.adapters import definitions
from es_saga.adapters.catch_up import CatchUp
from es_saga.adapters.clock import SystemClock
from es_saga.adapters.rebuild import rebuild, verify
from es_saga.adapters.store import connect
from es_saga.core.messages import part_of
from es_saga.database import make_engine
from es_saga.engine.ports import Append
from es_saga.engine.projector import Projector
from es_saga.projections.audit import AuditView
from es_saga.projections.queries import Queries
from es_saga.projections.status import StatusView
from es_saga.testing.world import Begin, World
from projections.order_board import board

alt.renderers.enable("svg")  # pictures that need no network
COLOURS = {
    "completed": "#2a9d5c",
    "compensated": "#3b7dd8",
    "compensated-with-exceptions": "#8a4fbf",
    "stuck": "#d1495b",
}

# %% [markdown]
# ## The morning
#
# Real shops have a `es-saga run` for this. Here 240 orders are played in the simulated world of
# `es_saga.testing`, by the real engine, with messages lost and late, cards declined, services and
# process managers that die; what it wrote is put into a real log, read models and all.

# %%
HOURS = 4
inputs = [
    PlaceOrder(
        order_id=f"{number:03}",
        customer=["ada", "bob", "eve", "dan"][number % 4],
        sku=["teapot", "lamp", "chair"][number % 3],
        quantity=1 + number % 2,
        pence=999 * (1 + number % 5),
        card="visa",
        town="Leeds",
    )
    for number in range(240)
]
begins = [
    Begin(f"order-{o.order_id}", "order", o.model_dump(mode="json"), after=HOURS * 3600 * n / 240)
    for n, o in enumerate(inputs)
]
morning = World([order], seed=8, rate=0.2).run(begins)
print(f"{len(morning.stories)} orders, {sum(morning.happened.values())} things went wrong")

# %%
folder = Path(tempfile.mkdtemp())
url = f"sqlite:///{folder / 'log.db'}"
store = connect(url, views=(StatusView(), AuditView()), migrate=True)
engine = make_engine(url)
definitions.register(engine, [order.definition])
for story in morning.stories:
    end = morning.states[story.saga_id]
    await store.append(part_of(story.saga_id), [Append(story.saga_id, 0, story.history, end)])
projector = Projector([board], CatchUp(engine), SystemClock())
taken = await projector.catch_up(board)
print(f"{taken:,} events taken in by the order board")

# %% [markdown]
# ## How did they end?

# %%
with engine.connect() as connection:
    sagas = pd.read_sql("SELECT * FROM es_status", connection)
ends = sagas.groupby("status", as_index=False).size()
status = alt.Color("status", legend=None).scale(domain=[*COLOURS], range=[*COLOURS.values()])
alt.Chart(ends).mark_bar().encode(
    x=alt.X("size", title="orders"), y=alt.Y("status", sort="-x", title=None), color=status
).properties(width=480)

# %% [markdown]
# ## Where do orders get lost?
#
# The status view keeps every step with its outcome, attempts and times. A funnel is a count.

# %%
steps = pd.DataFrame(
    [
        {"saga_id": row.saga_id, "step": name, **step}
        for row in sagas.itertuples()
        for name, step in json.loads(row.steps).items()
    ]
)
order_of_steps = list(order.definition.steps)
funnel = steps.groupby(["step", "status"], as_index=False).size()
outcome = alt.Color("status", title="ended").scale(
    domain=["succeeded", "refused", "failed", "unknown"],
    range=["#2a9d5c", "#e9a23b", "#d1495b", "#8d8d8d"],
)
alt.Chart(funnel).mark_bar().encode(
    y=alt.Y("step", sort=order_of_steps, title=None),
    x=alt.X("size", title="orders that came so far"),
    color=outcome,
).properties(width=480)

# %% [markdown]
# ## How long does each step take?

# %%
steps["seconds"] = steps["ended"] - steps["started"]
steps.groupby("step")["seconds"].describe(percentiles=[0.5, 0.95])[
    ["count", "50%", "95%", "max"]
].loc[order_of_steps].round(3)

# %% [markdown]
# The slowest order of the morning, step by step; below it what was undone.

# %%
sagas["took"] = sagas["closed"] - sagas["created"]
slowest = sagas.loc[sagas["took"].idxmax()]
ways = [
    {"step": name, "way": way, "begin": work["started"], "end": work.get("ended")}
    for name, step in json.loads(slowest["steps"]).items()
    for way, work in (("forward", step), ("undo", step.get("undo")))
    if work
]
forward = [way for way in ways if way["way"] == "forward"]
undone = [way for way in reversed(ways) if way["way"] == "undo"]
gantt = pd.DataFrame(forward + undone)
gantt[["begin", "end"]] -= slowest["created"]
gantt["label"] = gantt["step"].where(gantt["way"] == "forward", "undo " + gantt["step"])
way = alt.Color("way", title=None).scale(domain=["forward", "undo"], range=["#2a9d5c", "#3b7dd8"])
lanes = alt.Chart(gantt).encode(
    y=alt.Y("label", sort=None, title=None),
    x=alt.X("begin", title="seconds after the start"),
    color=way,
)
bars = lanes.mark_bar(height=12, cornerRadius=3).encode(x2="end")
begun = lanes.mark_tick(thickness=3, height=12)  # what took milliseconds is seen, too
(bars + begun).properties(width=480, title=f"{slowest['saga_id']}: {slowest['status']}")

# %% [markdown]
# ## Who needs a human?

# %%
needy = sagas[sagas["status"] == "stuck"][["saga_id", "reason_step", "reason", "updated"]]
needy.assign(updated=pd.to_datetime(needy["updated"], unit="s").dt.round("s"))

# %% [markdown]
# And what does the audit trail say of the first of them? Each row names who or what caused it, and
# is chained to the row before by a hash, so that a trail that was tampered with is found out. The
# card is a sensitive field: it stands in no read model.

# %%
trail = Queries(engine).history(needy["saga_id"].iloc[0])
began = trail[0].at
pd.DataFrame(
    [
        {
            "#": row.version,
            "+s": round(row.at - began, 3),
            "event": row.kind,
            "step": row.step or "",
            "cause": row.actor or row.cause or "timer",
            "hash": row.hash[:8],
        }
        for row in trail
    ]
).set_index("#")

# %%
trail[0].payload["data"]

# %% [markdown]
# ## A read model of one's own
#
# The order board is a projection of the shop's, twenty lines beside its table. A query for the
# counter, in plain SQL:

# %%
with engine.connect() as connection:
    counter = pd.read_sql(
        sa.text(
            "SELECT state, sku, count(*) AS orders, sum(pence) / 100.0 AS pounds"
            " FROM order_board GROUP BY state, sku ORDER BY state, sku"
        ),
        connection,
    )
counter.pivot(index="sku", columns="state", values="orders").fillna(0).astype(int)

# %% [markdown]
# ## Is it true?
#
# A read model can be wrong: a bug in it, a hand in the database. So it is made anew from the log,
# beside the one in use, and the two are compared row by row.

# %%
before = verify(engine, board)
with engine.begin() as connection:
    connection.execute(sa.text("UPDATE order_board SET pence = 1 WHERE order_id = '007'"))
after = verify(engine, board)
print(f"before: {before.drifted} of {before.rows} rows differ")
print(f"after:  {after.drifted} of {after.rows} rows differ")
for drift in after.drifts:
    print(f"        {drift.key}: {drift.columns}")

# %% [markdown]
# A rebuild puts the new one in its place, while whoever reads the old one goes on reading.

# %%
done = rebuild(engine, board, inline=False)
print(f"{done.events:,} events, writers stopped for {1_000 * done.stopped_seconds:.0f} ms")
again = verify(engine, board)
print(f"now:    {again.drifted} of {again.rows} rows differ")

# %%
await store.close()
engine.dispose()

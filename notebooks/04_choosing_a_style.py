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
# # Who says what comes next?
#
# A customer orders two teapots. The order is entered, the card is charged, the goods are set aside,
# a parcel is sent: four services, four databases, and no transaction around them. What comes next,
# and what is taken back when a service says no, must be written down *somewhere*. Where, is what
# the styles differ in:
#
# - **conducted** (orchestration): one saga asks each service in turn, and hears its answer;
# - **choreographed**: each service listens to the others, and acts on its own;
# - **held first** (try, confirm, cancel): everything is set aside, then all of it is taken.
#
# This notebook runs the same order in the first two styles, a checkout in the third, all of them as
# they stand in `domain/`, and looks at what the code, the history and a stranger can tell.

# %%
import asyncio
import inspect
import logging
import tempfile
from datetime import timedelta
from pathlib import Path

import altair as alt
import pandas as pd
import sqlalchemy as sa
import structlog
from IPython.display import SVG, Code, Markdown

from domain.checkout import app as till
from domain.checkout import checkout
from domain.checkout import participants as held_by
from domain.checkout.contracts import Cart
from domain.fulfilment import app as services
from domain.fulfilment import events as heard
from domain.fulfilment import fulfilment
from domain.fulfilment import participants as listeners
from domain.intake import app as pipeline
from domain.intake import intake
from domain.orders import app as shop
from domain.orders import contracts as said
from domain.orders import order
from domain.orders import saga as order_saga
from es_saga import (
    App,
    Choreography,
    DefinitionError,
    InProcess,
    NotFound,
    Participant,
    SagaStatus,
    SyncTx,
)
from es_saga.adapters.store import connect
from es_saga.core.aggregate import fold
from es_saga.core.events import (
    CompensationIssued,
    CompensationSucceeded,
    StepRefused,
    StepStarted,
    StepSucceeded,
)
from es_saga.database import make_engine
from es_saga.diagrams import definition_svg, sequence_svg
from es_saga.projections.queries import Queries
from es_saga.replay import Replay
from es_saga.testing import given

alt.renderers.enable("svg")  # pictures that need no network
pd.set_option("display.max_colwidth", 100)
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
folder = Path(tempfile.mkdtemp())


def log_of(system: str) -> str:
    """The database of a system's log."""
    return f"sqlite:///{folder}/{system}.db"


def book_of(system: str, service: str = "{name}") -> str:
    """The database of one of its services."""
    return f"sqlite:///{folder}/{system}-{service}.db"


async def history(system: str, saga_id: str) -> Replay:
    """What the log says of a saga."""
    store = connect(log_of(system))
    events = (await store.load([saga_id]))[saga_id]
    await store.close()
    return Replay.of(saga_id, events)


def table(url: str, query: str) -> pd.DataFrame:
    """What stands in a database."""
    engine = make_engine(url)
    with engine.connect() as connection:
        found = pd.read_sql(sa.text(query), connection)
    engine.dispose()
    return found


def source(*functions: object) -> Code:
    """Code of this repository."""
    return Code("\n\n".join(map(inspect.getsource, functions)), language="python")


def readme(heading: str) -> Markdown:
    """The tables under a heading of the README."""
    text = Path("README.md").read_text().split(f"# {heading}\n")[1].split("\n#")[0]
    return Markdown("\n".join(line if line.startswith("|") else "" for line in text.splitlines()))


# %% [markdown]
# ## Conducted
#
# The whole flow is one file, `domain/orders/saga.py`. A step says what is to be asked of whom, its
# compensation what takes it back. One of the four:

# %%
source(order_saga.charge.fn, order_saga.refund)

# %% [markdown]
# The picture is drawn from the code: four steps from left to right, below each what undoes it.

# %%
SVG(definition_svg(order.definition))

# %% [markdown]
# No parcel goes to Atlantis: the last of the four services will say no. The system below is whole,
# with a process manager, four services and five databases; `InProcess` spares us the broker.

# %%
an_order = said.PlaceOrder(
    order_id="7",
    customer="ada",
    sku="teapot",
    quantity=2,
    pence=1_800,
    card="visa",
    town="Atlantis",
)
async with InProcess(shop, database=log_of("shop"), participants=book_of("shop")) as sagas:
    await sagas.start(order, an_order, key="7")
    print((await sagas.wait("order-7")).status)
conducted = await history("shop", "order-7")
SVG(sequence_svg("order-7", conducted.events))

# %% [markdown]
# Every arrow begins or ends at the saga. No service knows that there are others.
#
# ## Choreographed
#
# Now nobody is in charge. Payments hears that an order was created, charges the card, and tells so.
# That somebody sets goods aside then is none of its business; but it has to know after which event
# of whom the money must be given back:

# %%
source(listeners.charge, listeners.refund_undeliverable)

# %% [markdown]
# So that one can see where each order stands, `domain/fulfilment/flow.py` writes down what follows
# what. The flow is only watched: without that file the services do the same, and nobody sees it.

# %%
SVG(definition_svg(fulfilment.definition))


# %%
async def tell(system: str, app: App, event: heard.OrderCreated) -> str:
    """Place an order, as a web page would, and see where it ends."""
    saga_id = f"fulfilment-{event.order_id}"
    async with InProcess(app, database=log_of(system), participants=book_of(system)) as sagas:
        engine = make_engine(book_of(system, "orders"))
        with engine.begin() as connection:
            listeners.place(connection, event)
        engine.dispose()
        while True:
            try:
                return (await sagas.wait(saga_id)).status
            except NotFound:  # the watcher has not heard of it yet
                await asyncio.sleep(0.01)


created = heard.OrderCreated(
    order_id="7", card="visa", pence=1_800, sku="teapot", quantity=2, town="Atlantis"
)
print(await tell("services", services, created))
choreographed = await history("services", "fulfilment-7")

# %% [markdown]
# What was told by whom, as the watcher heard it. There is no centre that all arrows go through:

# %%
expected: dict[str, tuple[str, str]] = {}
told: list[dict[str, str]] = []
for event in choreographed.events:
    if isinstance(event, (StepStarted, CompensationIssued)):
        expected[event.step] = (event.to, event.command_type)
    elif isinstance(event, (StepSucceeded, StepRefused, CompensationSucceeded)):
        service, name = expected[event.step]
        name = event.refusal_type if isinstance(event, StepRefused) else name
        told.append({"nr": len(told), "service": service, "event": f"{len(told) + 1}. {name}"})
hops = alt.Chart(pd.DataFrame(told)).encode(
    x=alt.X("service", title=None, sort=None, axis=alt.Axis(orient="top", labelAngle=0)),
    y=alt.Y("event", title=None, sort=None, axis=alt.Axis(labelLimit=200)),
)
way = hops.mark_line(color="#b8b8b8").encode(order="nr")
(way + hops.mark_point(size=140, filled=True, opacity=1)).properties(width=360, height=220)

# %% [markdown]
# ## The two histories, side by side
#
# The same flow, there and back again. On the left the log says who was *asked* for what, on the
# right what was *expected* to be told. The events are the same, so status, timeline, audit trail
# and time travel are there for both. Only the way back differs: a conductor asks for one undo after
# the other, last things first. A watcher expects them all, and notes each when it hears of it; in
# which order they come is a matter of the services.


# %%
def words(of: Replay) -> list[str]:
    """A history, a few words an event."""
    kept = ("step", "command_type", "refusal_type")
    return [
        " ".join([type(event).__name__, *filter(None, (getattr(event, name, "") for name in kept))])
        for event in of.events
    ]


kinds = [[type(event).__name__ for event in of.events] for of in (conducted, choreographed)]
assert sorted(kinds[0]) == sorted(kinds[1])
assert conducted.state.status == choreographed.state.status == SagaStatus.COMPENSATED
pd.DataFrame({"conducted": words(conducted), "choreographed": words(choreographed)})

# %% [markdown]
# ## What must each of them know?
#
# Counted in the code: whose messages does somebody send, or listen to?

# %%
sent = [
    ("conducted", "the saga", command.to)
    for step in order.definition.steps.values()
    for command in (step.command, step.undo.command)
]
listened = [
    ("choreographed", service.name, by)
    for service in services.participants.values()
    for by, _ in service.reactions
]
known = pd.DataFrame([*sent, *listened], columns=["style", "who", "knows messages of"])
known = known.groupby(list(known.columns), as_index=False).size()
cells = alt.Chart(known).encode(
    x=alt.X("knows messages of", title=None, axis=alt.Axis(orient="top", labelAngle=0)),
    y=alt.Y("who", title=None),
)
squares = cells.mark_rect(color="#b9d3f0")
numbers = cells.mark_text(fontSize=14).encode(text="size")
(squares + numbers).properties(width=260).facet(
    column=alt.Column("style", title=None, sort="descending")
).resolve_scale(x="independent", y="independent")

# %% [markdown]
# Conducted, all of it is in one row: the saga knows every service, and no service knows another.
# Choreographed, the knowledge is spread, and no place has the whole. With four services one can
# keep that in mind. But whoever wants to know what follows a refusal has to walk from service to
# service, and the walk grows with the flow:


# %%
def explained_by(refusal: type[heard.OfOrder]) -> list[str]:
    """The services whose code says what follows a refusal."""
    walk, cause = [refusal.by], refusal
    while after := [one.event for one in fulfilment.undoings if cause in one.after]:
        cause = after[0]
        walk.append(cause.by)
    return walk


places = {step.undo.fn.__module__ for step in order.definition.steps.values()}
refusals = [refusal for one in fulfilment.expectations for refusal in one.unless]
walks = pd.DataFrame(
    [
        {"who refuses": refusal.by, "places to read": count, "style": style}
        for refusal in refusals
        for style, count in (
            ("conducted", len(places)),
            ("choreographed", len(explained_by(refusal))),
        )
    ]
)
alt.Chart(walks).mark_bar().encode(
    y=alt.Y("who refuses", sort=None, title=None),
    yOffset="style",
    x=alt.X("places to read", axis=alt.Axis(tickMinStep=1)),
    color=alt.Color("style", title=None).scale(range=["#e08a3c", "#3b7dd8"]),
).properties(width=420, height=150, title="Who says no, and in how many places stands what follows")

# %% [markdown]
# ## Nobody in charge: circles and silence
#
# **Circles.** Three services, each of which waits for another one. Who looks at one of them sees
# nothing wrong. Written down, it is refused before anything runs:

# %%
circle = Choreography("circle", heard.OrderCreated)
soon = timedelta(minutes=1)
circle.expects(heard.PaymentCompleted, after=heard.ShipmentCreated, within=soon)
circle.expects(heard.StockReserved, after=heard.PaymentCompleted, within=soon)
circle.expects(heard.ShipmentCreated, after=heard.StockReserved, within=soon)
try:
    circle.definition
    raise AssertionError("a circle is refused")
except DefinitionError as refused:
    print(refused)

# %% [markdown]
# **Silence.** A carrier takes orders, and never says what became of them. A conductor asks a few
# times more and then takes back what was done, last things first; the parcel too, since nobody
# knows whether it is on its way. (In virtual time: we need not wait.)

# %%
conductor = (
    given(order, an_order)
    .expect(said.CreateOrder)
    .reply(said.OrderCreated(order_id="7"))
    .expect(said.ChargeCard)
    .reply(said.CardCharged(charge="charge 7"))
    .expect(said.ReserveStock)
    .reply(said.StockReserved(reservation="for 7"))
    .expect(said.ShipParcel)
    .timeout(attempts=order.definition.steps["ship"].retry.attempts)
    .expect(said.RecallParcel)
    .reply()
    .expect(said.ReleaseStock)
    .reply()
    .expect(said.RefundCard)
    .reply()
    .expect(said.CancelOrder)
    .reply()
    .compensated()
)
print(conductor.state.status)

# %% [markdown]
# Among equals nobody has the right to ask again, or to take anything back. (A service that is down
# hears its events when it is back; one that hears and says nothing is another matter.) A watcher
# can notice, and call a human; until somebody acts the money stays where it is:

# %%
silent = Participant(
    "carrier", tables=sa.MetaData(), publishes=[heard.ShipmentCreated, heard.ShipmentRefused]
)


@silent.on(heard.StockReserved)
def forget(event: heard.StockReserved, tx: SyncTx) -> None:
    """Says nothing, ever."""


watched = Choreography("fulfilment", heard.OrderCreated)
for one in fulfilment.expectations[1:]:
    patience = timedelta(seconds=0.2) if one.event is heard.ShipmentCreated else one.within
    watched.expects(one.event, after=one.after, within=patience, unless=one.unless)
for undoing in fulfilment.undoings:
    watched.undoes(undoing.event, undoing.of, after=undoing.after, within=undoing.within)
others = [listeners.orders, listeners.payments, listeners.stock]
quiet = App("quiet", sagas=[watched], participants=[*others, silent])
print("the order is", await tell("quiet", quiet, created))
table(book_of("quiet", "payments"), "SELECT order_id, pence FROM charges")

# %% [markdown]
# ## Held first
#
# Both ways others see what is taken back later. Ada's bank statement has two lines for an order
# that never was; and for a moment her money was missing:

# %%
table(book_of("shop", "payments"), "SELECT entry, pence FROM ledger")

# %% [markdown]
# Where that is too much, set aside first, and take when all is set aside: try, confirm, cancel. The
# holds are begun side by side; the confirms follow from them:

# %%
SVG(definition_svg(checkout.definition))

# %%
source(held_by.hold_funds, held_by.take_money, held_by.free_money)

# %%
async with InProcess(till, database=log_of("till"), participants=book_of("till")) as sagas:
    for number, show in enumerate(("Hamlet", "sold out"), 1):
        cart = Cart(cart_id=f"{number}", show=show, seats=2, card="visa", pence=4_000)
        await sagas.start(checkout, cart, key=f"{number}")
        print(f"{show}:", (await sagas.wait(f"checkout-{number}")).status)
tried = await history("till", "checkout-2")
SVG(sequence_svg("checkout-2", tried.events))

# %% [markdown]
# The second checkout has left nothing behind, not even a refund: what was held is available again.
# In between, nobody else could have had it. That is the price; so a hold has an end (`expires`).

# %%
table(book_of("till", "bank"), "SELECT * FROM accounts WHERE thing = 'visa'")

# %% [markdown]
# Stricter still is **two-phase commit**: where the database can prepare a transaction, nobody sees
# anything before the end, and whoever needs the same rows waits. So the three differ in what they
# promise, and in what they ask for it. A saga and a `Tcc` agree in the end: asynchronous, eventual.
# Two-phase commit agrees at one moment: synchronous, strong. `es-saga bench styles` plays the same
# business in all three, under the same faults, and measures how long things are in doubt, what
# others read meanwhile, and how long they wait. From the README:

# %%
readme("Try, confirm, cancel")

# %% [markdown]
# ## Side by side
#
# Somebody may conduct, and yet ask all services at once that do not depend on each other, and go on
# with what they have answered: a parallel pipeline, scatter and gather. The intake of insurance
# claims in `domain/intake` asks up to four experts by what the claim is about. It waits until the
# deadline and no longer, and two opinions are enough. What follows from its decision nobody
# conducts: it is an event, and two offices hear it. So this one mixes both styles:

# %%
SVG(definition_svg(intake.definition))

# %%
hear = {
    service.name: [event for _, event in service.reactions]
    for service in pipeline.participants.values()
    if service.reactions
}
assert hear.keys() == {"treasury", "letters"}
hear

# %% [markdown]
# ## Choose
#
# Seven questions, and what either style answers. From the README, too:

# %%
readme("Which style, when")

# %% [markdown]
# ## The neighbourhood
#
# Words that stand near *saga* in every text on the matter, and where they are here.
#
# ### Local and global transactions
#
# A global transaction would span all services. A saga is a chain of local ones instead, with a
# **database per service**. That is also the border of the service's model, its **bounded context**:
# what `stock` means by a reservation is its own affair, and only messages cross. In each local
# transaction the business row is committed together with a note that the command was carried out
# (the *fence*), so a command may come twice:

# %%
print(*sorted(file.name for file in folder.glob("shop-*.db")))
fence = table(book_of("shop", "stock"), "SELECT command_id, status FROM es_fence")
assert list(fence.command_id) == ["order-7/reserve/do", "order-7/reserve/undo"]
fence

# %% [markdown]
# ### Saga and ACID
#
# *Atomic*, in the end: all steps are kept, or all are undone, or a human is called. *Consistent*,
# in the end: what must hold of all books together is asked when a saga is over
# (`check_saga(invariant=…)`). *Durable*: the log. *Isolated* it is not, since every step is
# committed by itself. Others see what may be undone (dirty reads), write over what a saga goes by
# (lost updates), or are told two things when they ask twice (fuzzy reads). There are
# countermeasures:

# %%
readme("What sagas do to each other")

# %% [markdown]
# ### Event sourcing
#
# A saga's state is not stored, its events are: nothing is overwritten, so nothing that happened is
# forgotten. The state is the fold of the events, and can be had as of any of them:

# %%
again = fold("order-7", conducted.events)
assert again == conducted.state
[(moment.version, str(moment.after.status)) for moment in conducted.moments][::4]

# %% [markdown]
# ### CQRS
#
# Who changes something talks to the log, one saga at a time; who asks something talks to a read
# model, a table that was made from the log for that question. It may be a moment behind; it may be
# dropped and made anew; and there may be as many as there are questions:

# %%
engine = make_engine(log_of("shop"))
row = Queries(engine).status("order-7")
engine.dispose()
assert (row.status, row.version) == (again.status, again.version)
print(row.status, row.version, row.reason, row.reason_step)

# %% [markdown]
# ### Message queues
#
# Services need not be there at the same time: messages wait in NATS JetStream, and come at least
# once. So each of them may come twice, or late, or after a younger one. That makes no difference to
# a saga, as the same message once more shows:

# %%
once = given(order, an_order).expect(said.CreateOrder).reply(said.OrderCreated(order_id="7"))
twice = once.duplicate()
assert twice.history == once.history

# %% [markdown]
# ### Bulkhead
#
# One service that sinks must not take the others with it. Each has a queue of its own, a limit to
# what it works on at once (`ES_SAGA_CONCURRENCY`), and, if you like, a process of its own. The
# silent carrier above holds up the orders that need it, and nothing else: the stock did its part.

# %%
table(book_of("quiet", "stock"), "SELECT * FROM reservations")

"""The intake of insurance claims, a parallel pipeline: a router, experts, and who hears of it.

    receive ─┬─► archive       every claim      ─┐
             ├─► surveyor      damage           ─┤  what has come
             ├─► physician     injury           ─┼─ by the deadline ─► settle ─► ClaimSettled
             └─► investigator  dear             ─┘  (two at least)          │         ├─► treasury
                                                                            ▼         └─► letters
                                                    too few: return ─► ClaimReturned ───► letters

The router is conducted: it decides by a claim's content who is asked, side by side. What follows
from its events nobody conducts: treasury and letters react to them.
"""

from domain.faults import with_faults
from domain.intake.experts import archive, investigator, physician, surveyor
from domain.intake.offices import claims, letters, treasury
from domain.intake.saga import intake
from es_saga import App

app = App(
    "intake",
    sagas=[intake],
    participants=[
        claims,
        archive,
        with_faults(surveyor, field="evidence"),
        with_faults(physician, field="evidence"),
        investigator,
        treasury,
        letters,
    ],
)

__all__ = ["app", "intake"]

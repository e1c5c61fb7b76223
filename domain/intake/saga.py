"""The router: it asks whom the claim concerns, and goes by what has come in time.

Experts only look, so there is nothing to undo, and one who says nothing by the deadline is gone
without. Two opinions are needed; where there are fewer the claim goes back to the customer.
"""

from __future__ import annotations

from statistics import median_low

from domain.intake.contracts import (
    DEAR_PENCE,
    AskArchive,
    AskInvestigator,
    AskPhysician,
    AskSurveyor,
    Claim,
    Estimate,
    ReceiveClaim,
    ReturnClaim,
    SettleClaim,
)
from domain.pace import PATIENCE
from es_saga import Retry, Saga, gather, of

OPINIONS = 2
"""So many are needed, of those who are asked."""

ONCE = Retry(attempts=1)
"""An expert is asked once: PATIENCE is the deadline."""

intake = Saga("intake", Claim)


@intake.step(timeout=PATIENCE)
def receive(c: Claim) -> ReceiveClaim:
    """Put it into the files."""
    return ReceiveClaim(claim_id=c.claim_id, pence=c.pence)


@receive.compensation
def give_back(c: Claim) -> ReturnClaim:
    return ReturnClaim(claim_id=c.claim_id)


@intake.check(after=receive, timeout=PATIENCE, retry=ONCE)
def archive(c: Claim) -> AskArchive:
    """Ask what such things have cost."""
    return AskArchive(item=c.item)


@intake.check(after=receive, timeout=PATIENCE, retry=ONCE, when=lambda c: c.loss == "damage")
def surveyor(c: Claim) -> AskSurveyor:
    """Have the damage looked at."""
    return AskSurveyor(evidence=c.evidence, pence=c.pence)


@intake.check(after=receive, timeout=PATIENCE, retry=ONCE, when=lambda c: c.loss == "injury")
def physician(c: Claim) -> AskPhysician:
    """Have the injury looked at."""
    return AskPhysician(evidence=c.evidence, pence=c.pence)


@intake.check(after=receive, timeout=PATIENCE, retry=ONCE, when=lambda c: c.pence >= DEAR_PENCE)
def investigator(c: Claim) -> AskInvestigator:
    """Have somebody doubt it."""
    return AskInvestigator(pence=c.pence)


@intake.pivot(
    after=gather(archive, surveyor, physician, investigator, least=OPINIONS), timeout=PATIENCE
)
def settle(
    c: Claim,
    usual: Estimate | None = of(archive),
    damage: Estimate | None = of(surveyor),
    injury: Estimate | None = of(physician),
    plausible: Estimate | None = of(investigator),
) -> SettleClaim:
    """Pay what the experts say in the middle, and never more than is claimed."""
    opinions = [one.pence for one in (usual, damage, injury, plausible) if one]
    pence = min(c.pence, median_low(opinions))
    return SettleClaim(claim_id=c.claim_id, pence=pence, opinions=len(opinions))

"""What is said about a claim: between the router, the experts, and those who hear of the end."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from es_saga import Command, Message, Refusal
from es_saga.participant import Event

DEAR_PENCE = 200_000
"""From here on a claim is investigated."""

MOST_PENCE = 100_000_000
"""The highest claim: a million pounds."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
ClaimId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""It stands in the subjects of events."""

Pence = Annotated[int, Field(ge=1, le=MOST_PENCE)]


class Claim(Message):
    """What a customer wants to have paid, and why. We know the examples."""

    claim_id: ClaimId
    loss: Literal["damage", "injury"]
    item: Name = Field(examples=["car", "wrist", "unicorn"])
    evidence: Name = Field(examples=["photos", "blurred"])
    pence: Pence = Field(examples=[50_000, DEAR_PENCE])


# ── the claims office ────────────────────────────────────────────────────────────────────────────


class ReceiveClaim(Command[None]):
    """Put it into the files."""

    to = "claims"
    claim_id: ClaimId
    pence: Pence


class ReturnClaim(Command[None]):
    """Undoes ReceiveClaim: it goes back to the customer."""

    to = "claims"
    claim_id: ClaimId


class SettleClaim(Command[None]):
    """Pay so much, and no more: this is final."""

    to = "claims"
    claim_id: ClaimId
    pence: Pence
    opinions: int
    """How many experts it is based on."""


# ── the experts ──────────────────────────────────────────────────────────────────────────────────


class Estimate(Message):
    """What an expert thinks it is worth."""

    pence: Pence


class NoOpinion(Refusal):
    """An expert who cannot tell."""

    why: str


class AskArchive(Command[Estimate]):
    """What has been paid for such a thing?"""

    to = "archive"
    item: Name


class AskSurveyor(Command[Estimate]):
    """What is the damage worth?"""

    to = "surveyor"
    evidence: Name
    pence: Pence


class AskPhysician(Command[Estimate]):
    """What is the injury worth?"""

    to = "physician"
    evidence: Name
    pence: Pence


class AskInvestigator(Command[Estimate]):
    """How much of it is plausible?"""

    to = "investigator"
    pence: Pence


# ── what the claims office tells whoever listens ─────────────────────────────────────────────────


class OfClaim(Event):
    """Something that happened to a claim."""

    by = "claims"
    about = "claim_id"
    claim_id: str


class ClaimSettled(OfClaim):
    """It will be paid."""

    pence: int


class ClaimReturned(OfClaim):
    """It will not be paid as it is."""

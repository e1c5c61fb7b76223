"""The experts: each sees its own part of a claim, and changes nothing."""

from __future__ import annotations

from domain.intake.contracts import (
    AskArchive,
    AskInvestigator,
    AskPhysician,
    AskSurveyor,
    Estimate,
    NoOpinion,
)
from es_saga import Participant, Tx

USUALLY = {"bicycle": 40_000, "car": 300_000, "wrist": 120_000}
"""Pence that were paid for such things."""

PLAUSIBLE = 250_000
"""Pence beyond which the investigator believes nobody."""

WEAR_PERCENT = 10
"""What a damaged thing had lost already."""

UNREADABLE = "blurred"
"""Evidence that shows nothing."""

archive = Participant("archive")
surveyor = Participant("surveyor")
physician = Participant("physician")
investigator = Participant("investigator")


@archive.handles(AskArchive)
async def look_up(cmd: AskArchive, tx: Tx) -> Estimate | NoOpinion:
    if cmd.item not in USUALLY:
        return NoOpinion(why="there was no such claim before")
    return Estimate(pence=USUALLY[cmd.item])


@surveyor.handles(AskSurveyor)
async def survey(cmd: AskSurveyor, tx: Tx) -> Estimate | NoOpinion:
    if cmd.evidence == UNREADABLE:
        return NoOpinion(why="nothing can be seen")
    return Estimate(pence=max(1, cmd.pence * (100 - WEAR_PERCENT) // 100))


@physician.handles(AskPhysician)
async def examine(cmd: AskPhysician, tx: Tx) -> Estimate | NoOpinion:
    if cmd.evidence == UNREADABLE:
        return NoOpinion(why="nothing can be read")
    return Estimate(pence=cmd.pence)


@investigator.handles(AskInvestigator)
async def doubt(cmd: AskInvestigator, tx: Tx) -> Estimate:
    return Estimate(pence=min(cmd.pence, PLAUSIBLE))

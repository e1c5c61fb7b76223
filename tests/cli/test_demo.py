"""The demo: its scenarios fit the business they play, and its verdict can be No."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import Process
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from es_saga import InvalidInput
from es_saga.cli import compose
from es_saga.core.choreography import Choreography
from es_saga.demo import demo, scenarios
from es_saga.demo.processes import Processes
from es_saga.demo.scenario import COMPLETED, CONDUCTOR, Fate, Kill, Skip, Tell
from es_saga.demo.scenarios import SCENARIOS
from es_saga.demo.styles import BOUGHT, TCC
from es_saga.demo.verdict import Entry, entries
from es_saga.testing.contracts.pipes import eventually
from tests.cli.conftest import Cli


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_fits_the_business_that_it_plays(name: str) -> None:
    played = SCENARIOS[name]
    app = compose.load_app(played.app)
    saga = next(one for one in app.sagas if one.name == played.saga)
    definition, services = saga.definition, app.participants.keys()
    keeping = {name for name, service in app.participants.items() if service.tables is not None}
    assert compose.load(played.totals).keys() >= keeping, "everybody is counted"
    assert services >= set(played.alone)
    assert isinstance(saga, Choreography) == bool(played.begins and compose.load(played.begins))
    for fate in played.fates:
        saga.data.model_validate({**played.data, **fate.changes, played.key: "1"})
        assert keeping >= fate.leaves.keys()
        assert definition.steps.keys() >= {re.split("[-.]", step)[0] for step in fate.cues}
        if fate.outage is not None:
            assert fate.outage.process in played.alone
            assert definition.steps[fate.outage.hold].expires is not None
            assert not played.begins, "who conducts it starts it"
        for cue in fate.cues.values():
            match cue:
                case Kill(process):
                    assert process in (CONDUCTOR, *played.alone)
                case Skip():
                    pass
                case Tell(message, data):
                    step = definition.waits_for(message)
                    assert step is not None
                    step.check_reply(data)


def test_what_is_counted_must_be_what_the_fates_leave_together() -> None:
    sold, kept = Fate("", COMPLETED, {"bank": {"taken": 5}}), Fate("", COMPLETED, {})
    before = {"bank": {"taken": 100, "held": 7}}
    right = entries(before, {"bank": {"taken": 110, "held": 7}}, [sold, kept, sold])
    assert right == {"bank": [Entry("taken", 10, 10), Entry("held", 0, 0)]}
    wrong = entries(before, {"bank": {"taken": 110, "held": 8}}, [sold, kept, sold])
    assert [entry.right for entry in wrong["bank"]] == [True, False]
    with pytest.raises(AssertionError, match=r"nobody counts bank\.taken"):
        entries({"bank": {}}, {"bank": {}}, [sold])


def test_help_tells_every_scenario_in_a_line(cli: Cli) -> None:
    lines = cli("demo", "--help").out.splitlines()
    for name, played in SCENARIOS.items():
        assert [line for line in lines if line.split() == [name, *played.about.split()]], name


def test_a_scenario_that_is_not_there_is_a_usage_error_with_those_that_are(cli: Cli) -> None:
    refused = cli("demo", "--scenario", "nonsense")
    assert refused.code == 2
    assert "choreography" in refused.err
    with pytest.raises(InvalidInput, match="one after the other"):
        scenarios.chosen(scenarios.EVERY_STYLE, once=False)


def test_a_penny_too_many_and_a_wrong_ending_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli
) -> None:
    monkeypatch.setattr(demo, "SETTLE_SECONDS", 0.0)
    lies = (
        Fate("both are held, both confirmed", COMPLETED, BOUGHT),
        Fate("it is free of charge", COMPLETED, {}),
        Fate("the declined card is charged", COMPLETED, {}, {"card": "prepaid"}),
    )
    monkeypatch.setitem(SCENARIOS, "lies", replace(TCC, fates=lies))

    played = cli("demo", "--once", "--scenario", "lies", data=tmp_path / "data")

    told = [line for line in played.err.splitlines() if line.startswith(("✓", "✗"))]
    assert played.code == 1
    assert [line[0] for line in told] == ["✓", "✓", "✗", "✗", "✗"]
    assert "available -12,000, not -6,000" in told[-1]
    assert "WRONG" in played.err


def test_who_would_be_in_each_others_way_are_played_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli
) -> None:
    apart = replace(TCC, fates=TCC.fates[:1], apart=True)
    monkeypatch.setitem(SCENARIOS, "apart", apart)

    played = cli("demo", "--once", "--scenario", "apart", "--orders", "2", data=tmp_path / "data")

    ends = re.findall(r"  (0\d)  \S (SagaStarted|SagaCompleted)", played.err)
    assert played.code == 0
    assert [kind for _, kind in ends] == ["SagaStarted", "SagaCompleted"] * 2
    assert [number for number, _ in ends] == ["01", "01", "02", "02"]


@pytest.mark.anyio
async def test_a_service_that_is_being_started_when_its_outage_begins_is_down_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spawn, starts = asyncio.create_subprocess_exec, list[Process]()
    starting, outage = asyncio.Event(), asyncio.Event()

    async def slowly(*_: str, **options: Any) -> Process:
        starts.append(await spawn(sys.executable, "-c", "import time; time.sleep(60)", **options))
        if len(starts) == 2:
            starting.set()
            await outage.wait()
        return starts[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slowly)
    async with Processes({"bank": []}, os.environ) as processes:
        await eventually(lambda: len(starts) == 1)
        await processes.kill("bank")
        await starting.wait()
        async with processes.without("bank"):
            outage.set()
            await eventually(lambda: starts[1].returncode is not None)
            assert len(starts) == 2
        await eventually(lambda: len(starts) == 3)

"""Telling a saga over HTTP what it waits for."""

from __future__ import annotations

import pytest

from tests.web.office import Office, fault

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("R009", "R080")]


async def test_a_saga_that_waits_goes_on_once_it_is_told(office: Office) -> None:
    saga_id = await office.start(of="patient")
    path, told = f"/api/v1/sagas/{saga_id}/signals", {"type": "Approval", "data": {"by": "ada"}}
    answer = await office.http.post(path, json=told)
    assert answer.status_code == 200, answer.text
    assert answer.json()["saga_id"] == saga_id
    ended = await office.http.get(f"/api/v1/sagas/{saga_id}/outcome", params={"timeout": 20})
    assert ended.json()["replies"]["approval"] == {"by": "ada"}
    again = await office.http.post(path, json=told)
    assert again.json()["version"] == ended.json()["version"]


async def test_what_it_does_not_wait_for_is_refused_in_words(office: Office) -> None:
    saga_id = await office.start(of="patient")
    path = f"/api/v1/sagas/{saga_id}/signals"
    unknown = await office.http.post(path, json={"type": "Weather", "data": {}})
    assert fault(unknown) == (404, "not-found")
    unfit = await office.http.post(path, json={"type": "Approval", "data": {"by": 7}})
    assert fault(unfit) == (422, "invalid-input")
    nobody = await office.http.post(
        "/api/v1/sagas/nobody/signals", json={"type": "Approval", "data": {"by": "ada"}}
    )
    assert fault(nobody) == (404, "not-found")

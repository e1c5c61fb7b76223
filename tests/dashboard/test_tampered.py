"""A log that somebody has edited: the pages name the first bad event, and go on."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from es_saga.database import make_engine
from tests.dashboard.sample import fill
from tests.dashboard.serving import serving


@pytest.mark.requirement("R081")
def test_a_history_that_was_edited_is_shown_as_such(tmp_path: Path) -> None:
    url = fill(tmp_path, sagas=40)
    engine = make_engine(url)
    with engine.begin() as connection:
        saga_id = connection.scalar(sa.text("SELECT min(saga_id) FROM es_status"))
        edited = sa.text(
            "UPDATE es_events SET"
            " state = CAST(replace(CAST(state AS TEXT), :was, :becomes) AS BLOB)"
            " WHERE originator_id = :saga AND originator_version = 3"
        )
        change = {"saga": saga_id, "was": '"attempt":1', "becomes": '"attempt":7'}
        assert connection.execute(edited, change).rowcount == 1
        other = connection.scalar(sa.text("SELECT max(saga_id) FROM es_status"))
    engine.dispose()
    with serving(url) as site, httpx.Client(base_url=site.url, timeout=20) as client:
        for tab in ("/history", "/travel", ""):
            answer = client.get(f"/sagas/{saga_id}{tab}")
            assert answer.status_code == 500
            assert answer.headers["content-type"].startswith("text/html")
            assert "event 3" in answer.text.replace("#3", "event 3"), answer.text[-600:]
        assert client.get("/sagas").status_code == 200
        assert client.get(f"/sagas/{saga_id}/ledger").status_code == 200
        assert "chain verified" in client.get(f"/sagas/{other}/history").text

"""Who may ask, who may act, and what is refused before anything of ours sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from es_saga.config import Settings
from es_saga.core.errors import InvalidInput
from es_saga.web import access as access_module
from es_saga.web import guard, server
from es_saga.web.access import Access, Role, Token, read_tokens, written
from tests.web.office import LOCAL, Office, fault, open_office

pytestmark = pytest.mark.anyio

READS = "reads-reads-reads-reads"
OPERATES = "operates-operates-operates"
TOKENS = f"""
grafana:{READS}     # a dashboard
ada:operate:{OPERATES}
"""
ERRAND = {"type": "errand", "data": {"thing": "lamp"}, "key": "7"}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(tmp_path, access=Access(read_tokens(TOKENS))) as found:
        yield found


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("somebody-elses-secret-token"),
        bearer(""),
        {"Authorization": f"Basic {OPERATES}"},
        {"Authorization": OPERATES},
        {"Cookie": f"{access_module.SESSION_COOKIE}={OPERATES}"},
        bearer(READS[:-1]),
    ],
    ids=["none", "unknown", "empty", "basic", "bare", "as a session", "cut"],
)
async def test_without_a_known_token_nobody_is_answered(
    headers: dict[str, str], guarded: Office
) -> None:
    for method, path in (
        ("GET", "/sagas/x"),
        ("GET", "/events"),
        ("GET", "/openapi.json"),
        ("POST", "/sagas"),
    ):
        answer = await guarded.http.request(
            method, f"/api/v1{path}", headers=headers, json=ERRAND if method == "POST" else None
        )
        assert fault(answer) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.desk.queries.counts() == {}


async def test_a_token_to_read_reads_and_changes_nothing(guarded: Office) -> None:
    answer = await guarded.http.post("/api/v1/sagas", json=ERRAND, headers=bearer(READS))
    assert fault(answer) == (403, "forbidden")
    assert guarded.desk.queries.counts() == {}
    started = await guarded.http.post("/api/v1/sagas", json=ERRAND, headers=bearer(OPERATES))
    assert started.status_code == 201
    answer = await guarded.http.get("/api/v1/sagas/errand-7", headers=bearer(READS))
    assert answer.status_code == 200


def test_on_a_read_only_server_everybody_may_read_and_no_more() -> None:
    for access, headers in (
        (Access(read_only=True), {}),
        (Access(read_tokens(TOKENS), read_only=True), bearer(OPERATES)),
    ):
        caller = access.caller(HTTPConnection(asked(headers)))
        assert caller is not None
        assert not caller.operates


def asked(headers: dict[str, str]) -> dict[str, Any]:
    """What a server tells of a request."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "headers": raw}


async def test_a_read_only_server_changes_nothing_whoever_asks(tmp_path: Path) -> None:
    for access in (Access(read_only=True), Access(read_tokens(TOKENS), read_only=True)):
        async with open_office(tmp_path, access=access) as office:
            answer = await office.http.post("/api/v1/sagas", json=ERRAND, headers=bearer(OPERATES))
            assert fault(answer) == (403, "forbidden")
            assert office.desk.queries.counts() == {}


def test_of_a_token_only_its_digest_is_kept() -> None:
    tokens = read_tokens(TOKENS)
    assert [(token.name, token.role) for token in tokens] == [
        ("grafana", Role.READ),
        ("ada", Role.OPERATE),
    ]
    assert READS not in repr(tokens)
    assert OPERATES not in repr(vars(Access(tokens)))


def test_what_is_shown_of_the_settings_has_no_secret_of_a_token() -> None:
    hidden = Settings(tokens=SecretStr(TOKENS.partition("#")[0])).secrets()
    assert READS in hidden
    assert "grafana" not in hidden, "a name is no secret"


def test_a_token_written_with_its_digest_is_the_same_token() -> None:
    line = written("ada", Role.OPERATE, OPERATES)
    assert OPERATES not in line
    assert read_tokens(line) == read_tokens(f"ada:operate:{OPERATES}")


@pytest.mark.parametrize(
    "text",
    [
        "ada",
        "ada:short",
        f"ada:write:{OPERATES}",
        f":read:{OPERATES}",
        f"a b:read:{OPERATES}",
        "ada:read:sha256=abc",
        f"ada:{READS},ada:operate:{OPERATES}",
        f"ada:{READS},bob:{READS}",
    ],
)
def test_a_malformed_token_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_tokens(text)
    assert READS not in str(refused.value)
    assert OPERATES not in str(refused.value)


def test_more_tokens_than_can_be_compared_at_once_are_refused() -> None:
    many = "\n".join(f"n{number}:{READS}-{number}" for number in range(1_001))
    with pytest.raises(InvalidInput):
        read_tokens(many)


# ── sessions of browsers ─────────────────────────────────────────────────────────────────────────


async def test_a_browser_that_logged_in_is_known_until_it_logs_out(guarded: Office) -> None:
    access = guarded.desk.access
    assert access.log_in("somebody-elses-secret-token") is None
    session = access.log_in(READS)
    assert session is not None
    cookie = {"Cookie": f"{access_module.SESSION_COOKIE}={session}"}
    assert (await guarded.http.get("/api/v1/openapi.json", headers=cookie)).status_code == 200
    answer = await guarded.http.post("/api/v1/sagas", json=ERRAND, headers=cookie)
    assert fault(answer) == (403, "forbidden")
    access.log_out(session)
    answer = await guarded.http.get("/api/v1/openapi.json", headers=cookie)
    assert fault(answer) == (401, "unauthorized")


async def test_a_session_ends_by_itself_and_sessions_are_bounded(
    guarded: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def status(session: str | None) -> int:
        cookie = {"Cookie": f"{access_module.SESSION_COOKIE}={session}"}
        return (await guarded.http.get("/api/v1/openapi.json", headers=cookie)).status_code

    monkeypatch.setattr(access_module, "MAX_SESSIONS", 2)
    access = guarded.desk.access
    first, second, third = (access.log_in(READS) for _ in range(3))
    assert [await status(one) for one in (first, second, third)] == [401, 200, 200]
    monkeypatch.setattr(access_module, "SESSION_SECONDS", 0.0)
    assert await status(access.log_in(READS)) == 401


# ── where requests come from ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io"])
async def test_a_foreign_name_that_points_here_is_not_answered(host: str, office: Office) -> None:
    answer = await office.http.get("/api/v1/openapi.json", headers={"Host": host})
    assert fault(answer) == (421, "misdirected")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080"])
async def test_names_of_this_machine_are_answered(host: str, still: Office) -> None:
    answer = await still.http.get("/api/v1/openapi.json", headers={"Host": host})
    assert answer.status_code == 200


async def test_with_tokens_any_name_may_be_used(guarded: Office) -> None:
    answer = await guarded.http.get(
        "/api/v1/openapi.json", headers={"Host": "sagas.example", **bearer(READS)}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_origin_changes_nothing(
    headers: dict[str, str], office: Office
) -> None:
    answer = await office.http.post("/api/v1/sagas", json=ERRAND, headers=headers)
    assert fault(answer) == (403, "forbidden")
    assert office.desk.queries.counts() == {}
    own = {"Origin": LOCAL, "Sec-Fetch-Site": "same-origin"}
    assert (await office.http.post("/api/v1/sagas", json=ERRAND, headers=own)).status_code == 201


async def test_a_form_of_another_page_is_no_json(office: Office) -> None:
    for media in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = await office.http.post(
            "/api/v1/sagas",
            content=b'{"type": "errand", "data": {"thing": "a"}}',
            headers={"Content-Type": media},
        )
        assert fault(answer) == (415, "unsupported-media-type")
    assert office.desk.queries.counts() == {}


async def test_every_answer_keeps_to_itself(office: Office) -> None:
    for path in ("/api/v1/openapi.json", "/api/v1/sagas/nobody", "/nowhere"):
        headers = (await office.http.get(path, headers={"Origin": "https://evil.example"})).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert not [name for name in headers if name.startswith("access-control-")]


# ── what requests bring ──────────────────────────────────────────────────────────────────────────


async def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(
    office: Office,
) -> None:
    huge = b"x" * (guard.MAX_BODY_BYTES + 1)
    json = {"Content-Type": "application/json"}
    answer = await office.http.post("/api/v1/sagas", content=huge, headers=json)
    assert fault(answer) == (413, "too-large")
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 65_536

    answer = await office.http.post("/api/v1/sagas", content=pieces(), headers=json)
    assert fault(answer) == (413, "too-large")
    assert sent < 100, "it is not read to its end"


async def test_a_body_that_does_not_come_is_not_waited_for(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)

    async def drops() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)
        yield b"}"

    answer = await office.http.post(
        "/api/v1/sagas", content=drops(), headers={"Content-Type": "application/json"}
    )
    assert fault(answer) == (408, "too-slow")


async def test_errors_have_one_shape_wherever_they_come_from(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault(await office.http.get("/nowhere")) == (404, "not-found")
    assert fault(await office.http.get("/api/v1/nowhere")) == (404, "not-found")
    answer = await office.http.delete("/api/v1/sagas/x")
    assert fault(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"
    answer = await office.http.delete("/api/v1/sagas")
    assert answer.headers["allow"] == "GET, POST"

    def broken(saga_id: str) -> None:
        raise RuntimeError(f"a secret about {saga_id}")

    monkeypatch.setattr(office.desk.queries, "status", broken)
    answer = await office.http.get("/api/v1/sagas/x")
    assert fault(answer) == (500, "internal")
    assert "secret" not in answer.text


async def test_more_questions_than_can_be_answered_are_turned_away(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.web.desk.READERS", 0)
    monkeypatch.setattr("es_saga.web.desk.MAX_QUESTIONS", 0)
    answer = await office.http.get("/api/v1/sagas/x")
    assert fault(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


# ── where we listen ──────────────────────────────────────────────────────────────────────────────


def test_beyond_this_machine_only_with_tokens() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(InvalidInput) as refused:
            server.listen(host, 0, guarded=False)
        assert "ES_SAGA_TOKENS" in refused.value.hint
    with server.listen("0.0.0.0", 0, guarded=True) as listener:
        assert server.address(listener).startswith("http://127.0.0.1:")


def test_without_a_port_the_next_free_one_is_taken_and_with_one_only_that() -> None:
    with server.listen("127.0.0.1", 0, guarded=False) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput) as refused:
            server.listen("127.0.0.1", port, guarded=False)
        assert str(port) in refused.value.message
    with (
        server.listen("127.0.0.1", None, guarded=False) as first,
        server.listen("127.0.0.1", None, guarded=False) as second,
    ):
        assert first.getsockname()[1] != second.getsockname()[1]


def test_a_host_that_is_none_is_refused() -> None:
    for host in ("no.such.host.invalid", "x" * 300):
        with pytest.raises(InvalidInput):
            server.listen(host, 0, guarded=True)


def test_a_token_is_told_apart_from_all_others_whatever_its_place() -> None:
    secrets = [f"secret-of-number-{number:04}" for number in range(5)]
    access = Access([Token(f"n{n}", Role.READ, d.digest) for n, d in enumerate(_digests(secrets))])
    for number, secret in enumerate(secrets):
        caller = access.known(secret)
        assert caller is not None
        assert caller.name == f"n{number}"


def _digests(secrets: list[str]) -> list[Token]:
    return [read_tokens(f"x:{secret}")[0] for secret in secrets]

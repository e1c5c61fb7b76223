"""What nobody should send: pages and forms answer with an error in words, and nothing changes."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from es_saga.engine.client import Client
from es_saga.engine.ports import Questions
from es_saga.engine.requests import Answer, Operated, VerbRequest
from tests.dashboard.sample import SAGAS
from tests.dashboard.serving import Site, serving

HOSTILE = "<script>alert(1)</script>"
LONG = "x" * 3_000
WRONG = ("x", "-1", "9" * 9, "9" * 30, "nan", "\x00", HOSTILE, "'\"", LONG, "٣", "a\nb", "{}")
IDS = ("nobody", LONG, "\x00", "<script>alert(1)", "\ufffd", "a b", "'; drop", "-")
PARAMETERS = {
    "/": ("within",),
    "/sagas": ("status", "type", "step", "reason", "since", "q", "after"),
    "/sagas/{saga}": ("done",),
    "/sagas/{saga}/history": ("after",),
    "/sagas/{saga}/travel": ("at", "check", "if", "says"),
    "/sagas/{saga}/operate": ("verb", "step", "direction", "outcome", "reply"),
    "/pending": ("after", "type", "step"),
    "/incidents": ("since", "type"),
    "/compare": ("a", "b"),
    "/participants": ("within",),
    "/login": ("next",),
}
TABS = ("", "/history", "/travel", "/messages", "/ledger", "/operate?verb=retry")
NESTED = '{"a":' * 2_000 + "1" + "}" * 2_000


class Asked(Client):
    """The process manager's end of the line: notes what reaches it, and does nothing."""

    def __init__(self) -> None:
        self.verbs: list[VerbRequest] = []
        self.started = 0

    async def start(self, saga_type: str, data: object, **_: object) -> Answer:
        self.started += 1
        return Answer(saga={"saga_id": "order-1"}, created=True)

    async def operate(self, saga_id: str, request: VerbRequest, *, timeout: float = 10.0) -> Answer:
        self.verbs.append(request)
        return Answer(saga={}, events=[], commands=[])

    async def operate_all(
        self,
        saga_ids: Iterable[str],
        request: VerbRequest,
        *,
        versions: Mapping[str, int] | None = None,
        timeout: float = 10.0,
    ) -> list[Operated]:
        self.verbs.append(request)
        return []


class Line:
    """Leads to it."""

    def __init__(self) -> None:
        self.end = Asked()

    async def client(self) -> Client:
        return self.end

    async def questions(self) -> Questions:
        raise NotImplementedError("no page asks participants")

    async def unserved(self, services: Collection[str]) -> Collection[str]:
        return ()

    tenant = "main"


@pytest.fixture(scope="module")
def line() -> Line:
    return Line()


@pytest.fixture(scope="module")
def site(sample_log: str, line: Line) -> Generator[Site, None, None]:
    with serving(sample_log, [one.definition for one in SAGAS], line=line) as found:
        yield found


@pytest.fixture
def browser(site: Site) -> Generator[httpx.Client, None, None]:
    """What a browser sends, without the browser: it would not send most of this."""
    headers = {"Accept": "text/html", "Origin": site.url}
    with httpx.Client(base_url=site.url, headers=headers, timeout=20) as found:
        yield found


@pytest.fixture
def saga(browser: httpx.Client) -> str:
    items = browser.get("/api/v1/sagas?status=stuck&limit=1").json()["items"]
    return str(items[0]["saga_id"])


def proof(browser: httpx.Client) -> str:
    found = re.search(r'name="proof" value="(\w+)"', browser.get("/batch").text)
    assert found
    return found[1]


def check(answer: httpx.Response, what: object, *statuses: int) -> None:
    """It is a page in words, whatever it says; nothing of what was sent has become part of it."""
    assert answer.status_code in statuses, (what, answer.status_code)
    if answer.status_code != 303:
        assert answer.headers["content-type"].startswith("text/html"), what
        assert "script-src 'self'" in answer.headers["content-security-policy"], what
        assert "<script>alert" not in answer.text, what


def test_ids_that_are_none_are_not_found(browser: httpx.Client) -> None:
    for saga_id in IDS:
        for tab in TABS:
            path = f"/sagas/{quote(saga_id, safe='')}{tab}"
            check(browser.get(path), path, 404, 422)
    for version in ("0", "x", "9" * 30, "\x00", "-1"):
        check(browser.get(f"/definitions/order/{quote(version)}"), version, 404)


@pytest.mark.parametrize("path", PARAMETERS)
def test_parameters_that_do_not_do_are_named(browser: httpx.Client, saga: str, path: str) -> None:
    for name in PARAMETERS[path]:
        for value in WRONG:
            answer = browser.get(path.format(saga=saga), params={name: value})
            check(answer, (name, value), 200, 404, 422)
    for name, value in (("within", "x"), ("since", "x"), ("after", "x"), ("status", "odd")):
        if name in PARAMETERS[path] and not path.endswith("history"):
            answer = browser.get(path, params={name: value})
            check(answer, (name, value), 422)


def wrong_verbs() -> Iterator[tuple[str, str]]:
    """A field of the form, and what it may not hold."""
    for value in ("", "explode", HOSTILE):
        yield "verb", value
    for name in ("reason", "actor"):
        yield from ((name, value) for value in ("", " \n", "a\x00b", "x" * 1_001))
    yield from (("version", value) for value in ("", "x", "٣", "9" * 30, "-1", "1.0"))
    yield from (("operation", value) for value in ("a b", "x" * 65, HOSTILE))
    yield from (("direction", "sideways"), ("outcome", "odd"))
    yield from (("reply", value) for value in ("{", "[1]", "1", "[" * 100_000, NESTED))
    yield from (("proof", value) for value in ("", "0" * 64, "٣", "\x00"))


def test_a_verb_that_is_none_goes_nowhere(browser: httpx.Client, saga: str, line: Line) -> None:
    form = {"verb": "resolve", "reason": "r", "actor": "me", "act": "do", "version": "1"}
    form |= {"proof": proof(browser), "step": "charge"}
    path = f"/sagas/{saga}/operate"
    before = len(line.end.verbs)
    for name, value in wrong_verbs():
        check(browser.post(path, data=form | {name: value}), (name, value[:40]), 422)
        assert len(line.end.verbs) == before, (name, value[:40])
    for saga_id in IDS:
        lost = browser.post(f"/sagas/{quote(saga_id, safe='')}/operate", data={**form, "proof": ""})
        check(lost, saga_id, 404, 422)
    assert len(line.end.verbs) == before
    check(browser.post(path, data=form), "as it should be", 303)
    assert len(line.end.verbs) == before + 1


def test_a_start_that_is_none_begins_nothing(browser: httpx.Client, line: Line) -> None:
    form = {"type": "order", "data": "{}", "once": "1", "proof": proof(browser)}
    for name, value, status in (
        *(("type", value, 404) for value in ("nobody", HOSTILE, "x" * 300, "\x00")),
        *(("key", value, 422) for value in ("a b", "x" * 65, HOSTILE, "\x00")),
        *(("data", value, 422) for value in ("", "{", "[1]", "1", "[" * 100_000, NESTED)),
        ("once", "a b", 422),
        ("proof", "٣", 422),
    ):
        check(browser.post("/start", data=form | {name: value}), (name, value[:40]), status)
    assert line.end.started == 0
    check(browser.post("/start", data=form), "as it should be", 303)
    assert line.end.started == 1
    check(browser.get("/start?type=nobody"), "nobody", 404)


def test_a_batch_of_what_is_no_saga_goes_nowhere(
    browser: httpx.Client, saga: str, line: Line
) -> None:
    form = {"verb": "retry", "reason": "r", "actor": "me", "act": "do", "proof": proof(browser)}
    before = len(line.end.verbs)
    for name in ("id", "ids"):
        for value in ("a b@c", f"{saga}@x", f"{saga}@{'9' * 30}", "@", HOSTILE, "x" * 65, "\x00"):
            check(browser.post("/batch", data=form | {name: value}), (name, value[:40]), 422)
    for value in ("", "explode"):
        check(browser.post("/batch", data=form | {"id": saga, "verb": value}), value, 422)
    check(browser.post("/batch", data=form | {"ids": "nobody"}), "nobody", 422)
    check(browser.post("/batch", data=form | {"which": "all", "status": "odd"}), "status", 422)
    assert len(line.end.verbs) == before


def test_who_acts_may_have_any_name(browser: httpx.Client, saga: str, line: Line) -> None:
    form = {"verb": "retry", "reason": "r", "act": "look", "version": "1", "proof": proof(browser)}
    for name in ("Łukasz", "漢字", 'a "b"; c', "Jürgen"):
        path = f"/sagas/{saga}/operate"
        check(browser.post(path, data=form | {"actor": name}), name, 200)
        assert line.end.verbs[-1].actor == name
        shown = browser.get(f"{path}?verb=retry").text
        assert f'value="{name}"'.replace('"b"', "&#34;b&#34;") in shown, "it is remembered"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nhi\r\n--x--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 5_000)),
        ("application/x-www-form-urlencoded", b"%ff=%00"),
        ("application/json", b"{}"),
    ],
)
def test_a_body_that_is_no_form_is_a_page_that_says_so(
    browser: httpx.Client, saga: str, kind: str, body: bytes
) -> None:
    for path in ("/batch", f"/sagas/{saga}/operate", "/projections/status/verify"):
        answer = browser.post(path, content=body, headers={"Content-Type": kind})
        check(answer, path, 422)
    for path in ("/login", "/logout", "/theme"):
        answer = browser.post(path, content=body, headers={"Content-Type": kind})
        check(answer, path, 303, 401, 422)


def test_nothing_leads_to_another_site(browser: httpx.Client) -> None:
    form = {"proof": proof(browser), "theme": "dark"}
    for onward in ("//evil.example", "https://evil.example", "/\\evil.example", "x" * 3_000):
        answer = browser.post("/theme", data=form | {"next": onward})
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), onward


def test_the_files_of_the_dashboard_are_those_and_no_others(browser: httpx.Client) -> None:
    here = Path(__file__).name
    for path in ("/static/x/app.css", f"/static/x/..%2f..%2f{here}", "/static/%00/%00"):
        assert browser.get(path).status_code == 404

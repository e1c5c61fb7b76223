"""`doctor`, `migrate`, `streams`, and where settings come from."""

from __future__ import annotations

import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest

from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.config import load, public
from es_saga.core.errors import InvalidInput
from tests.cli.conftest import Cli, Running

SECRETS = ("s3cret", "t0ken", "pr1vate")


def findings(report: Any) -> dict[str, Any]:
    return {one["what"]: one for one in report["health"]}


def test_a_flag_beats_the_environment_beats_a_file_beats_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load().tenant == "main"
    Path("pyproject.toml").write_text('[tool.es_saga]\ntenant = "pyproject"\n')
    assert load().tenant == "pyproject"
    Path("es_saga.toml").write_text('tenant = "file"\n')
    assert load().tenant == "file"
    monkeypatch.setenv("ES_SAGA_TENANT", "environment")
    assert load().tenant == "environment"
    assert load(tenant="flag").tenant == "flag"


@pytest.mark.parametrize("text", ["tenant = ", "tennant = 'x'", "cached_sagas = 'many'"])
def test_a_faulty_file_of_settings_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("es_saga.toml").write_text(text)

    refused = cli("list")

    assert (refused.code, refused.out) == (2, "")
    assert "es_saga.toml" in refused.err


def test_projections_are_given_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_SAGA_PROJECTIONS", "shop:board, shop:ledger")

    assert load().projections == ("shop:board", "shop:ledger")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@db/log", "postgresql://me:***@db/log"),
        ("postgresql://me:a@b:c@db/log", "postgresql://me:***@db/log"),
        ("postgresql://db/log?password=s3cret&x=1", "postgresql://db/log?password=***&x=1"),
        ("nats://t0ken@host:4222", "nats://***@host:4222"),
        ("sqlite:///log.db", "sqlite:///log.db"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert public(url) == shown


def test_doctor_finds_a_running_system_well(cli: Cli, shop: Running) -> None:
    examined = cli("doctor", "-o", "json", data=shop.data)

    assert examined.code == 0
    found = findings(examined.json())
    assert str(shop.process.pid) in found["running"]["finding"]
    assert "JetStream" in found["nats"]["finding"]
    assert found["database"]["health"] == "well"
    sources = {one["setting"]: one["source"] for one in examined.json()["configuration"]}
    assert (sources["data"], sources["tenant"]) == ("--data", "default")
    table = cli("doctor", data=shop.data)
    assert "sqlalchemy" in table.out
    assert table.err == ""


def test_doctor_makes_nothing(cli: Cli, tmp_path: Path) -> None:
    with EmbeddedNats() as server:
        well = cli("doctor", "--nats", server.url, data=tmp_path / "none")
        streams = cli("streams", "status", "--nats", server.url, "-o", "json")

    assert well.code == 0
    assert list(tmp_path.iterdir()) == []
    assert (streams.code, streams.json()) == (6, [])


@pytest.mark.parametrize(
    "flags",
    [("--database", "postgresql://me@127.0.0.1:1/log"), ("--nats", "nats://127.0.0.1:1")],
)
def test_doctor_exits_5_when_something_is_out_of_reach(
    cli: Cli, tmp_path: Path, flags: tuple[str, str]
) -> None:
    examined = cli("doctor", *flags, "-o", "json", data=tmp_path / "none")

    assert examined.code == 5
    what = flags[0].removeprefix("--")
    assert findings(examined.json())[what]["health"] == "bad"


def test_neither_doctor_nor_its_bundle_tells_a_secret(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "support.zip"
    secret = {
        "ES_SAGA_DATABASE": "postgresql://me:s3cret@127.0.0.1:1/log",
        "ES_SAGA_NATS": "nats://t0ken@127.0.0.1:1",
        "ES_SAGA_NATS_PASSWORD": "pr1vate",
        "ES_SAGA_DATA": str(tmp_path / "none"),
    }
    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    log = tmp_path / "none" / "nats" / "run" / "server.log"
    log.parent.mkdir(parents=True)
    log.write_text("somebody came with pr1vate and with s3cret")

    examined = cli("doctor", "--bundle", bundle)
    again = cli("doctor", "--bundle", bundle)

    assert examined.code == 5
    with zipfile.ZipFile(bundle) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {"doctor.json", "packages.json", "sagas.json", "nats-server.log"} <= texts.keys()
    for text in (examined.out, examined.err, *texts.values()):
        assert not any(word in text for word in SECRETS)
    assert again.code == 2
    assert "already" in again.err


def test_a_bundle_holds_no_peoples_data(cli: Cli, shop: Running, tmp_path: Path) -> None:
    order = (
        '{"order_id": "b", "customer": "ada-lovelace", "sku": "teapot", "pence": 1999,'
        ' "card": "visa", "town": "Leeds"}'
    )
    cli("start", "order", "--key", "b", "--wait", "-i", order, data=shop.data)
    bundle = tmp_path / "support.zip"

    assert cli("doctor", "--bundle", bundle, data=shop.data).code == 0

    with zipfile.ZipFile(bundle) as archive:
        whole = "".join(archive.read(name).decode() for name in archive.namelist())
    assert "order-b" in whole
    assert "ada-lovelace" not in whole
    assert "Leeds" not in whole


def test_migrate_takes_a_database_to_this_release(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    missing = cli("migrate", "status", data=data)
    data.mkdir()
    sqlite3.connect(data / "log.db").close()
    before = cli("migrate", "status", "-o", "json", data=data)
    first = cli("migrate", "up", "-o", "json", data=data)
    second = cli("migrate", "up", data=data)
    after = cli("migrate", "status", data=data)

    assert missing.code == 5
    assert (before.code, before.json()["current"]) == (6, False)
    assert (first.code, first.json()["current"]) == (0, True)
    assert (second.code, after.code) == (0, 0)
    assert cli("list", data=data).code == 0


def test_migrate_sql_prints_a_script_and_touches_nothing(cli: Cli, tmp_path: Path) -> None:
    script = cli("migrate", "sql", "--database", "postgresql://me@127.0.0.1:1/log")

    assert script.code == 0
    assert "CREATE TABLE es_events" in script.out
    assert list(tmp_path.iterdir()) == []


def test_a_schema_of_a_later_release_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    cli("migrate", "up", data=tmp_path)
    with sqlite3.connect(tmp_path / "log.db") as log:
        log.execute("UPDATE es_schema SET version_num = '9999'")
    log.close()

    assert cli("migrate", "up", data=tmp_path).code == 4
    assert cli("migrate", "status", data=tmp_path).code == 6
    assert cli("doctor", data=tmp_path).code == 5


def test_streams_are_ensured_and_shown(cli: Cli) -> None:
    with EmbeddedNats() as server:
        words = ("--nats", server.url, "--tenant", "t1", "-o", "json")
        ensured = cli("streams", "ensure", *words)
        again = cli("streams", "ensure", *words)
        shown = cli("streams", "status", *words)

    assert (ensured.code, again.code, shown.code) == (0, 0, 0)
    names = [stream["name"] for stream in shown.json()]
    assert names == [f"ES_t1_{kind}" for kind in ("CMD", "RPL", "EVT", "DLQ", "ALR", "ADV")]


def test_a_setting_that_does_not_fit_is_named() -> None:
    with pytest.raises(InvalidInput, match="concurrency"):
        load(concurrency=0)

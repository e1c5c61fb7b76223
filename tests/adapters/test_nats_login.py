"""Who may use the broker: passwords, tokens, keys, credentials, certificates; on a real server."""

from __future__ import annotations

import base64
import importlib
import json
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from es_saga.adapters.nats import NatsTransport
from es_saga.adapters.nats_link import Login
from es_saga.adapters.nats_server import EmbeddedNats
from es_saga.core.errors import Unavailable
from es_saga.testing.contracts.pipes import Seen, eventually, message, stock, to_stock

pytestmark = pytest.mark.anyio

nkeys: Any = importlib.import_module("nkeys")  # which says nothing of its types

TURNED_AWAY = "Authorization Violation|reset by peer"  # it may hang up before we have read why


def configure(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str, jetstream: bool = True
) -> None:
    """Have the embedded server run with another configuration."""
    lines = [
        'listen: "127.0.0.1:-1"',
        f'ports_file_dir: "{folder}/run"',
        *([f'jetstream {{ store_dir: "{folder}" }}'] if jetstream else []),
        *more,
    ]

    def given(_: EmbeddedNats) -> str:
        return "\n".join([*lines, ""])

    monkeypatch.setattr(EmbeddedNats, "_configuration", given)


async def assert_it_works(url: str, login: Login) -> None:
    """A message goes out and comes in."""
    pipe = await NatsTransport.connect(url, login=login)
    seen = Seen()
    await pipe.consume(stock(pipe), seen)
    await pipe.publish(to_stock(pipe), message("a"))
    await eventually(lambda: seen.ids == ["a"])
    await pipe.close()


async def test_a_server_without_jetstream_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, tmp_path, jetstream=False)
    with EmbeddedNats(tmp_path) as server, pytest.raises(Unavailable, match="-js"):
        await NatsTransport.connect(server.url)


async def test_a_wrong_password_is_a_clear_error_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = "authorization { users: [ { user: all, password: right } ] }"
    configure(monkeypatch, tmp_path, users)
    with EmbeddedNats(tmp_path) as server:
        with pytest.raises(Unavailable, match=TURNED_AWAY) as caught:
            await NatsTransport.connect(server.url, login=Login(user="all", password="wrong"))
        assert "wrong" not in str(caught.value)
        await assert_it_works(server.url, Login(user="all", password="right"))


async def test_a_missing_permission_is_named_and_not_taken_for_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_saga.adapters.nats_streams.API_SECONDS", 0.5)
    one = '{ user: me, password: p, permissions: { publish: ["nothing"] } }'
    configure(monkeypatch, tmp_path, f"authorization {{ users: [ {one} ] }}")
    with (
        EmbeddedNats(tmp_path) as server,
        pytest.raises(Unavailable, match=r"(?i)permissions violation"),
    ):
        await NatsTransport.connect(server.url, login=Login(user="me", password="p"))


async def test_a_token_opens_the_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, tmp_path, "authorization { token: sesame }")
    with EmbeddedNats(tmp_path) as server:
        with pytest.raises(Unavailable, match=TURNED_AWAY):
            await NatsTransport.connect(server.url, login=Login(token="barley"))
        await assert_it_works(server.url, Login(token="sesame"))


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


class Key:
    """An nkey made for this test."""

    def __init__(self, prefix: int) -> None:
        seed = nkeys.encode_seed(os.urandom(32), prefix)
        self.seed = bytes(seed).decode()
        self._pair = nkeys.from_seed(bytearray(seed))
        self.public = bytes(self._pair.public_key).decode()

    def token(self, subject: Key, kind: str, **claims: Any) -> str:
        """What this key says of another one: a JWT as the server wants it."""
        body = {
            "jti": f"{kind}-of-a-test",
            "iat": 1_700_000_000,
            "iss": self.public,
            "name": kind,
            "sub": subject.public,
            "nats": {"type": kind, "version": 2, **claims},
        }
        signed = f"{_text({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_text(body)}"
        return f"{signed}.{_base64(self._pair.sign(signed.encode()))}"


def _text(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


async def test_an_nkey_opens_the_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, other = Key(nkeys.PREFIX_BYTE_USER), Key(nkeys.PREFIX_BYTE_USER)
    configure(monkeypatch, tmp_path, f"authorization {{ users: [ {{ nkey: {ours.public} }} ] }}")
    with EmbeddedNats(tmp_path) as server:
        with pytest.raises(Unavailable, match=TURNED_AWAY):
            await NatsTransport.connect(server.url, login=Login(nkey=other.seed))
        await assert_it_works(server.url, Login(nkey=ours.seed))


async def test_a_credentials_file_opens_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = Key(nkeys.PREFIX_BYTE_OPERATOR)
    system, shop = Key(nkeys.PREFIX_BYTE_ACCOUNT), Key(nkeys.PREFIX_BYTE_ACCOUNT)
    user = Key(nkeys.PREFIX_BYTE_USER)
    free = dict.fromkeys(("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1)
    stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    accounts = {
        system: operator.token(system, "account", limits=free),
        shop: operator.token(shop, "account", limits=free | stored),
    }
    preload = ", ".join(f'{key.public}: "{token}"' for key, token in accounts.items())
    configure(
        monkeypatch,
        tmp_path,
        f'operator: "{operator.token(operator, "operator", system_account=system.public)}"',
        f"system_account: {system.public}",
        "resolver: MEMORY",
        f"resolver_preload: {{ {preload} }}",
    )
    file = tmp_path / "user.creds"
    token = shop.token(user, "user", subs=-1, data=-1, payload=-1)
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    with EmbeddedNats(tmp_path) as server:
        with pytest.raises(Unavailable, match=TURNED_AWAY):
            await NatsTransport.connect(server.url)
        await assert_it_works(server.url, Login(credentials=file))


# ── certificates ─────────────────────────────────────────────────────────────────────────────────


async def test_the_line_is_encrypted_and_the_server_proves_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, certificate = trustme.CA(), tmp_path / "server.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    configure(
        monkeypatch, tmp_path, f'tls {{ cert_file: "{certificate}", key_file: "{certificate}" }}'
    )
    trusting, wary = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(trusting)  # pyright: ignore[reportUnknownMemberType]
    with EmbeddedNats(tmp_path) as server:
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await NatsTransport.connect(server.url, login=Login(tls=wary))
        await assert_it_works(server.url, Login(tls=trusting))

"""Every setting in one place. No other module reads the environment or a file of settings.

Order: command-line flag, environment `ES_SAGA_*`, `es_saga.toml` or `[tool.es_saga]` of
pyproject.toml, default.
"""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import unquote

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from es_saga.core.errors import InvalidInput, SagaError

ENVIRONMENT: Final = "ES_SAGA_"
"""What the names of our environment variables begin with."""

FILE: Final = "es_saga.toml"
HIDDEN: Final = "***"
_SECRET_PARAMETER: Final = re.compile(r"([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)([^&]*)", re.I)


class Settings(BaseSettings):
    """How this process finds its log, its broker and its participants' databases."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        toml_file=FILE,
        pyproject_toml_table_header=("tool", "es_saga"),
    )

    data: Path = Path(".es_saga")
    """Folder of everything embedded: logs in SQLite, the NATS server's store."""
    database: SecretStr | None = None
    """URL of the log's database; default: SQLite in the data folder."""
    encryption_key: SecretStr | None = None
    """32 bytes in base64: sensitive fields of sagas that begin from now on are encrypted in the log
    with it, each saga's with a key of its own."""
    nats: str | None = None
    """URL of the broker, several with commas; default: a server of our own in the data folder."""
    nats_credentials: Path | None = None
    nats_nkey: SecretStr | None = None
    nats_user: str | None = None
    nats_password: SecretStr | None = None
    nats_token: SecretStr | None = None
    nats_ca: Path | None = None
    """Certificate authority that the broker's certificate is checked against."""
    sync: bool | None = None
    """The broker writes every message to disk before it confirms it; default: our own one does."""
    tenant: str = "main"
    app: str | None = None
    """Which app the command line talks to; default: the one running in the data folder."""
    participant_database: SecretStr | None = None
    """URL of the participants' databases, with `{name}`; default: SQLite in the data folder."""
    projections: Annotated[tuple[str, ...], NoDecode] = ()
    """Read models that `run` keeps up to date: `module:attribute` each, with commas between."""
    starts_during_outage: Literal["hold", "refuse"] = "hold"
    cached_sagas: int = Field(default=100_000, ge=16, le=10_000_000)
    concurrency: int = Field(default=256, ge=1, le=10_000)
    """Commands that one participant process works on at once."""
    relay: Literal["polling", "tailing"] = "polling"
    """How participants publish their outbox: asking its table, or following the transaction log of
    their PostgreSQL, which takes `wal_level = logical` and a role with `REPLICATION`."""
    slot_limit: int = Field(default=256, ge=1, le=1_048_576)
    """MiB of its log that PostgreSQL may keep for a participant's outbox until it is an alert."""
    actor: str = Field(default_factory=lambda: _actor(), min_length=1, max_length=200)
    """Who intervenes, for the audit trail."""
    tokens: SecretStr | None = None
    """Who may use the HTTP API: NAME:ROLE:SECRET each, with commas between; role read, operate."""
    tokens_file: Path | None = None
    """A file of such tokens, one a line; `es-saga token` writes lines that hold no secret."""
    alert_after: float = Field(default=900.0, ge=0, le=366 * 86_400, allow_inf_nan=False)
    """Seconds without progress after which a saga is an alert; 0: never."""
    alert_webhook: SecretStr | None = None
    """Web address that every alert is posted to, as a CloudEvent, when it opens and closes."""
    alert_logged: bool = True
    """Write alerts to stderr; they are in `es-saga alerts` in any case."""
    alert_nats: bool = False
    """Publish alerts on `saga.v1.<tenant>.alr.<app>.<kind>` as well."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("projections", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls),
            PyprojectTomlConfigSettingsSource(settings_cls),
        )

    @property
    def database_url(self) -> str:
        """The log's database."""
        if self.database is not None:
            return self.database.get_secret_value()
        return f"sqlite:///{self.data / 'log.db'}"

    @property
    def database_file(self) -> Path | None:
        """The log's file where it is SQLite; None elsewhere."""
        scheme, separator, path = self.database_url.partition(":///")
        if not separator or scheme.partition("+")[0] != "sqlite":
            return None
        return Path(path.partition("?")[0])

    @property
    def synced(self) -> bool:
        """Whether the broker syncs every message; ours does, of another one it has to be said."""
        return self.nats is None if self.sync is None else self.sync

    def participant_url(self, name: str) -> str:
        """One participant's own database."""
        if self.participant_database is not None:
            return self.participant_database.get_secret_value().replace("{name}", name)
        return f"sqlite:///{self.data / f'{name}.db'}"

    def secrets(self) -> list[str]:
        """Everything that must not be shown, as it would stand in a text; the longest first."""
        found = {
            secret.get_secret_value()
            for name in type(self).model_fields
            if isinstance(secret := getattr(self, name), SecretStr)
        }
        for url in [*found, self.nats or ""]:
            login = url.rpartition("@")[0].partition("://")[2]
            found |= {login, login.partition(":")[2], unquote(login.partition(":")[2])}
            found |= {match[2] for match in _SECRET_PARAMETER.finditer(url)}
        if self.tokens is not None:
            entries = re.split(r"[\s,]+", self.tokens.get_secret_value())
            found |= {entry.rpartition(":")[2] for entry in entries}
        return sorted(filter(None, found), key=len, reverse=True)


def load(**flags: Any) -> Settings:
    """The settings, flags that are None left out.

    Raises:
        InvalidInput: a value does not fit, or a file cannot be read; the message names it.
    """
    try:
        return Settings(**_given(flags))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise InvalidInput(
            f"The configuration does not do: {faults}.",
            hint=f"Look at the flags, at {ENVIRONMENT}*, {FILE} and pyproject.toml, in this order.",
        ) from error
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{FILE} or pyproject.toml is no TOML: {error}.") from error
    except SettingsError as error:
        raise InvalidInput(f"The configuration does not do: {error}.") from error
    except OSError as error:
        raise InvalidInput(f"The configuration cannot be read: {error}.") from error


class Origin(NamedTuple):
    """A setting, what it is, and where that comes from."""

    setting: str
    value: str
    """As it may be shown: secrets are hidden."""
    source: str


def origins(settings: Settings, **flags: Any) -> list[Origin]:
    """Where each setting comes from; `flags` are those that `settings` was loaded with."""
    environment = EnvSettingsSource(
        Settings, case_sensitive=False, env_prefix=ENVIRONMENT, env_ignore_empty=True
    )
    layers: list[tuple[str, dict[str, Any]]] = [
        ("--{}", _given(flags)),
        ("{}", {name: value for name, value in environment().items() if value is not None}),
        (FILE, TomlConfigSettingsSource(Settings)()),
        ("pyproject.toml", PyprojectTomlConfigSettingsSource(Settings)()),
    ]
    found: list[Origin] = []
    for name in Settings.model_fields:
        source = next((label for label, values in layers if name in values), "default")
        if source == "{}":
            source = f"{ENVIRONMENT}{name.upper()}"
        found.append(Origin(name, _shown(getattr(settings, name)), source.format(name)))
    return found


def public(url: str) -> str:
    """A URL without its password or token, to be shown.

    >>> public("postgresql://me:secret@db/log?sslpassword=other")
    'postgresql://me:***@db/log?sslpassword=***'
    """
    login, separator, rest = url.rpartition("@")
    if separator:
        scheme, _, who = login.partition("://")
        user, colon, _ = who.partition(":")
        url = f"{scheme}://{f'{user}:' if colon else ''}{HIDDEN}@{rest}"
    return _SECRET_PARAMETER.sub(rf"\g<1>{HIDDEN}", url)


def debugging() -> bool:
    """Whether tracebacks are wanted: the log level is debug."""
    try:
        return load().log_level == "debug"
    except SagaError:
        return False


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        if secret.startswith(("http://", "https://")):  # a webhook's path is its password
            scheme, _, rest = secret.partition("://")
            return f"{scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}/{HIDDEN}"
        return public(secret) if "://" in secret else HIDDEN
    if isinstance(value, tuple):
        return ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return public(str(value))


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"

"""Every setting in one place. No other module reads the environment or a file of settings.

Order: command-line flag, environment `ES_SAGA_*`, `es_saga.toml` or `[tool.es_saga]` of
pyproject.toml, default.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from es_saga.core.errors import InvalidInput


class Settings(BaseSettings):
    """How this process finds its log, its broker and its participants' databases."""

    model_config = SettingsConfigDict(
        env_prefix="ES_SAGA_",
        frozen=True,
        extra="forbid",
        toml_file="es_saga.toml",
        pyproject_toml_table_header=("tool", "es_saga"),
    )

    data: Path = Path(".es_saga")
    """Folder of everything embedded: logs in SQLite, the NATS server's store."""
    database: SecretStr | None = None
    """URL of the log's database; default: SQLite in the data folder."""
    nats: str | None = None
    """URL of the broker; default: a server of our own in the data folder."""
    nats_credentials: Path | None = None
    nats_nkey: SecretStr | None = None
    nats_user: str | None = None
    nats_password: SecretStr | None = None
    nats_token: SecretStr | None = None
    nats_ca: Path | None = None
    """Certificate authority that the broker's certificate is checked against."""
    sync: bool = False
    """The embedded broker writes every message to disk before it confirms it."""
    tenant: str = "main"
    app: str | None = None
    """Which app the command line talks to; default: the one running in the data folder."""
    participant_database: SecretStr | None = None
    """URL of the participants' databases, with `{name}`; default: SQLite in the data folder."""
    projections: tuple[str, ...] = ()
    """Read models that `run` keeps up to date: `module:attribute` each."""
    starts_during_outage: Literal["hold", "refuse"] = "hold"
    cached_sagas: int = Field(default=100_000, ge=16, le=10_000_000)
    concurrency: int = Field(default=256, ge=1, le=10_000)
    """Commands that one participant process works on at once."""
    actor: str = Field(default_factory=lambda: _actor(), min_length=1, max_length=200)
    """Who intervenes, for the audit trail."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

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

    def participant_url(self, name: str) -> str:
        """One participant's own database."""
        if self.participant_database is not None:
            return self.participant_database.get_secret_value().replace("{name}", name)
        return f"sqlite:///{self.data / f'{name}.db'}"


def load(**flags: Any) -> Settings:
    """The settings, flags that are None left out.

    Raises:
        InvalidInput: a value does not fit; the message names it and its source's name for it.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise InvalidInput(
            f"The configuration does not do: {faults}.",
            hint="`es-saga doctor` shows where each value comes from.",
        ) from error


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"

"""Configuration: one YAML file, environment variables BANDIT_ROUTER_*, and flags; the later wins.

This is the only reader of the environment. A key that nobody knows is refused by its name: a misspelt limit would
otherwise be no limit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from bandit_router.adapters.system import Fsync
from bandit_router.app.bootstrap import PoolSpec, TenantSpec, violations
from bandit_router.service.retention import DEFAULT_RETENTION, Retention

ENV_PREFIX = "BANDIT_ROUTER_"
DEFAULT_DATA_DIR = Path("bandit-router-data")
DEFAULT_LISTEN = "127.0.0.1:50051"
CLIENT_VARIABLES = {f"{ENV_PREFIX}TARGET"}
"""Read by the commands that talk to a server; a server started in the same shell is not troubled by them."""
MAX_PORT = 65_535
MAX_WORKERS = 64


class ConfigError(ValueError):
    """The configuration cannot be used. One line per fault, each naming its key."""


class Config(BaseSettings):
    """Everything that a server can be told. Without a `redis_url` it runs its own store in `data_dir`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    redis_url: str = ""
    data_dir: Path = DEFAULT_DATA_DIR
    listen: str = DEFAULT_LISTEN
    workers: int = Field(default=1, ge=1, le=MAX_WORKERS)
    metrics_port: int | None = Field(default=None, ge=1, le=MAX_PORT)
    json_logs: bool = False
    reflection: bool = True
    store_timeout_s: float = Field(default=0.5, gt=0.0, le=60.0)
    drain_s: float = Field(default=30.0, ge=0.0, le=3600.0)
    appendfsync: Literal["everysec", "always"] = "everysec"
    event_keep_s: float = Field(default=DEFAULT_RETENTION.keep_s, ge=0.0)
    event_keep_newest: int = Field(default=DEFAULT_RETENTION.keep_newest, ge=0)
    pools: tuple[PoolSpec, ...] = ()
    tenants: tuple[TenantSpec, ...] = ()

    @property
    def host(self) -> str:
        """The host part of `listen`; metrics are served there, too."""
        return self.listen.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port part of `listen`; 0 lets the system choose."""
        return int(self.listen.rpartition(":")[2])

    @property
    def fsync(self) -> Fsync:
        """When the embedded store forces its log to disk."""
        return Fsync(self.appendfsync)

    @property
    def retention(self) -> Retention:
        """How long learned events are kept."""
        return Retention(self.event_keep_s, self.event_keep_newest)

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, listen: str) -> str:
        host, colon, port = listen.rpartition(":")
        if not (host and colon and port.isdecimal() and int(port) <= MAX_PORT):
            raise ValueError(f"must be HOST:PORT with a port in 0..{MAX_PORT}, got {listen!r}")
        return listen


def load_config(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration from `file`, the environment and `overrides` (flags; None means not given).

    All that can be checked without a store is checked, the rules of declared resources included. Raises ConfigError.
    """
    _check_environment()
    from_file = {} if file is None else _read_yaml(file)

    class Layered(Config):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, from_file)

    source = "" if file is None else f"{file}: "
    try:
        config = Layered(**{key: value for key, value in (overrides or {}).items() if value is not None})
    except ValidationError as error:
        raise ConfigError("\n".join(source + _explain(fault) for fault in error.errors())) from None
    if broken := violations(config.pools, config.tenants):
        raise ConfigError("\n".join(f"{source}{v.field}: {v.description}" for v in broken))
    return config


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: is not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: must be a mapping of keys to values")
    return {str(key): value for key, value in content.items()}


def _check_environment() -> None:
    known = {f"{ENV_PREFIX}{name}".upper() for name in Config.model_fields} | CLIENT_VARIABLES
    unknown = sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in known)
    if unknown:
        raise ConfigError("\n".join(f"{name}: unknown environment variable" for name in unknown))


def _explain(fault: ErrorDetails) -> str:
    """One fault as a line: the key's path and what is wrong with it."""
    path = ".".join(str(step) for step in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key {path!r}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message

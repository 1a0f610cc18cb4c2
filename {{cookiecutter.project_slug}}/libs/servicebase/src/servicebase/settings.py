"""Settings from the environment, or from a `.env` in the working directory."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import (
    AfterValidator,
    AnyUrl,
    BeforeValidator,
    Field,
    Secret,
    SecretStr,
    UrlConstraints,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

# SQLAlchemy's URL syntax, without SQLAlchemy, whose import takes longer than all else here.
# Stricter parsers refuse a `#` in a password, and a user without a host, which means a socket.
_POSTGRES = re.compile(
    r"postgres(ql)?(\+\w+)?://"
    r"([^:/]*(:[^@]*)?@)?(\[[^/?]+\]|[^/:?]*)(:\d*)?(/[^?]*)?(\?(?P<options>.*))?"
)
_TLS = "disable|allow|prefer|require|verify-ca|verify-full"
_NUMBER = r"\d{1,9}"
_TEXT = "(?s:.*)"
# Options of libpq and asyncpg that postgres.py passes on or handles, and their values.
_OF_POSTGRES = {
    "application_name": _TEXT,
    # asyncpg does not support it, so that it cannot be required.
    "channel_binding": "disable|prefer",
    # For libpq, -1 means the same as 0.
    "connect_timeout": f"-?{_NUMBER}",
    "host": _TEXT,
    "port": rf"{_NUMBER}(,{_NUMBER})*",
    "prepared_statement_cache_size": _NUMBER,
    "ssl": _TLS,
    "sslmode": _TLS,
    "target_session_attrs": "any|primary|standby|read-write|read-only|prefer-standby",
}
# Options of redis-py, except its timeouts, which are settings of the service.
_OF_REDIS = {
    "client_name": _TEXT,
    "db": _NUMBER,
    "health_check_interval": _NUMBER,
    "protocol": "2|3",
}
_OF_REDIS_TLS = {
    **_OF_REDIS,
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_data", "ssl_ca_path"), _TEXT),
    **dict.fromkeys(("ssl_certfile", "ssl_keyfile", "ssl_password"), _TEXT),
    "ssl_cert_reqs": "none|optional|required",
    "ssl_check_hostname": _TEXT,
}


class SettingsError(Exception):
    """Missing or invalid settings. The text names each, without its value, and how to fix it."""


def _no_placeholder(value: object) -> object:
    if "change_me" in str(value).lower():
        raise ValueError("still holds the placeholder CHANGE_ME")
    return value


def _check(query: str, known: Mapping[str, str]) -> None:
    """Refuse options of a URL that would fail at the first connection, or be ignored."""
    options = parse_qsl(query, keep_blank_values=True)
    if strange := sorted({name for name, _ in options} - known.keys()):
        # Other characters may be from the end of an unquoted password.
        names = (name if name.isidentifier() else "one that is not a name" for name in strange)
        raise ValueError(f"has unsupported options: {', '.join(names)}")
    for name, text in options:
        if not re.fullmatch(known[name], text):
            possible = known[name].replace("|", ", ") if "|" in known[name] else "a number"
            raise ValueError(f"has an unsupported {name}; possible: {possible}")
    # `host` may repeat, for several servers.
    names_once = [name for name, _ in options if name != "host"]
    if twice := sorted({name for name in names_once if names_once.count(name) > 1}):
        raise ValueError(f"has duplicate options: {', '.join(twice)}")


def _postgres(value: SecretStr) -> SecretStr:
    match = _POSTGRES.fullmatch(value.get_secret_value())
    if not match:
        raise ValueError("is not a PostgreSQL URL")
    _check(match["options"] or "", _OF_POSTGRES)
    return value


def _redis(value: AnyUrl) -> AnyUrl:
    _check(value.query or "", _OF_REDIS_TLS if value.scheme == "rediss" else _OF_REDIS)
    return value


NO_PLACEHOLDER = BeforeValidator(_no_placeholder)
"""Validator that refuses the placeholders for secrets in `.env.example`."""
PostgresUrl = Annotated[
    SecretStr,
    Field(examples=["postgresql://user:password@localhost:5432/database"]),
    AfterValidator(_postgres),
    NO_PLACEHOLDER,
]
_REDIS = UrlConstraints(allowed_schemes=["redis", "rediss", "unix"])
RedisUrl = Annotated[
    Secret[Annotated[AnyUrl, _REDIS, AfterValidator(_redis)]],
    Field(examples=["redis://localhost:6379/0"]),
    NO_PLACEHOLDER,
]


class DatabaseSettings(BaseSettings):
    """Settings for migrations."""

    model_config = SettingsConfigDict(
        env_file=".env",
        # A `.env` holds other services' settings too.
        extra="ignore",
        frozen=True,
        # An error must not print a password.
        hide_input_in_errors=True,
    )

    database_url: PostgresUrl


class ServiceSettings(DatabaseSettings):
    """Settings of every service. A subclass adds its own, with an example for each required one."""

    database_pool_size: int = Field(default=5, ge=1, le=100)
    redis_url: RedisUrl
    server_timeout: float = Field(default=5.0, gt=0)
    """Seconds to wait for PostgreSQL or Redis before a request is answered with 503."""
    client_timeout: float = Field(default=30.0, gt=0)
    """Seconds for a client to send its headers or 64 KiB of a body, or to read as much."""
    shutdown_grace: int = Field(default=8, ge=0)
    """Seconds for requests to finish after SIGTERM; Docker kills after ten by default."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S], prefix: str | None = None) -> S:
    """Return the settings of this process.

    Args:
        kind: settings class; a service's has the prefix of the names as its `env_prefix`.
        prefix: that prefix, for a class without one.

    Raises:
        SettingsError: some are missing or invalid, or .env is not readable.
    """
    try:
        return kind(_env_prefix=prefix)
    except ValidationError as error:
        prefix = kind.model_config["env_prefix"] if prefix is None else prefix
        raise SettingsError("\n".join(_explain(error, kind, prefix))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env cannot be read: {error}") from None


def _explain(error: ValidationError, kind: type[BaseSettings], prefix: str) -> list[str]:
    lines = []
    for wrong in error.errors(include_url=False, include_input=False):
        field = str(wrong["loc"][0])
        name = prefix + field.upper()
        why = wrong.get("ctx", {}).get("error", wrong["msg"])
        lines.append(f"{name}: {'is not set' if wrong['type'] == 'missing' else why}")
        if examples := kind.model_fields[field].examples:
            lines.append(f"  hint: in the environment or in .env: {name}={examples[0]}")
    return lines

"""What the environment decides, or a `.env` in the working directory. Names begin with PREFIX."""

import re
from typing import Annotated, Literal, TypeVar

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

PREFIX = "{{ cookiecutter.__package | upper }}_"
_EXAMPLES = {
    "DATABASE_URL": "postgresql://user:password@localhost:5432/{{ cookiecutter.__package }}",
    "REDIS_URL": "redis://localhost:6379/0",
}
# What SQLAlchemy takes for one. It is not asked: its import takes longer than all else here does.
# Stricter parsers refuse a `#` in a password, and a user without a host, which means a socket.
_POSTGRES = re.compile(
    r"postgres(ql)?(\+\w+)?://"
    r"([^:/]*(:[^@]*)?@)?(\[[^/?]+\]|[^/:?]*)(:\d*)?(/[^?]*)?(\?.*)?"
)


class SettingsError(Exception):
    """A setting is missing or wrong. The text names each, without its value, and how to fix it."""


def _no_placeholder(value: object) -> object:
    if "change_me" in str(value).lower():
        raise ValueError("still holds the placeholder CHANGE_ME")
    return value


def _postgres(value: SecretStr) -> SecretStr:
    if not _POSTGRES.fullmatch(value.get_secret_value()):
        raise ValueError("is no URL of PostgreSQL")
    return value


DatabaseUrl = Annotated[SecretStr, AfterValidator(_postgres), BeforeValidator(_no_placeholder)]
RedisUrl = Annotated[
    Secret[Annotated[AnyUrl, UrlConstraints(allowed_schemes=["redis", "rediss", "unix"])]],
    BeforeValidator(_no_placeholder),
]


class DatabaseSettings(BaseSettings):
    """What migrations need."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        # A `.env` holds other services' settings too.
        extra="ignore",
        frozen=True,
        # An error must not print a password.
        hide_input_in_errors=True,
    )

    database_url: DatabaseUrl


class Settings(DatabaseSettings):
    """What the service needs."""

    database_pool_size: int = Field(default=5, ge=1, le=100)
    redis_url: RedisUrl
    server_timeout: float = Field(default=5.0, gt=0)
    """Seconds to wait for PostgreSQL or Redis before a request is answered with 503."""
    idempotency_ttl: int = Field(default=86_400, gt=0)
    """Seconds for which a repeated Idempotency-Key is recognised."""
    host: str = "127.0.0.1"
    port: int = Field(default={{ cookiecutter.__port }}, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S]) -> S:
    """Return the settings of this process.

    Raises:
        SettingsError: some are missing or wrong, or .env is not readable.
    """
    try:
        return kind()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env cannot be read: {error}") from None


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for wrong in error.errors(include_url=False, include_input=False):
        name = str(wrong["loc"][0]).upper()
        why = wrong.get("ctx", {}).get("error", wrong["msg"])
        lines.append(f"{PREFIX}{name}: {'is not set' if wrong['type'] == 'missing' else why}")
        if name in _EXAMPLES:
            lines.append(f"  hint: in the environment or in .env: {PREFIX}{name}={_EXAMPLES[name]}")
    return lines

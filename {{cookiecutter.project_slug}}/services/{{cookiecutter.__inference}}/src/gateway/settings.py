"""What the environment decides, or a `.env` in the working directory. Names begin with PREFIX."""

import re
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AnyUrl,
    BeforeValidator,
    Field,
    HttpUrl,
    Secret,
    SecretStr,
    UrlConstraints,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from .adapters.echo import EchoSettings

PREFIX = "GATEWAY_"
_EXAMPLES = {
    "DATABASE_URL": "postgresql://user:password@localhost:5432/gateway",
    "REDIS_URL": "redis://localhost:6379/0",
    "ADMIN_TOKEN": "$(openssl rand -hex 32)",
    "SECRET": "$(openssl rand -hex 32)",
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
Token = Annotated[SecretStr, Field(min_length=16), BeforeValidator(_no_placeholder)]
Key = Annotated[SecretStr, Field(min_length=32), BeforeValidator(_no_placeholder)]


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

    admin_token: Token
    """Who shows it may do anything in /admin."""
    secret: Key
    """From which the keys of hashes and of session tokens are derived: a new one ends them all."""
    session_ttl: int = Field(default=900, ge=1, le=86_400)
    """Seconds for which a session token is good."""
    max_concurrency: int = Field(default=512, ge=1)
    """Requests that may be with backends at once; more are answered with 503."""

    openai_url: HttpUrl | None = None
    """Of a server that speaks OpenAI's API, up to and with `/v1`; without, there is none."""
    openai_api_key: SecretStr | None = None
    backend_timeout: float = Field(default=60.0, gt=0)
    """Seconds to wait for the next thing that a backend says."""
    # See adapters/echo.py.
    echo_first_token: float = Field(default=0.0, ge=0)
    echo_per_token: float = Field(default=0.0, ge=0)
    echo_jitter: float = Field(default=0.0, ge=0, le=1)
    echo_failure_rate: float = Field(default=0.0, ge=0, le=1)
    echo_cut_off_rate: float = Field(default=0.0, ge=0, le=1)
    echo_seed: int = 0

    def echo(self) -> EchoSettings:
        """Return what the echo backend is told."""
        return EchoSettings(
            first_token=self.echo_first_token,
            per_token=self.echo_per_token,
            jitter=self.echo_jitter,
            failure_rate=self.echo_failure_rate,
            cut_off_rate=self.echo_cut_off_rate,
            seed=self.echo_seed,
        )

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
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

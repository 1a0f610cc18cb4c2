"""Settings from the environment or `.env` in the working directory. Names begin with PREFIX."""

from typing import Annotated

from pydantic import Field, HttpUrl, SecretStr
from pydantic_settings import SettingsConfigDict

from servicebase.settings import NO_PLACEHOLDER, ServiceSettings

from .adapters.echo import EchoSettings

PREFIX = "GATEWAY_"

_EXAMPLES = ["$(openssl rand -hex 32)"]


class Settings(ServiceSettings, EchoSettings):
    """Settings of the gateway, in addition to those of every service."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    admin_token: Annotated[SecretStr, NO_PLACEHOLDER] = Field(min_length=16, examples=_EXAMPLES)
    """Token that gives full access to /admin."""
    secret: Annotated[SecretStr, NO_PLACEHOLDER] = Field(min_length=32, examples=_EXAMPLES)
    """Secret for the hashes of API keys and session tokens: a new one invalidates them all."""
    registration: bool = True
    """Whether anybody may register; if not, administrators create teams and users."""
    session_ttl: int = Field(default=900, ge=1, le=86_400)
    """Lifetime of a session token in seconds."""
    max_concurrency: int = Field(default=512, ge=1)
    """Maximum concurrent requests to backends; more are answered with 503."""
    max_concurrency_of_team: int = Field(default=128, ge=1)
    """Maximum concurrent requests of one team; more are answered with 429."""

    openai_url: HttpUrl | None = None
    """URL of a server with OpenAI's API, including `/v1`; None for no such backend."""
    openai_api_key: SecretStr | None = None
    backend_timeout: float = Field(default=60.0, gt=0)
    """Seconds to wait for the next data from a backend."""

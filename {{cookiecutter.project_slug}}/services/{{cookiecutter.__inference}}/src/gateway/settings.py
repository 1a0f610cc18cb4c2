"""What the environment decides, or a `.env` in the working directory. Names begin with PREFIX."""

from typing import Annotated

from pydantic import Field, HttpUrl, SecretStr
from pydantic_settings import SettingsConfigDict

from servicebase.settings import NO_PLACEHOLDER, ServiceSettings

from .adapters.echo import EchoSettings

PREFIX = "GATEWAY_"

_EXAMPLES = ["$(openssl rand -hex 32)"]
Token = Annotated[SecretStr, Field(min_length=16, examples=_EXAMPLES), NO_PLACEHOLDER]
Key = Annotated[SecretStr, Field(min_length=32, examples=_EXAMPLES), NO_PLACEHOLDER]


class Settings(ServiceSettings, EchoSettings):
    """What the gateway needs, beside what every service does."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    admin_token: Token
    """Who shows it may do anything in /admin."""
    secret: Key
    """From which the keys of hashes and of session tokens are derived: a new one ends them all."""
    registration: bool = True
    """Whether anybody may register; without, administrators create teams and users."""
    session_ttl: int = Field(default=900, ge=1, le=86_400)
    """Seconds for which a session token is good."""
    max_concurrency: int = Field(default=512, ge=1)
    """Requests that may be with backends at once; more are answered with 503."""
    max_concurrency_of_team: int = Field(default=128, ge=1)
    """How many of them may be one team's; more are answered with 429."""

    openai_url: HttpUrl | None = None
    """Of a server that speaks OpenAI's API, up to and with `/v1`; without, there is none."""
    openai_api_key: SecretStr | None = None
    backend_timeout: float = Field(default=60.0, gt=0)
    """Seconds to wait for the next thing that a backend says."""

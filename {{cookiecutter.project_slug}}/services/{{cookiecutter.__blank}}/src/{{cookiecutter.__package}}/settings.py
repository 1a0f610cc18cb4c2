"""Settings from the environment or a `.env` in the working directory. Names begin with PREFIX."""

from pydantic import Field

from servicebase.settings import ServiceSettings, load

__all__ = ["PREFIX", "Settings", "load"]

PREFIX = "{{ cookiecutter.__package | upper }}_"


class Settings(ServiceSettings, env_prefix=PREFIX):
    """Settings of the service, beyond those of every service."""

    port: int = Field(default={{ cookiecutter.__port }}, ge=0, le=65535)
    idempotency_ttl: int = Field(default=86_400, gt=0)
    """Seconds for which a repeated Idempotency-Key is recognised."""

"""What the environment decides, or a `.env` in the working directory. Names begin with PREFIX."""

from pydantic import Field

from servicebase.settings import ServiceSettings, load

__all__ = ["PREFIX", "Settings", "load"]

PREFIX = "{{ cookiecutter.__package | upper }}_"


class Settings(ServiceSettings, env_prefix=PREFIX):
    """What the service needs, beside what every service does."""

    port: int = Field(default={{ cookiecutter.__port }}, ge=0, le=65535)
    idempotency_ttl: int = Field(default=86_400, gt=0)
    """Seconds for which a repeated Idempotency-Key is recognised."""

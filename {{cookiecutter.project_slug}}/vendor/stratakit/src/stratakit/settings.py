"""Settings of a test run, from the environment or .env.test; the environment takes precedence."""

import os
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, DirectoryPath, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from . import liveness
from .errors import MISSPELT, ConfigurationError, did_you_mean
from .pyproject import ROOT

FILE = ROOT / ".env.test"
PREFIX = "STRATA_"
INTERNAL = (liveness.RUN, "STRATA_STARTED_IN")

EXAMPLES = {
    "STRATA_SERVERS": "STRATA_SERVERS=embedded",
    "TEST_DATABASE_URL": "TEST_DATABASE_URL=postgresql://me:secret@localhost:5432/postgres",
    "TEST_REDIS_URL": "TEST_REDIS_URL=redis://localhost:6379",
    "TEST_POOL_SIZE": "TEST_POOL_SIZE=10",
    "TEST_SQL_LOG": "TEST_SQL_LOG=true",
    "TEST_AUTHENTICATION": "TEST_AUTHENTICATION=false",
    # pragma: allowlist nextline secret
    "STRATA_TF_PLUGIN_DIR": "STRATA_TF_PLUGIN_DIR=/opt/terraform/providers",
    "STRATA_AWS_ENDPOINT": "STRATA_AWS_ENDPOINT=http://127.0.0.1:4566",
    "STRATA_GCS_ENDPOINT": "STRATA_GCS_ENDPOINT=http://127.0.0.1:4443",
}


_PASSWORDS = (
    # Up to the last @: the password may have unencoded characters, @ among them.
    re.compile(r"""((?:postgres|postgresql|rediss?)(?:\+\w+)?://[^\s:/@'"]*:)[^\s'"]+(?=@)"""),
    re.compile(r"""([?&]password=)[^\s&'"]+"""),
    # For any other scheme, such as a misspelt one: an @ in a path or query does not end a password.
    re.compile(r"""(://[^\s:/?#@'"]*:)[^\s/?#@'"]+(?=@)"""),
)


def _url_of(*schemes: str) -> AfterValidator:
    def check(value: str | None) -> str | None:
        if value and urlsplit(value).scheme.partition("+")[0] not in schemes:
            raise ValueError(
                f"it should begin with {' or '.join(f'{each}://' for each in schemes)}"
            )
        return value

    return AfterValidator(check)


LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _loopback(value: str | None) -> str | None:
    if value and urlsplit(value).hostname not in LOOPBACK:
        raise ValueError("it is not on this machine, so tests might change a real account")
    return value


_on_loopback = AfterValidator(_loopback)


class Settings(BaseSettings):
    """Settings of a test run."""

    model_config = SettingsConfigDict(
        env_file=FILE, env_file_encoding="utf-8", env_ignore_empty=True, extra="forbid"
    )

    servers: Literal["auto", "url", "docker", "embedded"] = Field("auto", alias="STRATA_SERVERS")
    """Source of PostgreSQL and Redis; `auto` uses the first of the others that is available."""
    database_url: Annotated[str | None, _url_of("postgresql", "postgres")] = Field(
        None, alias="TEST_DATABASE_URL"
    )
    """Server on which to create test databases. Existing databases are not touched."""
    pool_size: Annotated[int, Field(ge=1, le=100)] = Field(10, alias="TEST_POOL_SIZE")
    """Size of the connection pool of a service under test."""
    sql_log: bool = Field(False, alias="TEST_SQL_LOG")
    """Whether SQL statements are logged; pytest shows them for failed tests."""
    authentication: bool = Field(True, alias="TEST_AUTHENTICATION")
    """Whether services under test require credentials, if they support authentication."""
    redis_url: Annotated[str | None, _url_of("redis", "rediss", "unix")] = Field(
        None, alias="TEST_REDIS_URL"
    )
    tf_plugin_dir: DirectoryPath | None = Field(None, alias="STRATA_TF_PLUGIN_DIR")
    """Folder with Terraform providers, for machines that cannot reach a registry."""
    aws_endpoint: Annotated[str | None, _on_loopback] = Field(None, alias="STRATA_AWS_ENDPOINT")
    """Endpoint of a running local AWS, such as LocalStack; by default one is started."""
    gcs_endpoint: Annotated[str | None, _on_loopback] = Field(None, alias="STRATA_GCS_ENDPOINT")
    """Endpoint of a running local Google Cloud Storage; by default one is started."""


def load() -> Settings:
    """Return the settings.

    Raises:
            ConfigurationError: a value is invalid, a name is unknown, or .env.test is not readable.
    """
    known = [str(field.alias) for field in Settings.model_fields.values()]
    for name in os.environ:
        # Without our prefix, only misspelt names are errors: TEST_FOO may belong to others.
        ours = name.upper().startswith(PREFIX) or did_you_mean(name.upper(), known, alike=MISSPELT)
        if (ours or _renamed(name, known)) and name.upper() not in (*known, *INTERNAL):
            raise _unknown(name, known)
    try:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{FILE.name} cannot be read: {error}", f"git checkout {FILE.name}"
        ) from error
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0]).upper()
        if problem["type"] == "extra_forbidden":
            raise _unknown(name, known) from None
        raise ConfigurationError(
            f"{name}={masked(str(problem['input']))} is not valid: {problem['msg']}",
            EXAMPLES.get(name, f"unset {name}"),
        ) from None


def masked(text: str) -> str:
    """Return `text` with the passwords in server URLs masked."""
    for each in _PASSWORDS:
        text = each.sub(r"\1***", text)
    return text


def _renamed(name: str, known: list[str]) -> str | None:
    """Return the current name of a setting given by its old name, if it is one."""
    new = name.upper().replace("OPS_", PREFIX, 1)
    return new if name.upper().startswith("OPS_") and new in known else None


def _unknown(name: str, known: list[str]) -> ConfigurationError:
    if new := _renamed(name, known):
        return ConfigurationError(
            f"the setting {name} is called {new} now", f"rename it: {new}=..."
        )
    return ConfigurationError(
        f"there is no setting {name}",
        did_you_mean(
            name.upper(),
            known,
            f"The settings are {', '.join(known)}; set them in .env.test or the environment",
        ),
    )

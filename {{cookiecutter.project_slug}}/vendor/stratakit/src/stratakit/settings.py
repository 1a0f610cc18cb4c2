"""What a person may set about a test run: in the environment or in .env.test, the former first."""

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
    "STRATA_TF_PLUGIN_DIR": "STRATA_TF_PLUGIN_DIR=/opt/terraform/providers",
    "STRATA_AWS_ENDPOINT": "STRATA_AWS_ENDPOINT=http://127.0.0.1:4566",
    "STRATA_GCS_ENDPOINT": "STRATA_GCS_ENDPOINT=http://127.0.0.1:4443",
}


_PASSWORDS = (
    # Up to the last @: who has forgotten to encode one may have any character in it.
    re.compile(r"""((?:postgres|postgresql|rediss?)(?:\+\w+)?://[^\s:/@'"]*:)[^\s'"]+(?=@)"""),
    re.compile(r"""([?&]password=)[^\s&'"]+"""),
    # Of any other scheme, such as a wrong one: an @ in a path or a query ends no password.
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
    """The settings of a test run."""

    model_config = SettingsConfigDict(
        env_file=FILE, env_file_encoding="utf-8", env_ignore_empty=True, extra="forbid"
    )

    servers: Literal["auto", "url", "docker", "embedded"] = Field("auto", alias="STRATA_SERVERS")
    """Where PostgreSQL and Redis come from; `auto` takes the first of the others that is there."""
    database_url: Annotated[str | None, _url_of("postgresql", "postgres")] = Field(
        None, alias="TEST_DATABASE_URL"
    )
    """A server on which test databases may be created. Databases that exist are not touched."""
    pool_size: Annotated[int, Field(ge=1, le=100)] = Field(10, alias="TEST_POOL_SIZE")
    """Connections that a service under test may have to its database."""
    sql_log: bool = Field(False, alias="TEST_SQL_LOG")
    """Whether SQL statements are logged; pytest shows them for a test that fails."""
    authentication: bool = Field(True, alias="TEST_AUTHENTICATION")
    """Whether services under test ask for credentials, where they have any to ask for."""
    redis_url: Annotated[str | None, _url_of("redis", "rediss", "unix")] = Field(
        None, alias="TEST_REDIS_URL"
    )
    tf_plugin_dir: DirectoryPath | None = Field(None, alias="STRATA_TF_PLUGIN_DIR")
    """A folder with Terraform providers, for machines that do not reach a registry."""
    aws_endpoint: Annotated[str | None, _on_loopback] = Field(None, alias="STRATA_AWS_ENDPOINT")
    """A local AWS that runs already, such as LocalStack; by default one is started."""
    gcs_endpoint: Annotated[str | None, _on_loopback] = Field(None, alias="STRATA_GCS_ENDPOINT")
    """A local Google Cloud Storage that runs already; by default one is started."""


def load() -> Settings:
    """Return the settings.

    Raises:
        ConfigurationError: a value is wrong, or a name is not known, or .env.test is not readable.
    """
    known = [str(field.alias) for field in Settings.model_fields.values()]
    for name in os.environ:
        # Beside our own prefix, others may set whatever they like, such as TEST_FOO.
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
    """Return `text` without the passwords of the URLs of servers that it may hold."""
    for each in _PASSWORDS:
        text = each.sub(r"\1***", text)
    return text


def _renamed(name: str, known: list[str]) -> str | None:
    """Return the present name of a setting that is given by its former one."""
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
            f"The settings are {', '.join(known)}; they stand in .env.test or the environment",
        ),
    )

"""What a service of the stack is given: servers that stay up, a migrated database, settings."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .. import environment, redis_databases, servers, settings
from ..database.connection import url
from ..database.lifecycle import Database, drop_stamped
from ..database.migrations import head
from ..database.stamps import STACK
from ..errors import ConfigurationError
from ..graph import Service
from ..servers import Kind, Server, Source
from ..settings import Settings
from . import record, user_settings


def choose() -> tuple[Source, str]:
    """Return where the stack runs, and why: in Docker where that has all servers, else embedded.

    Raises:
        ConfigurationError: `STRATA_SERVERS=url`.
        InfrastructureError: nothing on this machine can give the servers.
    """
    wanted = _settings()
    if wanted.servers == "url":
        raise ConfigurationError(
            "STRATA_SERVERS=url is for tests: the stack runs on servers of its own",
            "unset STRATA_SERVERS, or STRATA_SERVERS=docker or embedded",
        )
    choices = [servers.choose(wanted, kind) for kind in servers.KINDS]
    return next((choice for choice in choices if choice[0] == "embedded"), choices[0])


@contextmanager
def lease(source: Source, services: Sequence[Service]) -> Iterator[dict[Kind, Server]]:
    """Bring up the servers that the services need, which stay up until the stack is down.

    Raises:
        InfrastructureError: one does not start.
    """
    record.use(source)
    needed = {kind for service in services for kind in service.needs}
    kinds = tuple(kind for kind in servers.KINDS if kind in needed)
    with servers.lease(_settings(source), kinds, persistent=True) as up:
        yield up


def forget() -> list[str]:
    """Delete what services have stored on the embedded servers; return what it was."""
    with servers.lease(_settings("embedded")) as up:
        names = drop_stamped(up["postgres"], STACK)
        left = redis_databases.free(up["redis"].url)
    done = [f"database {name}: deleted" for name in names]
    return [*done, f"left alone: {left}"] if left else done


def database(service: Service, up: Mapping[Kind, Server]) -> Database | None:
    """Return the database of a service; None if it needs none."""
    if "postgres" not in service.needs:
        return None
    return Database(up["postgres"], service, STACK)


def migrate(service: Service, up: Mapping[Kind, Server]) -> bool:
    """Make a service's database be there, migrated and seeded; return whether it was migrated.

    Raises:
        MigrationError: a migration fails.
    """
    own = database(service, up)
    if own is None:
        return False
    if own.exists() and (own.revision() or "") == head(service):
        # Not `setup`, which looks whether others are connected and would wait for the service.
        own.seed()
        return False
    own.setup()
    return True


def variables(
    service: Service,
    up: Mapping[Kind, Server],
    seen: Mapping[Kind, str] | None = None,
    *,
    host: str,
    port: int,
) -> dict[str, str]:
    """Return the settings of a service, as variables of its environment.

    Args:
        service: whose.
        up: the servers.
        seen: their URLs as the service reaches them, where it does so in another way than we do.
        host: the address that it is to listen on.
        port: the port that it is to listen on.
    """
    urls = seen or {kind: server.url for kind, server in up.items()}
    given = {"HOST": host, "PORT": str(port)}
    own = database(service, up)
    if own:
        address = url(urls["postgres"], own.name)
        given["DATABASE_URL"] = address.render_as_string(hide_password=False)
    if "redis" in service.needs:
        number = redis_databases.reserve(up["redis"].url)
        given["REDIS_URL"] = redis_databases.url(urls["redis"], number)
    return user_settings.of(service) | {
        service.prefix + name: value for name, value in given.items()
    }


def environment_with(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service's process: the user's variables, its own, fast starts."""
    ours = environment.variables(Path(sys.prefix)) | dict(own)
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {name: value for name, value in ours.items() if value is not None}


def _settings(source: Source | None = None) -> Settings:
    """Return the settings without the servers that are given for tests."""
    update = {"database_url": None, "redis_url": None} | ({"servers": source} if source else {})
    return settings.load().model_copy(update=update)

"""What a service of the stack is given: servers that stay up, a migrated database, settings."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from .. import environment, redis_databases, servers, settings
from ..database import dev
from ..database.connection import url
from ..database.lifecycle import Database
from ..database.migrations import head
from ..database.stamps import DEV
from ..project import Service
from ..servers import Kind, Server, Source, checkout
from ..settings import Settings
from . import dotenv_file, record, user_settings


def choose() -> tuple[Source, str]:
    """Return where `dev` is, and so the stack runs, and why.

    On the server that was given, else in Docker where that has all servers, else embedded.

    Raises:
        ConfigurationError: `STRATA_SERVERS=url` without a URL.
        InfrastructureError: nothing on this machine can give the servers.
    """
    given = servers.choose(settings.load(), "postgres")
    if given[0] == "url":
        return given
    wanted = settings.load().model_copy(update={"redis_url": None})
    choices = [given, servers.choose(wanted, "redis")]
    return next((choice for choice in choices if choice[0] == "embedded"), choices[0])


@contextmanager
def lease(
    source: Source, services: Sequence[Service], kinds: Sequence[Kind] = servers.KINDS
) -> Iterator[dict[Kind, Server]]:
    """Bring up the servers of `dev` that services need, which stay up until the stack is down.

    Their URLs go to `.env`, for services that are started by hand.

    Args:
        source: where they come from.
        services: which services.
        kinds: which of their servers.

    Raises:
        ConfigurationError: `.env` cannot be read.
        InfrastructureError: one does not start.
    """
    record.use(source)
    needed = {kind for service in services for kind in service.needs}
    with ExitStack() as stack:
        up: dict[Kind, Server] = {}
        for kind in (kind for kind in kinds if kind in needed):
            chosen = settings_of(source, kind)
            found = stack.enter_context(servers.lease(chosen, (kind,), persistent=True, kept=True))
            # Not what we have just set: nobody has asked for it.
            up[kind] = replace(found[kind], why="the servers of dev")
        for service in services:
            _adopt(service, up)
        _write(services, up)
        yield up


def _adopt(service: Service, up: Mapping[Kind, Server]) -> None:
    own = database(service, up)
    if own is None or not dev.wanted(own) or own.server.source == "url":
        return
    if own.server.source == "docker":
        dev.adopt(own, own.server)
        return
    from ..servers import embedded

    if embedded.has_data("postgres"):
        with servers.lease(settings_of("embedded", "postgres"), ("postgres",)) as older:
            dev.adopt(own, older["postgres"])


def _write(services: Sequence[Service], up: Mapping[Kind, Server]) -> None:
    urls = {kind: server.url for kind, server in up.items()}
    given = {
        service.prefix + name: value
        for service in services
        for name, value in _urls(service, up, urls).items()
    }
    for name in dotenv_file.write(given):
        sys.stderr.write(f".env sets {name} itself: `python -m` uses that, and not dev\n")


def forget(source: Source) -> list[str]:
    """Delete what services have stored on the servers of a source; return what it was."""
    with servers.lease(settings_of(source, "postgres"), ("postgres",), kept=True) as up:
        names = dev.drop_all(up["postgres"])
    with servers.lease(settings_of("embedded", "redis"), ("redis",)) as up:
        left = redis_databases.free(up["redis"].url, checkout.mark())
    done = [f"database {name}: deleted" for name in names]
    return [*done, f"left alone: {left}"] if left else done


def database(service: Service, up: Mapping[Kind, Server]) -> Database | None:
    """Return the database of a service; None if it needs none."""
    if "postgres" not in service.needs or "postgres" not in up:
        return None
    return Database(up["postgres"], service, DEV)


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
    given = {"HOST": host, "PORT": str(port), **_urls(service, up, urls)}
    return user_settings.of(service) | {
        service.prefix + name: value for name, value in given.items()
    }


def _urls(service: Service, up: Mapping[Kind, Server], urls: Mapping[Kind, str]) -> dict[str, str]:
    """Return the settings that say where the servers of a service are, as far as they are up."""
    found = {}
    own = database(service, up)
    if own:
        address = url(urls["postgres"], own.name)
        found["DATABASE_URL"] = address.render_as_string(hide_password=False)
    if "redis" in service.needs and "redis" in up:
        number = redis_databases.reserve(up["redis"].url, checkout.mark())
        found["REDIS_URL"] = redis_databases.url(urls["redis"], number)
    return found


def environment_with(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service's process: the user's variables, its own, fast starts."""
    ours = environment.variables(Path(sys.prefix)) | dict(own)
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {name: value for name, value in ours.items() if value is not None}


def settings_of(source: Source, kind: Kind) -> Settings:
    """Return the settings by which a server of `dev` is taken from a source."""
    if (source, kind) == ("url", "postgres"):
        return settings.load().model_copy(update={"servers": source})
    # One that is given has no database of its own for a stack; there it is embedded.
    ours = "embedded" if source == "url" else source
    update = {"servers": ours, "database_url": None, "redis_url": None}
    return settings.load().model_copy(update=update)

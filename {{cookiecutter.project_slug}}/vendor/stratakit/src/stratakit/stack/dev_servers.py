"""Servers of `dev`, which stay up until the stack is taken down, and their databases."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from .. import redis_databases, servers, settings
from ..database import dev
from ..project import Service
from ..servers import Kind, Server, Source, checkout
from ..settings import Settings
from . import record, service_env


def choose() -> tuple[Source, str]:
    """Return the source of `dev`, and so of the stack, and the reason for it.

    It is the configured URL, else Docker if it has all servers, else embedded servers.

    Raises:
        ConfigurationError: `STRATA_SERVERS=url` without a URL.
        InfrastructureError: this machine has no source for the servers.
    """
    given = servers.choose(settings.load(), "postgres")
    if given[0] == "url":
        return given
    wanted = settings.load().model_copy(update={"redis_url": None})
    choices = [given, servers.choose(wanted, "redis")]
    return next((choice for choice in choices if choice[0] == "embedded"), choices[0])


def settings_of(source: Source, kind: Kind) -> Settings:
    """Return the settings that lease a server of `dev` from a source."""
    if (source, kind) == ("url", "postgres"):
        return settings.load().model_copy(update={"servers": source})
    # A configured Redis has no database reserved for a stack; use an embedded one.
    ours = "embedded" if source == "url" else source
    update = {"servers": ours, "database_url": None, "redis_url": None}
    return settings.load().model_copy(update=update)


@contextmanager
def lease(
    source: Source, services: Sequence[Service], kinds: Sequence[Kind] = servers.KINDS
) -> Iterator[dict[Kind, Server]]:
    """Bring up the servers of `dev` that services need, and write their URLs to `.env`.

    Args:
        source: the source of the servers.
        services: the services.
        kinds: the kinds of servers to bring up, if a service needs them.

    Raises:
        ConfigurationError: `.env` cannot be read.
        InfrastructureError: a server does not start.
    """
    record.use(source)
    needed = {kind for service in services for kind in service.needs}
    with ExitStack() as stack:
        up: dict[Kind, Server] = {}
        for kind in (kind for kind in kinds if kind in needed):
            chosen = settings_of(source, kind)
            found = stack.enter_context(servers.lease(chosen, (kind,), persistent=True, kept=True))
            # The actual reason names settings that we have just overridden, not the user's.
            up[kind] = replace(found[kind], why="the servers of dev")
        for service in services:
            _adopt(service, up)
        given = [service_env.urls(service, up) for service in services]
        for name in service_env.write_dotenv({k: v for each in given for k, v in each.items()}):
            sys.stderr.write(f".env sets {name} itself: `python -m` uses that, and not dev\n")
        yield up


def _adopt(service: Service, up: Mapping[Kind, Server]) -> None:
    """Take over the database that an earlier version created for a service, if there is one."""
    own = service_env.database(service, up)
    if own is None or not dev.wanted(own) or own.server.source == "url":
        return
    if own.server.source == "docker":
        dev.adopt(own, own.server)
        return
    from ..servers import embedded

    if embedded.has_data("postgres"):
        with servers.lease(settings_of("embedded", "postgres"), ("postgres",)) as older:
            dev.adopt(own, older["postgres"])


def migrate(service: Service, up: Mapping[Kind, Server]) -> bool:
    """Create a service's database if it is missing, migrate and seed it.

    Returns:
        Whether it was migrated.

    Raises:
        MigrationError: a migration fails.
    """
    own = service_env.database(service, up)
    if own is None:
        return False
    if own.exists() and not own.position().problem:
        # Not `setup`, which checks for other connections and would wait for the service.
        own.seed()
        return False
    own.setup()
    return True


def forget(source: Source) -> list[str]:
    """Delete the services' data on the servers of a source; return what was deleted."""
    with servers.lease(settings_of(source, "postgres"), ("postgres",), kept=True) as up:
        names = dev.drop_all(up["postgres"])
    with servers.lease(settings_of("embedded", "redis"), ("redis",), kept=True) as up:
        left = redis_databases.free(up["redis"].url, checkout.mark())
    done = [f"database {name}: deleted" for name in names]
    return [*done, f"left alone: {left}"] if left else done

"""The databases that a service has had on this machine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from .. import servers, settings
from ..database import guards
from ..database.lifecycle import Database
from ..database.stamps import DEV, PURPOSES
from ..errors import InfrastructureError
from ..project import Service
from ..stack import current, dev_servers


@contextmanager
def databases(service: Service) -> Iterator[list[Database]]:
    """Yield those databases of a service that servers which are up have; none is started.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    with ExitStack() as stack:
        own = []
        for purpose in PURPOSES:
            try:
                up = stack.enter_context(_lease(kept=purpose == DEV))
            except InfrastructureError:
                continue
            own += [Database(each, service, purpose) for each in up]
        found = [(each, each.inspect()) for each in own]
        yield [each for each, it in found if it.exists and not guards.FOREIGN.broken(it)]


@contextmanager
def _lease(*, kept: bool) -> Iterator[list[servers.Server]]:
    wanted = settings.load()
    if kept:
        wanted = dev_servers.settings_of(current()[0], "postgres")
    source, _ = servers.choose(wanted, "postgres")
    if not _stands(source, kept=kept):
        yield []
        return
    # Lasting only where it lasts anyway: a server that is up for a run alone is to go with it.
    persistent = source == "docker"
    with servers.lease(wanted, ("postgres",), persistent=persistent, kept=kept) as up:
        yield [up["postgres"]]


def _stands(source: servers.Source, *, kept: bool) -> bool:
    # Windows has neither of them.
    if source == "docker":
        from ..servers import compose

        return bool(compose.run("ps", "--quiet", "postgres").strip())
    if source == "embedded":
        from ..servers import embedded

        return embedded.find_running("postgres", kept=kept) is not None
    return True

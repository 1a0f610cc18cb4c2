"""The databases that a service has had on this machine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from .. import servers, settings
from ..database import guards, stamps
from ..database.lifecycle import Database
from ..errors import InfrastructureError
from ..graph import Service


@contextmanager
def databases(service: Service) -> Iterator[list[Database]]:
    """Yield those databases of a service that a server which is up has; none is started.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    with ExitStack() as stack:
        try:
            up = stack.enter_context(_lease(settings.load()))
        except InfrastructureError:
            up = []
        own = [Database(each, service, what) for each in up for what in (stamps.TEST, stamps.STACK)]
        found = [(each, each.inspect()) for each in own]
        yield [each for each, it in found if it.exists and not guards.FOREIGN.broken(it)]


@contextmanager
def _lease(wanted: settings.Settings) -> Iterator[list[servers.Server]]:
    source, _ = servers.choose(wanted, "postgres")
    if not _stands(source):
        yield []
        return
    # Lasting only where it lasts anyway: a server that is up for a run alone is to go with it.
    with servers.lease(wanted, ("postgres",), persistent=source == "docker") as up:
        yield [up["postgres"]]


def _stands(source: servers.Source) -> bool:
    # Windows has neither of them.
    if source == "docker":
        from ..servers import compose

        return bool(compose.run("ps", "--quiet", "postgres").strip())
    if source == "embedded":
        from ..servers import embedded

        return embedded.standing("postgres") is not None
    return True

"""What a load test asks: the service as in production, on servers of the run, or another host."""

import asyncio
import http.client
import ipaddress
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from .. import limits
from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..progress import progress
from ..project import Service
from ..testing.resources import RunResources
from ..testing.serving import Service as Running
from ..testing.serving import serving
from . import soak

TAIL = 20
"""Lines of a service's output that are shown when it has ended."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask."""

    url: str
    own: bool = False
    """Whether it is one of this run's."""
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    """The settings of the service, as variables for the scenario: it may need a token."""
    service: Running | None = None
    """The process of the service; None for one that others run."""
    processes: dict[str, int] = field(default_factory=dict)
    """Those of the service and of its servers, as far as they are this run's, by name."""

    def refuse_dead(self) -> None:
        """Raise what it means that the service has ended by itself.

        Raises:
            StrataError: it has.
        """
        if self.service and self.service.process.poll() is not None:
            text = self.service.output.read_text(encoding="utf-8", errors="replace")
            last = "\n".join(text.splitlines()[-TAIL:])
            raise StrataError(
                f"the service ended with {self.service.process.returncode} under load; its last"
                f" lines:\n{last}"
            )


@contextmanager
def own(service: Service, folder: Path) -> Iterator[Target]:
    """Start a service as in production, on servers of the run and with a database of its own.

    All of it is gone with the block, and with this process, however that ends.

    Raises:
        InfrastructureError: a server cannot be had, or the service does not start.
        StrataError: it does not end as it should.
    """
    with ExitStack() as stack:
        with progress(f"start {service.name} and its servers"):
            resources = RunResources("load")
            stack.callback(resources.close)
            taken = resources.ensure_started([service])
            settings = {name: secrets.token_urlsafe(32) for name in service.secrets}
            if "postgres" in service.needs:
                settings["DATABASE_URL"] = resources.postgres_url(service)
            if "redis" in service.needs:
                settings["REDIS_URL"] = resources.redis_url()
            running = stack.enter_context(run_service(service, settings, folder))
        variables = {service.prefix + name: value for name, value in settings.items()}
        sys.stdout.write(f"{taken}\n")
        processes = {service.name: running.process.pid, **soak.servers(resources.servers)}
        yield Target(
            running.url, own=True, variables=variables, service=running, processes=processes
        )


@contextmanager
def run_service(service: Service, settings: Mapping[str, str], folder: Path) -> Iterator[Running]:
    """Run a service for the length of the block, which begins when it is ready.

    Raises:
        InfrastructureError: it does not start.
        StrataError: it does not end as it should.
    """
    hint = f"uv run nox -s 'integration({service.name})' -- -m smoke"
    ready = over = False
    try:
        with serving(service.package, settings, prefix=service.prefix, folder=folder) as running:
            asyncio.run(running.ready(timeout=limits.HEALTH))
            ready = True
            yield running
            over = True
    except AssertionError as error:
        if over:
            raise StrataError(
                f"{service.name} was told to end, and did not do it well:\n{error}",
                hint,
            ) from None
        if ready:
            raise
        raise InfrastructureError(f"{service.name} does not start:\n{error}", hint) from None


def elsewhere(host: str, allowed: Sequence[str]) -> Target:
    """Return a host that others run, if it may be burdened, and answers.

    Raises:
        ConfigurationError: it is neither this machine nor on the list, or redirects to another one.
        InfrastructureError: it does not answer.
    """
    url = urlsplit(host)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigurationError(
            f"--host {host} is not the address of a service", "write it as http://127.0.0.1:8000"
        )
    if not _is_local(url.hostname) and url.hostname not in allowed:
        raise ConfigurationError(
            f"--host {host} is not this machine, and not on the project's list of hosts that may be"
            " burdened",
            f'if it may be: hosts = ["{url.hostname}"] in [tool.stratakit.load] of pyproject.toml',
        )
    _probe(host)
    return Target(host.rstrip("/"))


def _is_local(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _probe(host: str) -> None:
    """Refuse a host that does not answer, or sends whoever asks somewhere else."""
    url = urlsplit(host)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    try:
        # Not urllib, which would ask a proxy, and go where a redirect leads.
        connection = kind(url.hostname or "", url.port, timeout=limits.ANSWER)
        try:
            connection.request("GET", url.path or "/")
            answer = connection.getresponse()
            location = urljoin(host, answer.getheader("Location", host))
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InfrastructureError(
            f"{host} does not answer: {error}",
            "start it; or leave --host out, and one is started for the run",
        ) from error
    if urlsplit(location).hostname != url.hostname:
        raise ConfigurationError(
            f"{host} redirects to {location}: another host, which was not asked",
            "name that one by --host, if it may be burdened",
        )

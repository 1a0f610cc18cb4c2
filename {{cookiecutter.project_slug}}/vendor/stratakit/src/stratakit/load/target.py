"""Targets of a load test: the service as in production, on servers of the run, or another host."""

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
"""Number of lines of a service's output to show after it has exited."""


@dataclass(frozen=True, slots=True)
class Target:
    """A service to send requests to."""

    url: str
    own: bool = False
    """Whether this run has started it."""
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    """Settings of the service, as variables for the scenario, which may need a token."""
    service: Running | None = None
    """Process of the service; None if it was not started by this run."""
    processes: dict[str, int] = field(default_factory=dict)
    """Process ids of the service and its servers by name, if this run has started them."""

    def refuse_dead(self) -> None:
        """Make sure that the service has not exited by itself.

        Raises:
            StrataError: it has exited.
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

    Everything is removed after the block, and when this process ends in any way.

    Raises:
        InfrastructureError: a server is unavailable, or the service does not start.
        StrataError: the service does not shut down cleanly.
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
    """Run a service for the length of the block, which starts when it is ready.

    Raises:
        InfrastructureError: it does not start.
        StrataError: it does not shut down cleanly.
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
                f"{service.name} did not shut down cleanly:\n{error}",
                hint,
            ) from None
        if ready:
            raise
        raise InfrastructureError(f"{service.name} does not start:\n{error}", hint) from None


def elsewhere(host: str, allowed: Sequence[str]) -> Target:
    """Return the target for an existing host, if it may be load-tested and responds.

    Raises:
        ConfigurationError: it is neither this machine nor on the list, or redirects to another one.
        InfrastructureError: it does not respond.
    """
    url = urlsplit(host)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigurationError(
            f"--host {host} is not the address of a service", "write it as http://127.0.0.1:8000"
        )
    if not _is_local(url.hostname) and url.hostname not in allowed:
        raise ConfigurationError(
            f"--host {host} is not this machine, and not on the project's list of hosts that may be"
            " load-tested",
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
    """Refuse a host that does not respond, or redirects to another host."""
    url = urlsplit(host)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    try:
        # Not urllib, which would use a proxy and follow redirects.
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
            f"{host} redirects to {location}: another host, which is not the target",
            "pass that one as --host, if it may be load-tested",
        )

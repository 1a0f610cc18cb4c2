"""Providers of machines: their common interface, and the table of known ones."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from ..errors import ConfigurationError, InfrastructureError, StrataError, did_you_mean
from .leases import Lease


@dataclass(frozen=True, slots=True)
class Quote:
    """Price of a machine, and its source."""

    instance: str
    region: str
    usd_per_hour: float
    source: str
    """Source of the price, with a date if it may have changed since."""
    begun: int = 1
    """Billing period in seconds; every period that has begun is billed in full."""

    def usd(self, seconds: float) -> float:
        """Return the cost of this many seconds."""
        return math.ceil(seconds / self.begun) * self.begun / 3600 * self.usd_per_hour


@dataclass(frozen=True, slots=True)
class Machine:
    """An existing machine, as listed by its provider."""

    tag: str
    """Id of the lease that it was created for."""
    name: str
    """Its name at the provider."""
    state: str
    usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Answering:
    """A service on a machine, reachable from this one."""

    url: str
    settings: dict[str, str]
    """Its settings as variables, for requests that need a token. They are secret."""


class Provider(Protocol):
    """Interface for renting machines. Everything created is tagged with the id of its lease."""

    name: str

    def credentials(self) -> str:
        """Return the location of the credentials, without checking that they are valid.

        Raises:
            InfrastructureError: there are none; the message says what to configure.
        """
        ...

    def check(self) -> None:
        """Make sure that machines can be rented.

        Raises:
            InfrastructureError: credentials are missing or refused; the message says what to
                configure. Missing ones are reported before anything slow is installed.
        """
        ...

    def quote(self, instance: str, region: str) -> Quote:
        """Return the price of a machine; empty strings mean the provider's defaults.

        Raises:
            ConfigurationError: there is no such machine.
        """
        ...

    def launch(self, lease: Lease) -> None:
        """Create the machine of a lease, and start the service on it.

        Raises:
            InfrastructureError: the machine cannot be rented.
        """
        ...

    def answering(self, lease: Lease) -> Answering:
        """Return the URL and settings of the service, if it is ready.

        Raises:
            NotYetError: it is not ready yet.
            StrataError: it has exited; the message has its last lines.
        """
        ...

    def logs(self, lease: Lease) -> str:
        """Return the last lines that the machine and its service have printed."""
        ...

    def shell(self, lease: Lease) -> list[str]:
        """Return the command that opens a shell on the machine."""
        ...

    def terminate(self, tag: str) -> None:
        """Terminate the machine with this tag; do nothing if there is none.

        Raises:
            InfrastructureError: the provider refuses, or does not respond.
        """
        ...

    def list(self) -> Iterable[Machine]:
        """Return the existing machines of this project, no matter who created them.

        Raises:
            InfrastructureError: the provider does not respond.
        """
        ...


class NotYetError(Exception):
    """A machine is not ready yet."""


def ended(lease: Lease, note: Mapping[str, Any], code: str, logs: str) -> StrataError:
    """Return the error for a service that has exited on a machine.

    Args:
        lease: the machine's lease.
        note: the machine's state file.
        code: its exit code, empty if unknown.
        logs: its last lines.
    """
    error = note.get("error")
    if not error:
        return StrataError(
            f"{lease.service} has ended on the machine{f' with {code}' if code else ''}:\n{logs}",
            f"uv run nox -s 'integration({lease.service})' -- -m smoke",
        )
    kinds = {each.code: each for each in (StrataError, InfrastructureError, ConfigurationError)}
    return kinds[error["code"]](error["message"], error["hint"])


LABEL = "strata-lease"
"""Name of the label with the id of a machine's lease."""
PROVIDERS = {
    "local": "local:Local",
    "aws": "sky:Sky",
    "gcp": "sky:Sky",
    "azure": "sky:Sky",
    "hetzner": "hetzner:Hetzner",
}
"""Class of each provider, as `module:class` of this package; it is created with its name."""
FREE = "local"
"""Default provider, which costs nothing."""


def provider(name: str) -> Provider:
    """Return a provider by its name.

    Raises:
        ConfigurationError: the name is unknown.
    """
    if name not in PROVIDERS:
        raise ConfigurationError(
            f"there is no cloud {name!r}",
            did_you_mean(name, PROVIDERS, f"there are {', '.join(PROVIDERS)}"),
        )
    module, _, kind = PROVIDERS[name].partition(":")
    make: Callable[[str], Provider] = getattr(import_module(f".{module}", __package__), kind)
    return make(name)

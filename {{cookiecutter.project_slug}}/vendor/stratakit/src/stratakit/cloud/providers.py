"""Who has machines to rent: one seam for all of them, and the table of those that are known."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from ..errors import ConfigurationError, InfrastructureError, StrataError, did_you_mean
from .leases import Lease


@dataclass(frozen=True, slots=True)
class Quote:
    """What a machine costs, and who says so."""

    instance: str
    region: str
    usd_per_hour: float
    source: str
    """Where the price is from, with the date of what may have changed since."""
    begun: int = 1
    """Seconds by which it is billed, also where they have only just begun."""

    def usd(self, seconds: float) -> float:
        """Return what so much time costs."""
        return math.ceil(seconds / self.begun) * self.begun / 3600 * self.usd_per_hour


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that exists, as its provider lists it."""

    tag: str
    """The id of the lease that it was made for."""
    name: str
    """What its provider calls it."""
    state: str
    usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Answering:
    """A service on a machine, within reach of this one."""

    url: str
    settings: dict[str, str]
    """Its settings, as variables: a request may need a token. They are secret."""


class Provider(Protocol):
    """Rents machines. What it makes carries the id of its lease as a tag."""

    name: str

    def credentials(self) -> str:
        """Return where credentials were found; nobody is asked whether they are any good.

        Raises:
            InfrastructureError: there are none; the message says what to configure.
        """
        ...

    def check(self) -> None:
        """Return if machines can be rented.

        Raises:
            InfrastructureError: there are no credentials, or they are refused; the message says
                what to configure. Nothing that takes minutes is installed before.
        """
        ...

    def quote(self, instance: str, region: str) -> Quote:
        """Return what a machine costs; empty words mean this provider's own choice.

        Raises:
            ConfigurationError: there is no such machine.
        """
        ...

    def launch(self, lease: Lease) -> None:
        """Make the machine of a lease, and have it start the service.

        Raises:
            InfrastructureError: it cannot be had.
        """
        ...

    def answering(self, lease: Lease) -> Answering:
        """Return where the service answers, once it does.

        Raises:
            NotYetError: it does not, so far.
            StrataError: it never will; the message has its last lines.
        """
        ...

    def logs(self, lease: Lease) -> str:
        """Return what the service has printed."""
        ...

    def shell(self, lease: Lease) -> list[str]:
        """Return the command that opens a shell on the machine."""
        ...

    def terminate(self, tag: str) -> None:
        """Give the machine of this tag back; nothing happens where there is none.

        Raises:
            InfrastructureError: the provider does not do it.
        """
        ...

    def list(self) -> Iterable[Machine]:
        """Return the machines of this project that exist, whoever has made them.

        Raises:
            InfrastructureError: the provider does not answer.
        """
        ...


class NotYetError(Exception):
    """A machine is not ready so far."""


def ended(lease: Lease, note: Mapping[str, Any], code: str, logs: str) -> StrataError:
    """Return what it means that the service on a machine has ended.

    Args:
        lease: that of the machine.
        note: what the machine has written down.
        code: what it has ended with, as far as that is known.
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
"""What a machine has the id of its lease by, where it is one of several tags."""
PROVIDERS = {
    "local": "local:Local",
    "aws": "sky:Sky",
    "gcp": "sky:Sky",
    "azure": "sky:Sky",
    "hetzner": "hetzner:Hetzner",
}
"""Where each is, as `module:class` of this package; it is made with the name that it has here."""
FREE = "local"
"""The provider that costs nothing, which is taken where nothing is asked for."""


def provider(name: str) -> Provider:
    """Return a provider by its name.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if name not in PROVIDERS:
        raise ConfigurationError(
            f"there is no cloud {name!r}",
            did_you_mean(name, PROVIDERS, f"there are {', '.join(PROVIDERS)}"),
        )
    module, _, kind = PROVIDERS[name].partition(":")
    make: Callable[[str], Provider] = getattr(import_module(f".{module}", __package__), kind)
    return make(name)

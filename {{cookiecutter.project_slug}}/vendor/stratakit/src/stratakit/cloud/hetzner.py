"""Hetzner Cloud, through its own client: a labelled server and SSH key for each lease."""

import builtins
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hcloud import APIException, Client, HCloudException
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import BoundServerType, ServerType
from hcloud.servers import BoundServer
from hcloud.ssh_keys import BoundSSHKey

from .. import limits
from ..errors import ConfigurationError, InfrastructureError, StrataError, did_you_mean
from ..servers.waiting import until
from . import leases, ssh
from .leases import Lease
from .providers import LABEL, Answering, Machine, NotYetError, Quote

TOKEN, ENDPOINT = "HCLOUD_TOKEN", "HCLOUD_ENDPOINT"
"""Variables with the API token and another endpoint, as in Hetzner's own command line."""
API = "https://api.hetzner.cloud/v1"
INSTANCE, IMAGE = "cpx31", "ubuntu-24.04"
"""Default server type and image: 4 cores and 8 GB."""
USER_DATA = "#cloud-config\npackages: [python3-venv]\n"
"""Cloud-init configuration of a new machine, which lets it install uv from PyPI."""
USD = {"USD": 1.0, "EUR": 1.25}
"""Assumed exchange rates, above those of any day from 2019 to 2025, so that a cap holds."""
BEGUN = 3600
"""Billing period in seconds; every period that has begun is billed in full."""
APPEARS = 10.0
"""Seconds within which a requested machine is listed, if its response was lost."""
UNLOCKED = 120.0
"""Seconds within which a machine that is still being created can be deleted."""

_NEW = f"make a token that may read and write, and: export {TOKEN}=...;"
_NEW += " https://docs.hetzner.com/cloud/api/getting-started/generating-api-token/"
_ELSEWHERE = "name another place or kind of machine, as --region hel1 or --instance cx33"
_AGAIN = "wait a minute, then run it again; what is wrong there: https://status.hetzner.com"
HINTS = {
    "unauthorized": _NEW,
    "forbidden": _NEW,
    "token_readonly": _NEW,
    "resource_unavailable": _ELSEWHERE,
    "placement_error": _ELSEWHERE,
    "invalid_input": _ELSEWHERE,
    "resource_limit_exceeded": "delete unused machines, or ask Hetzner for a higher limit",
    "uniqueness_error": "uv run invoke cloud.reap --cloud hetzner",
    "rate_limit_exceeded": "Hetzner takes 3,600 requests an hour; run it again in a few minutes",
}
"""Hints by the code of an API error."""
MISTAKES = {"invalid_input"}
"""Error codes caused by wrong options of the user."""
LOCKED = {"locked", "conflict"}
"""Error codes of a machine with another action in progress."""


@dataclass
class Hetzner:
    """Provider that rents servers from Hetzner Cloud."""

    name: str
    port: int = 22
    """SSH port of the servers."""
    boot: float = ssh.BOOT
    """Seconds within which a new server accepts SSH connections."""
    _remotes: dict[str, ssh.Remote] = field(default_factory=dict)
    _unanswered: set[str] = field(default_factory=set)
    """Tags of machines that were requested without a response, and so may exist."""

    @cached_property
    def client(self) -> Client:
        """API client, which retries temporary failures.

        Raises:
            InfrastructureError: there is no token.
        """
        self.credentials()
        where = os.environ.get(ENDPOINT) or API
        return Client(os.environ[TOKEN], where, "strata", timeout=limits.CONNECT)

    def credentials(self) -> str:
        """Return the name of the variable with the token.

        Raises:
            InfrastructureError: it is not set.
        """
        if not os.environ.get(TOKEN):
            raise InfrastructureError(f"{TOKEN} is not set: Hetzner needs an API token", _NEW)
        return TOKEN

    def check(self) -> None:
        """Make sure that there is a valid token, and an SSH client.

        Raises:
            InfrastructureError: one is missing; the message says what to configure.
        """
        client = self.client
        ssh.require()
        with _asking("accept the token"):
            client.locations.get_list(per_page=1)

    def quote(self, instance: str, region: str) -> Quote:
        """Return a machine's price with its address and taxes, by default in the cheapest place.

        Raises:
            ConfigurationError: there is no such machine, or not in that region.
            InfrastructureError: it is sold out.
        """
        with _asking("name its prices"):
            kind = self._kind(instance or INSTANCE)
            pricing: dict[str, Any] = self.client.request("GET", "/pricing")["pricing"]
        prices = {each["location"]: _hourly(each) for each in kind.prices or ()}
        if region and region not in prices:
            raise ConfigurationError(
                f"Hetzner has no {kind.name} in {region}",
                did_you_mean(region, prices, f"it is in {', '.join(prices)}"),
            )
        sold_out = {each.location.name for each in kind.locations or () if each.available is False}
        able = prices.keys() - sold_out
        if not able or (region and region not in able):
            raise InfrastructureError(
                f"{kind.name} is sold out at Hetzner in {region or 'every place'}",
                f"--region {min(able)}" if able else "take another one: --instance cx33",
            )
        place = region or min(sorted(able), key=prices.__getitem__)
        address = sum(
            _hourly(price)
            for kind_of in pricing["primary_ips"]
            for price in kind_of["prices"]
            if kind_of["type"] == "ipv4" and price["location"] == place
        )
        currency = pricing["currency"]
        usd = (prices[place] + address) * USD[currency]
        source = f"Hetzner's API, with taxes and an address, {USD[currency]:g} USD for 1 {currency}"
        return Quote(kind.name or "", place, usd, f"{source}, begun hours in full", BEGUN)

    def launch(self, lease: Lease) -> None:
        """Create a key and a server, send the project there and start its service.

        Raises:
            ConfigurationError: Hetzner no longer has such a machine.
            InfrastructureError: it cannot be rented, or accepts no SSH connection.
        """
        shown = ssh.make_key(lease.folder)
        with _asking(f"rent a {lease.instance} in {lease.region}"):
            labels = {LABEL: lease.id}
            key = self.client.ssh_keys.create(lease.id, shown, labels)
            self._unanswered.add(lease.id)
            try:
                made = self.client.servers.create(
                    name=lease.id,
                    server_type=ServerType(name=lease.instance),
                    image=Image(name=IMAGE),
                    location=Location(name=lease.region),
                    ssh_keys=[key],
                    labels=labels,
                    user_data=USER_DATA,
                )
            except APIException:
                self._unanswered.discard(lease.id)
                raise
            self._unanswered.discard(lease.id)
            made.action.wait_until_finished()
        remote = self._remote(lease)
        remote.wait(self.boot)
        remote.start()

    def answering(self, lease: Lease) -> Answering:
        """Return the URL and settings of the service, through a tunnel.

        Raises:
            NotYetError: it is not ready yet.
            StrataError: it has exited; the message has its last lines.
        """
        return self._remote(lease).answering()

    def logs(self, lease: Lease) -> str:
        """Return the last lines that the machine and its service have printed.

        Raises:
            InfrastructureError: it cannot be reached.
        """
        return self._remote(lease).logs()

    def shell(self, lease: Lease) -> builtins.list[str]:
        """Return the command that opens a shell on the machine.

        Raises:
            InfrastructureError: there is no such machine.
        """
        return self._remote(lease).shell()

    def terminate(self, tag: str) -> None:
        """Delete everything with a tag; do nothing if there is none.

        Raises:
            InfrastructureError: Hetzner refuses, or does not respond.
        """
        if tag in self._remotes:
            self._remotes.pop(tag).close()
        with _asking(f"delete {tag}"):
            if tag in self._unanswered:
                with suppress(TimeoutError):
                    until(lambda: self._server(tag), APPEARS, unless=HCloudException, interval=0.5)
            for each in self._labelled(f"{LABEL}=={tag}"):
                _delete(each)

    def list(self) -> builtins.list[Machine]:
        """Return everything with a tag of this project: servers, and keys whose server is gone.

        Raises:
            InfrastructureError: Hetzner does not respond.
        """
        with _asking("list machines"):
            # Reversed, so that a server overwrites its key.
            found = {
                (each.labels or {})[LABEL]: getattr(each, "status", "only its key")
                for each in reversed(self._labelled(LABEL))
            }
        return [Machine(tag, tag, state) for tag, state in found.items() if leases.is_ours(tag)]

    def _kind(self, instance: str) -> BoundServerType:
        kind = self.client.server_types.get_by_name(instance)
        if kind is None:
            names = [str(each.name) for each in self.client.server_types.get_all()]
            raise ConfigurationError(
                f"Hetzner has no machine {instance!r}",
                did_you_mean(instance, names, f"it has {', '.join(names)}"),
            )
        return kind

    def _labelled(self, selector: str) -> builtins.list[BoundServer | BoundSSHKey]:
        """Return everything with a label: servers, then keys."""
        return [
            *self.client.servers.get_all(label_selector=selector),
            *self.client.ssh_keys.get_all(label_selector=selector),
        ]

    def _server(self, tag: str) -> BoundServer:
        """Return the server of a tag.

        Raises:
            NotYetError: there is none.
        """
        for server in self.client.servers.get_all(label_selector=f"{LABEL}=={tag}"):
            return server
        raise NotYetError(f"{tag} is not listed")

    def _remote(self, lease: Lease) -> ssh.Remote:
        if lease.id not in self._remotes:
            try:
                with _asking(f"find {lease.id}"):
                    server = self._server(lease.id)
            except NotYetError:
                raise InfrastructureError(
                    f"Hetzner has no machine {lease.id} any more", "uv run invoke cloud.reap"
                ) from None
            net = server.public_net
            assert net  # noqa: S101 - for the type checker: each is made with both addresses
            assert net.ipv4  # noqa: S101 - as above
            host = net.ipv4.ip
            self._remotes[lease.id] = ssh.Remote(lease, host, port=self.port)
        return self._remotes[lease.id]


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Translate Hetzner's errors during the block; the message never contains the token."""
    try:
        yield
    except APIException as error:
        mistake = error.code in MISTAKES
        kind: type[StrataError] = ConfigurationError if mistake else InfrastructureError
        raise kind(
            f"Hetzner does not {what}: {error.message} ({error.code})",
            HINTS.get(str(error.code), _AGAIN),
        ) from error
    # All network errors are OSErrors.
    except (HCloudException, OSError) as error:
        raise InfrastructureError(f"Hetzner does not {what}: {error}", _AGAIN) from error


def _delete(what: BoundServer | BoundSSHKey) -> None:
    """Delete a server or key that may be gone already, or still being created.

    Raises:
        TimeoutError: it stays locked.
    """

    def attempt() -> None:
        try:
            what.delete()
        except APIException as error:
            if error.code in LOCKED:
                raise NotYetError(error.message) from error
            if error.code != "not_found":
                raise

    until(attempt, UNLOCKED, unless=HCloudException, interval=1)


def _hourly(price: dict[str, Any]) -> float:
    return float(price["price_hourly"]["gross"])

"""`invoke cloud.*`: machines that the tier cloud has launched."""

import subprocess

from invoke.collection import Collection
from invoke.context import Context

from ..cloud import leases, providers, reaper
from ..errors import ConfigurationError, InfrastructureError, did_you_mean
from . import console
from .executor import task

LEASE = {"lease": "id of a machine that cloud.list shows; default: the only one"}


@task(name="list", help={"cloud": "also what this cloud lists, with or without a lease here"})
def list_(_: Context, cloud: str | None = None) -> None:
    """Show the machines: service, deadline, and whether a run still uses them."""
    known = leases.all_of(cloud)
    names = {lease.provider for lease in known} | ({cloud} if cloud else set())
    listed = {machine.tag: machine for name in names for machine in providers.provider(name).list()}
    rows = [
        (
            *(lease.id, lease.provider, lease.service),
            f"{lease.expires:%Y-%m-%d %H:%M} UTC",
            listed[lease.id].state if lease.id in listed else "not listed",
            "in use" if lease.in_use() else "kept" if lease.keep else "its run is dead",
        )
        for lease in known
    ]
    rows += [
        (
            tag,
            cloud or "",
            "",
            f"{leases.expires(tag):%Y-%m-%d %H:%M} UTC",
            machine.state,
            "no lease here",
        )
        for tag, machine in listed.items()
        if tag not in {lease.id for lease in known}
    ]
    header = ("lease", "cloud", "service", "until", "state", "run")
    console.say(console.table(header, rows) if rows else "no machine has been launched here")


@task(help=LEASE)
def logs(_: Context, lease: str | None = None) -> None:
    """Print the logs of the service on a machine."""
    found = _chosen(lease)
    console.say(providers.provider(found.provider).logs(found))


@task(help=LEASE)
def ssh(_: Context, lease: str | None = None) -> None:
    """Open a shell on a machine."""
    found = _chosen(lease)
    command = providers.provider(found.provider).shell(found)
    subprocess.run(command, check=False)


@task(help=LEASE)
def down(_: Context, lease: str | None = None) -> None:
    """Give a machine back, and check that it is gone."""
    found = _chosen(lease)
    reaper.end(providers.provider(found.provider), found.id)
    found.forget()
    console.say(f"given back: {found.id}")


@task(help={"cloud": "only machines of this cloud; default: of all that have leases here"})
def reap(_: Context, cloud: str | None = None) -> None:
    """Give back every machine that is unused or past its deadline."""
    names = [cloud] if cloud else sorted({lease.provider for lease in leases.all_of()})
    lines = [
        line for name in names or [providers.FREE] for line in reaper.reap(providers.provider(name))
    ]
    console.say("\n".join(lines) if lines else "no machine was left")


def _chosen(name: str | None) -> leases.Lease:
    """Return a lease by its id, or the only one.

    Raises:
        ConfigurationError: the id is unknown, or there are several leases to choose from.
        InfrastructureError: there are no leases.
    """
    known = {lease.id: lease for lease in leases.all_of()}
    if not known:
        raise InfrastructureError("no machine has been launched here", "uv run nox -s cloud")
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name not in known:
        what = f"there is no lease {name}" if name else "there are several machines"
        raise ConfigurationError(
            what, did_you_mean(name or "", known, f"--lease with one of {', '.join(known)}")
        )
    return known[name]


cloud = Collection("cloud", list_, logs, ssh, down, reap)

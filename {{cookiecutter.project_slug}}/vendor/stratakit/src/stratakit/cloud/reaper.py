"""Termination of machines: that of a run, and leftovers of dead runs and lost computers."""

import shutil
from collections.abc import Iterator

from ..errors import InfrastructureError, StrataError
from ..servers.waiting import until
from . import leases
from .providers import NotYetError, Provider

ENDING = 300.0
"""Seconds within which a terminated machine has to be gone."""


def end(provider: Provider, tag: str) -> None:
    """Terminate a machine, and make sure that it is gone.

    Raises:
        InfrastructureError: it is not gone.
    """

    def gone() -> None:
        if any(machine.tag == tag for machine in provider.list()):
            raise NotYetError("it is still listed")

    try:
        provider.terminate(tag)
        until(gone, ENDING, unless=StrataError, interval=0.05 if provider.name == "local" else 2)
    except (InfrastructureError, TimeoutError) as error:
        why = error.message if isinstance(error, InfrastructureError) else str(error)
        raise InfrastructureError(
            f"the machine {tag} of {provider.name} may still be there, and cost money: {why}",
            "uv run invoke cloud.reap",
        ) from error


def reap(provider: Provider) -> Iterator[str]:
    """Terminate machines that are no longer in use; yield a line for each.

    These are the machines of leases whose run is dead, except kept ones that have not expired; and
    all expired machines with our tag, no matter who created them.

    Raises:
        InfrastructureError: a machine could not be terminated.
    """
    known = set()
    for lease in leases.all_of(provider.name):
        known.add(lease.id)
        if lease.in_use() or (lease.keep and not lease.is_over()):
            continue
        end(provider, lease.id)
        lease.forget()
        yield f"given back: {lease.id} ({'its time is over' if lease.keep else 'its run is dead'})"
    for machine in provider.list():
        if machine.tag not in known and leases.is_over(machine.tag):
            end(provider, machine.tag)
            yield f"given back: {machine.tag} (its time is over, and its lease is not here)"
    for folder in leases.strays():
        shutil.rmtree(folder, ignore_errors=True)

"""Giving machines back: that of a run, and those that dead runs and lost computers have left."""

import shutil
from collections.abc import Iterator

from ..errors import InfrastructureError, StrataError
from ..servers.waiting import until
from . import leases
from .providers import NotYetError, Provider

ENDING = 300.0
"""Seconds in which a machine has to be gone that was given back."""


def end(provider: Provider, tag: str) -> None:
    """Give a machine back, and look whether it is gone.

    Raises:
        InfrastructureError: it is not.
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
    """Give back what nobody uses any more; yield a line for each.

    That is the machine of each lease whose run is dead, unless it was to be kept and its time is
    not over; and each machine with our tag whose time is over, whoever has made it.

    Raises:
        InfrastructureError: one could not be given back.
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
            yield f"given back: {machine.tag} (its time is over, and nobody here has its lease)"
    for folder in leases.strays():
        shutil.rmtree(folder, ignore_errors=True)

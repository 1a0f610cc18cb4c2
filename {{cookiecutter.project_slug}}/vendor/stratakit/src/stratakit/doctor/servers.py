"""Where PostgreSQL and Redis would come from, and whether that gives them."""

from importlib import import_module
from typing import TYPE_CHECKING

from ..environment import REINSTALL
from ..errors import InfrastructureError
from . import machine
from .run import version

if TYPE_CHECKING:
    from ..servers import Kind

PROGRAMS = {"postgres": ("postgres",), "redis": ("valkey-server", "redis-server")}


def source(kind: "Kind") -> str:
    """Look at the server that a test run would take, and why that one."""
    from .. import servers, settings
    from ..servers import external

    given = settings.load()
    if kind == "postgres":
        external.settle_environment(given)
    name, why = servers.choose(given, kind)
    if name == "url":
        with external.lease(kind, given) as address:
            return f"url ({why}): {settings.masked(address)} answers"
    refusal: str | None = import_module(f"..servers.{name}", __package__).refusal(kind)
    if refusal:
        raise InfrastructureError(
            f"{name} ({why}): {refusal}", "start Docker and get its images, or unset STRATA_SERVERS"
        )
    if name == "embedded":
        return f"{name} ({why}): {program(kind)}, data in {machine.server_data()}"
    return f"{name} ({why})"


def embedded() -> str:
    """Look at the programs of the embedded servers."""
    return ", ".join([program("postgres"), program("redis")])


def program(kind: "Kind") -> str:
    """Return the version of an embedded server's program.

    Raises:
        InfrastructureError: it is not there, or does not start.
    """
    from ..servers import binaries

    found = binaries.postgres() if kind == "postgres" else binaries.redis()
    if not found:
        raise InfrastructureError(f"no programs of {kind} are installed", REINSTALL)
    names = [found.folder / name for name in PROGRAMS[kind]]
    path = next((name for name in names if name.exists()), names[0])
    said = version(str(path), "--version", hint=REINSTALL)
    return said.partition(" sha=")[0]

"""Ports of services: which of them are taken, and by which process.

A service's own port is in its pyproject.toml, which all checkouts share; `NAME_PORT` in the
environment or in .env overrides it. If another checkout of the project uses the port, a free one is
written to .env.
"""

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from errno import EACCES
from pathlib import Path
from socket import SO_REUSEADDR, SOL_SOCKET, socket
from typing import NamedTuple

from .. import limits, programs, project, pyproject
from ..errors import ConfigurationError, InfrastructureError
from ..project import Service
from ..pyproject import ROOT
from . import service_env
from .health import HOST

LIMIT = 65536


def of(service: Service) -> int:
    """Return the port of a service in this checkout.

    Raises:
        ConfigurationError: it has none, or an invalid one.
    """
    name = _variable(service)
    if given := _given(name):
        port = int(given) if given.isdecimal() else given
        return checked(port, name, f"{name}=8000 in the environment or in .env")
    return checked(
        service.port,
        f"the port of {service.name}",
        f"port = 8000 in the [tool.stratakit.service] table of {_file(service)}",
    )


def checked(port: object, what: str, otherwise: str) -> int:
    """Return `port` if it is valid; error messages call it `what`.

    Raises:
        ConfigurationError: it is not a valid port number.
    """
    if type(port) is not int or not 0 < port < LIMIT:
        raise ConfigurationError(
            f"{what} is {port!r}, and has to be a number from 1 to {LIMIT - 1}", otherwise
        )
    return port


def settle(services: Sequence[Service]) -> None:
    """Write a free port to .env for each service whose port another checkout uses.

    A port that the user has set is not changed.

    Raises:
        ConfigurationError: a port is invalid, or .env cannot be read.
    """
    for service in services:
        name, port = _variable(service), of(service)
        if _is_users(name):
            continue
        other = elsewhere(port)
        if other:
            free = free_after(port)
            service_env.write_dotenv({name: str(free)})
            sys.stderr.write(
                f"{service.name}: the checkout in {other} has the port {port}, so here it is {free}"
                f" ({name} in .env)\n"
            )


def elsewhere(port: int) -> Path | None:
    """Return the other checkout of the project that listens on a port; None if none does."""
    if not _problem(port):
        return None
    folder = _holder(port).folder
    if folder is None or folder == ROOT or not pyproject.names_project(folder):
        return None
    theirs = pyproject.tool(folder / "pyproject.toml", "stratakit")["project"]
    return folder if theirs == pyproject.table()["project"] else None


def refuse_taken(services: Sequence[Service]) -> None:
    """Make sure that each of the services can listen on its port.

    Raises:
        ConfigurationError: two services have the same port, or one that only root may use.
        InfrastructureError: another process uses it.
    """
    users = defaultdict(list)
    for service in project.services():
        if service.port is not None:
            users[of(service)].append(service.name)
    for service in services:
        port, name = of(service), _variable(service)
        free = free_after(port)
        if len(users[port]) > 1:
            raise ConfigurationError(
                f"the services {' and '.join(users[port])} have the same port, {port}",
                f"{name}={free} in .env" if _given(name) else f"port = {free} in {_file(service)}",
            )
        refuse(port, f"the port {port} of {service.name}", f"{name}={free} in .env")


def refuse(port: int, what: str, otherwise: str) -> None:
    """Make sure that a port is free; error messages call it `what`.

    Raises:
        ConfigurationError: only root may use it.
        InfrastructureError: it is taken.
    """
    problem = _problem(port)
    if problem and problem.errno == EACCES:
        raise ConfigurationError(f"{what} may not be used: {problem.strerror}", otherwise)
    if problem:
        holder = _holder(port)
        raise InfrastructureError(
            f"{what} is taken by {holder.who}", f"{holder.stop}, or {otherwise}"
        )


def free_after(port: int) -> int:
    """Return the next port that belongs to no service and is free."""
    ours = {of(service) for service in project.services() if service.port is not None}
    return next((n for n in range(port + 1, LIMIT) if n not in ours and not _problem(n)), port + 1)


def _problem(port: int) -> OSError | None:
    """Return why a server could not listen on a port; None if it could."""
    with socket() as probe:
        probe.settimeout(limits.ANSWER)
        # On macOS bind succeeds although another process listens on all addresses.
        if probe.connect_ex((HOST, port)) == 0:
            return OSError("somebody answers")
    with socket() as probe:
        # As servers do: sockets in TIME_WAIT must not count as taken.
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error
    return None


class _Holder(NamedTuple):
    """Process or container that uses a port, as far as this user may see it."""

    who: str
    stop: str
    """Command or advice to stop it."""
    folder: Path | None = None
    """Its working directory, which for a service of a project is the checkout."""


def _holder(port: int) -> _Holder:
    container, folder = _container(port)
    if container:
        return _Holder(f"the container {container}", f"docker stop {container}", folder)
    # Imported late: it is rarely needed.
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            # Not only listeners: an outgoing connection takes a port as well.
            if any(each.laddr.port == port for each in process.net_connections("tcp")):
                command = " ".join(process.cmdline()) or process.name()
                where = process.cwd()
                who = f"`{command}` (pid {process.pid} in {where})"
                return _Holder(who, f"kill {process.pid}", Path(where))
    return _Holder("a process of another user", f"stop it (sudo lsof -i :{port} names it)")


def _container(port: int) -> tuple[str, Path | None]:
    """Return the container that publishes a port, and the folder that Compose started it from."""
    if shutil.which("docker") is None:
        return "", None
    shown = '{{.Names}}\t{{.Label "com.docker.compose.project.working_dir"}}'
    question = ["docker", "ps", "--filter", f"publish={port}", "--format", shown]
    try:
        done = programs.run(question, limits.ANSWER)
    except InfrastructureError:
        # Docker may hang; the name is only for a message.
        return "", None
    name, _, folder = done.stdout.partition("\n")[0].partition("\t")
    return name, Path(folder) if folder else None


def _variable(service: Service) -> str:
    return f"{service.prefix}PORT"


def _given(name: str) -> str | None:
    """Return a port set in the environment or in .env, by the user or by `settle`."""
    return os.environ.get(name) or service_env.dotenv().get(name)


def _is_users(name: str) -> bool:
    return bool(os.environ.get(name)) or bool(
        service_env.dotenv().get(name) and name not in service_env.noted()
    )


def _file(service: Service) -> Path:
    return (service.path / "pyproject.toml").relative_to(ROOT)

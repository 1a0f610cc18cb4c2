"""The ports that services listen on: which are taken, and by whom."""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from errno import EACCES
from pathlib import Path
from socket import SO_REUSEADDR, SOL_SOCKET, socket

from .. import limits, programs, project
from ..errors import ConfigurationError, InfrastructureError
from ..project import Service
from ..pyproject import ROOT
from .health import HOST

LIMIT = 65536


def of(service: Service) -> int:
    """Return the port of a service.

    Raises:
        ConfigurationError: it has none, or what it has is no number of a port.
    """
    return checked(
        service.port,
        f"the port of {service.name}",
        f"port = 8000 in the [tool.stratakit.service] table of {_file(service)}",
    )


def checked(port: object, what: str, otherwise: str) -> int:
    """Return a port, which the message calls `message`, if it is one.

    Raises:
        ConfigurationError: it is no number of a port.
    """
    if type(port) is not int or not 0 < port < LIMIT:
        raise ConfigurationError(
            f"{what} is {port!r}, and has to be a number from 1 to {LIMIT - 1}", otherwise
        )
    return port


def refuse_taken(services: Sequence[Service]) -> None:
    """Make sure that each of the services can listen where it wants to.

    Raises:
        ConfigurationError: two services have the same port, or one that only root may use.
        InfrastructureError: somebody else listens there.
    """
    users = defaultdict(list)
    for service in project.services():
        users[service.port].append(service.name)
    for service in services:
        if len(users[of(service)]) > 1:
            raise ConfigurationError(
                f"the services {' and '.join(users[service.port])} have the same port,"
                f" {service.port}",
                f"port = {free_after(of(service))} in {_file(service)}",
            )
        refuse(
            of(service),
            f"the port {service.port} of {service.name}",
            f"port = {free_after(of(service))} in {_file(service)}",
        )


def refuse(port: int, what: str, otherwise: str) -> None:
    """Make sure that nobody listens on a port, which the message calls `message`.

    Raises:
        ConfigurationError: it is one that only root may use.
        InfrastructureError: it is taken.
    """
    problem = _problem(port)
    if problem and problem.errno == EACCES:
        raise ConfigurationError(f"{what} may not be used: {problem.strerror}", otherwise)
    if problem:
        who, stop = _holder(port)
        raise InfrastructureError(f"{what} is taken by {who}", f"{stop}, or {otherwise}")


def free_after(port: int) -> int:
    """Return the next port that no service has and nobody listens on."""
    ours = {service.port for service in project.services()}
    return next((n for n in range(port + 1, LIMIT) if n not in ours and not _problem(n)), port + 1)


def _problem(port: int) -> OSError | None:
    """Return why a server could not listen on a port; None if it could."""
    with socket() as probe:
        probe.settimeout(limits.ANSWER)
        # macOS lets two listen, on all addresses and on this one, and only one is heard.
        if probe.connect_ex((HOST, port)) == 0:
            return OSError("somebody answers")
    with socket() as probe:
        # As servers do: what a connection that is over leaves behind is in nobody's way.
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error
    return None


def _holder(port: int) -> tuple[str, str]:
    """Return who listens on a port, as far as this user may know, and how to stop it."""
    container = _container(port)
    if container:
        return f"the container {container}", f"docker stop {container}"
    # Not imported before it is needed, which is rarely.
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(
                each.status == psutil.CONN_LISTEN and each.laddr.port == port
                for each in process.net_connections("tcp")
            ):
                command = " ".join(process.cmdline()) or process.name()
                where = f" in {process.cwd()}"
                return f"`{command}` (pid {process.pid}{where})", f"kill {process.pid}"
    return "a process of another user", f"stop it (sudo lsof -i :{port} names it)"


def _container(port: int) -> str:
    if shutil.which("docker") is None:
        return ""
    question = ["docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"]
    try:
        done = programs.run(question, limits.ANSWER)
    except InfrastructureError:
        # Docker is asked for the name alone: it may hang.
        return ""
    return done.stdout.partition("\n")[0]


def _file(service: Service) -> Path:
    return (service.path / "pyproject.toml").relative_to(ROOT)

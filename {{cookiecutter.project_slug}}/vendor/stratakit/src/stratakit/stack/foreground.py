"""One service in the foreground of a terminal, on the data of the stack."""

import sys
from dataclasses import dataclass

from ..errors import ConfigurationError, InfrastructureError
from ..project import Service
from ..pyproject import ROOT
from . import lifecycle, ports, record, service_env
from .states import HOST, address


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run in the place of this process, and where it will answer."""

    command: list[str]
    environment: dict[str, str]
    url: str


def launch(service: Service, *, port: int | None = None, reload: bool = False) -> Launch:
    """Bring up the servers of a service, migrate its database, and return how to run it.

    Args:
        service: which one.
        port: where it is to listen, where that is not its own port.
        reload: whether it is to start anew when its code changes.

    Raises:
        ConfigurationError: it does not say what to reload, or the port or a setting is wrong.
        InfrastructureError: the port is taken, or a server does not start.
        MigrationError: a migration fails.
    """
    listens = ports.of(service) if port is None else ports.checked(port, "--port", "--port 8000")
    make = _reloading if reload else _plain
    command = [sys.executable, "-P", "-m", *make(service, listens)]
    source, backend = lifecycle.current()
    status = backend.statuses([service])[0]
    if status.up and port is None:
        raise InfrastructureError(
            f"{service.name} is up in the stack already, at {status.url}",
            f"uv run invoke stack.down --service {service.name}, or give it another --port",
        )
    ports.refuse(listens, f"the port {listens}", f"--port {ports.free_after(listens)}")
    with record.alone(), service_env.lease(source, [service]) as up:
        service_env.migrate(service, up)
        own = service_env.variables(service, up, host=HOST, port=listens)
    return Launch(command, service_env.environment_with(own), address(listens))


def _plain(service: Service, _: int) -> list[str]:
    return [service.package]


def _reloading(service: Service, port: int) -> list[str]:
    if service.app is None:
        raise ConfigurationError(
            f"{service.name} does not say what makes its application, which --reload has to know",
            f'app = "{service.package}.bootstrap:bootstrap" in [tool.stratakit.service] of'
            f" {service.path.relative_to(ROOT)}/pyproject.toml",
        )
    code = [service.path / "src", *sorted(ROOT.glob("libs/*/src"))]
    watched = [word for folder in code for word in ("--reload-dir", str(folder))]
    # It puts a folder first on the path; in the working directory, there for the sake of `.env`,
    # are modules of other names.
    where = ["--app-dir", str(code[0]), "--host", HOST, "--port", str(port)]
    return ["uvicorn", "--factory", service.app, "--reload", *watched, *where, "--no-access-log"]

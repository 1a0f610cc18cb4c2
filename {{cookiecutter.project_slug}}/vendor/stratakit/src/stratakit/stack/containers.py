"""Services as containers, built from their Dockerfiles and run by Compose."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from .. import environment, programs, project
from ..errors import ConfigurationError, InfrastructureError
from ..project import Service
from ..pyproject import ROOT
from ..servers import KINDS, Kind, Server, compose
from ..servers.docker import IMAGES
from . import build_errors, compose_model, record, service_env
from .states import HOST, State, Status, address, complaint

ALL = ("--profile", "*")
"""Of whatever profile: what runs is to be found though COMPOSE_PROFILES is not set any more."""


class Containers:
    """The stack in containers."""

    PREPARING = "build"

    def prepare(self, services: Sequence[Service]) -> None:
        """Build the images of services; what has not changed comes out of the cache.

        Raises:
            BuildError: the code or a Dockerfile is at fault.
            ConfigurationError: the lock is missing or stale.
            InfrastructureError: what a build needs cannot be had.
        """
        if not environment.LOCK.exists():
            raise ConfigurationError("uv.lock is missing, which images are built from", "uv lock")
        compose_model.describe({})
        try:
            _compose("build", *_names(services))
        except compose.ComposeError as error:
            raise build_errors.diagnose(error.output) from error

    def start(self, services: Sequence[Service], servers: Mapping[Kind, Server]) -> list[str]:
        """Start those of the services that do not run as they are now; return their names."""
        before = _containers()
        seen: dict[Kind, str] = {
            kind: compose.ADDRESSES[kind].format(address=f"{kind}:{IMAGES[kind].port}")
            for kind in servers
        }
        compose_model.describe(
            {
                each.name: service_env.variables(
                    each, servers, seen, host=compose_model.ANY_HOST, port=compose_model.PORT
                )
                for each in services
            }
        )
        _compose("up", "--detach", "--no-build", *_names(services), *_extra_services())
        after = _containers()
        return [
            name
            for name in _names(services)
            if _started(before.get(name)) != _started(after.get(name))
        ]

    def stop(self, services: Sequence[Service]) -> list[str]:
        """Stop services and remove their containers; return those that ran."""
        there = _containers()
        chosen = [name for name in _names(services) if name in there]
        if chosen:
            _compose("rm", "--stop", "--force", *chosen)
        return [name for name in chosen if there[name]["State"]["Running"]]

    def statuses(self, services: Sequence[Service]) -> list[Status]:
        """Return how services are."""
        there = _containers()
        return [_service(name, there.get(name)) for name in _names(services)]

    def servers(self) -> list[Status]:
        """Return how the servers are."""
        there = _containers()
        others = [_status(name, there[name]) for name in sorted({*there} - _known())]
        servers = [_server(kind, there.get(kind)) for kind in KINDS]
        return servers + [replace(each, kind="server") for each in others]

    def output(self, service: Service, lines: int) -> str:
        """Return the last lines of a service's output."""
        if service.name not in _containers():
            return ""
        return _compose("logs", "--no-log-prefix", "--tail", str(lines), service.name).strip()

    def follow(self, services: Sequence[Service], lines: int) -> NoReturn:
        """Show the services' output as it grows, in the place of this process."""
        show = ("logs", "--follow", "--tail", str(lines), *_names(services))
        os.chdir(ROOT)
        os.execvp("docker", ["docker", "compose", *compose.project_name(), *_options(), *show])  # noqa: S606

    def close(self) -> list[str]:
        """Take down all containers, but no volume; return which ran."""
        running = sorted(name for name, each in _containers().items() if each["State"]["Running"])
        _compose(*ALL, "down", "--remove-orphans")
        return running

    def clean(self) -> list[str]:
        """Remove containers, networks, volumes and built images; return which volumes there were.

        Where no engine answers, there is nothing to remove.
        """
        if not compose.answers():
            return []
        volumes, images = _labelled("volume"), _labelled("image")
        _compose(*ALL, "down", "--remove-orphans", "--volumes", "--rmi", "local")
        # Compose takes those that have a name of their own for somebody else's.
        _docker("image", "rm", "--force", *images)
        return [f"volume {name}: deleted" for name in volumes]


def _options() -> list[str]:
    own = (
        ROOT / "compose.yaml",
        *_additions(),
        ROOT / "compose.override.yaml",
        compose_model.file(),
    )
    files = [word for file in own if file.exists() for word in ("--file", str(file))]
    return ["--project-directory", str(ROOT), *files]


def _additions() -> list[Path]:
    """Return the Compose files that services have of their own."""
    return sorted(ROOT.glob("services/*/compose.yaml"))


def _extra_services() -> list[str]:
    """Return what those files run beside the services, of the profiles in COMPOSE_PROFILES."""
    if not _additions():
        return []
    return sorted({*_compose("config", "--services").split()} - _known())


def _known() -> set[str]:
    return {*KINDS, *_names(project.services())}


def _compose(*arguments: str) -> str:
    try:
        return compose.run(*arguments, options=["--ansi", "never", *_options()])
    except compose.ComposeError:
        raise
    except InfrastructureError as error:
        raise InfrastructureError(
            f"the stack is in containers, and {error.message}",
            f"start Docker again; or, to forget those containers: rm {record.file()}",
        ) from error


def _containers() -> dict[str, Any]:
    """Return what Docker knows of each container of the stack, by the name of its service."""
    found = _compose(*ALL, "ps", "--all", "--quiet").split()
    if not found:
        return {}
    return {
        each["Config"]["Labels"]["com.docker.compose.service"]: each
        for each in json.loads(_docker("inspect", *found) or "[]")
    }


def _labelled(kind: str) -> list[str]:
    """Return the names of the volumes, or the numbers of the images, that the stack has made."""
    project = json.loads(_compose("config", "--format", "json"))["name"]
    label = f"label=com.docker.compose.project={project}"
    return sorted({*_docker(kind, "ls", "--quiet", "--filter", label).split()})


def _docker(*arguments: str) -> str:
    return programs.run(["docker", *arguments]).stdout


def _started(container: Any) -> Any:
    return container and (container["Id"], container["State"]["StartedAt"])


def _service(name: str, container: Any) -> Status:
    status = _status(name, container)
    if not (container and status.up):
        return status
    port = int(container["NetworkSettings"]["Ports"][f"{compose_model.PORT}/tcp"][0]["HostPort"])
    reason = complaint(port)
    state = State.RUNNING if reason else State.HEALTHY
    return replace(status, state=state, url=address(port), reason=reason)


def _server(kind: Kind, container: Any) -> Status:
    status = _status(kind, container)
    if not (container and status.up):
        return replace(status, kind="server")
    published = container["NetworkSettings"]["Ports"][f"{IMAGES[kind].port}/tcp"][0]
    health = container["State"].get("Health", {}).get("Status", "")
    return replace(
        status,
        kind="server",
        state=State.HEALTHY if health == "healthy" else State.RUNNING,
        url=compose.ADDRESSES[kind].format(address=f"{HOST}:{published['HostPort']}"),
        reason=None if health == "healthy" else health,
    )


def _status(name: str, container: Any) -> Status:
    if not container:
        return Status(name, State.STOPPED)
    state = container["State"]
    running = state["Running"]
    return Status(
        name,
        State.RUNNING if running else State.DEAD,
        container=container["Id"],
        since=_moment(state["StartedAt" if running else "FinishedAt"]),
        exit_code=None if running else state["ExitCode"],
        reason=None if running else state["Error"] or f"ended with exit code {state['ExitCode']}",
    )


def _moment(text: str) -> datetime | None:
    """Return a point in time as Docker writes it; None for the year 1, by which it means never."""
    return None if text.startswith("0001") else datetime.fromisoformat(text)


def _names(services: Sequence[Service]) -> list[str]:
    return [service.name for service in services]

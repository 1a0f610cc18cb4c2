"""Services as containers, built from their Dockerfiles and run by Compose.

Compose reads them from a generated file, so that nobody has to list them.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from .. import environment, limits, programs, project
from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..project import Service
from ..pyproject import ROOT
from ..results import read, write
from ..servers import KINDS, Kind, Server, compose
from ..servers.docker import IMAGES
from . import ports, record, service_env
from .health import HOST, State, Status, address, readiness_error

ALL = ("--profile", "*")
"""Options that select all profiles: containers must be found even if COMPOSE_PROFILES was unset."""
PORT = 8000
"""Port that a service listens on in its container, as in its Dockerfile."""
LIMIT = "1g"
"""Memory limit of a service, so that a leak does not take down the machine."""
ANY_HOST = "0.0.0.0"  # noqa: S104 - in the container; its port is published on 127.0.0.1 only
OUTSIDE = (
    "connection refused",
    "could not resolve",
    "error sending request",
    "failed to fetch",
    "failed to resolve source metadata",
    "i/o timeout",
    "name resolution",
    "network is unreachable",
    "newconnectionerror",
    "no space left",
    "no such host",
    "pull access denied",
    "tls handshake",
)
"""Signs, in lower case, of a build failure not caused by the code or the Dockerfile."""
TAIL = 30
"""Number of lines of a failed build's output to show."""
ERASE = "\x1b[2K"
"""Prefix of log lines in some versions of Compose (2.26), even with `--ansi never`."""


class BuildError(StrataError):
    """An image cannot be built: the code or the Dockerfile is at fault."""


class Containers:
    """Backend that runs the stack in containers."""

    PREPARING = "build"

    def prepare(self, services: Sequence[Service]) -> None:
        """Build the images of services; unchanged layers come from the cache.

        Raises:
            BuildError: the code or a Dockerfile is at fault.
            ConfigurationError: the lock is missing or stale.
            InfrastructureError: something that a build needs cannot be fetched.
        """
        if not environment.LOCK.exists():
            raise ConfigurationError("uv.lock is missing: images are built from it", "uv lock")
        _write_model({})
        try:
            _compose("build", *_names(services))
        except compose.ComposeError as error:
            raise _build_error(error.output) from error

    def start(self, services: Sequence[Service], servers: Mapping[Kind, Server]) -> list[str]:
        """Start the services that are not running or are outdated; return their names."""
        before = _containers()
        seen: dict[Kind, str] = {
            kind: compose.ADDRESSES[kind].format(address=f"{kind}:{IMAGES[kind].port}")
            for kind in servers
        }
        _write_model(
            {
                each.name: service_env.variables(each, servers, seen, host=ANY_HOST, port=PORT)
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
        """Return the status of services."""
        there = _containers()
        return [_service(name, there.get(name)) for name in _names(services)]

    def servers(self) -> list[Status]:
        """Return the status of the servers."""
        there = _containers()
        servers = [_server(kind, there.get(kind)) for kind in KINDS]
        others = [_status(name, there[name]) for name in sorted({*there} - _known())]
        return [replace(each, kind="server") for each in servers + others]

    def output(self, service: Service, lines: int) -> str:
        """Return the last lines of a service's output."""
        if service.name not in _containers():
            return ""
        shown = _compose("logs", "--no-log-prefix", "--tail", str(lines), service.name)
        return shown.replace(ERASE, "").strip()

    def follow(self, services: Sequence[Service], lines: int) -> NoReturn:
        """Replace this process with one that follows the services' output."""
        show = ("logs", "--follow", "--tail", str(lines), *_names(services))
        os.chdir(ROOT)
        os.execvp("docker", ["docker", "compose", *compose.project_name(), *_options(), *show])  # noqa: S606

    def close(self) -> list[str]:
        """Remove all containers, but no volumes; return those that ran."""
        running = sorted(name for name, each in _containers().items() if each["State"]["Running"])
        _compose(*ALL, "down", "--remove-orphans")
        return running

    def clean(self) -> list[str]:
        """Remove containers, networks, volumes and built images; return the deleted volumes.

        If no engine answers, there is nothing to remove.
        """
        if not compose.answers():
            return []
        volumes, images = _labelled("volume"), _labelled("image")
        _compose(*ALL, "down", "--remove-orphans", "--volumes", "--rmi", "local")
        # `--rmi local` skips images with a custom name, as ours have.
        _docker("image", "rm", "--force", *images)
        return [f"volume {name}: deleted" for name in volumes]


def model(given: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return a Compose model of the project's services, each with its variables from `given`."""
    return {
        "services": {
            each.name: {
                # A dot, because Compose's hyphen is ambiguous: `a` with `web-api` equals `a-web`
                # with `api`.
                "container_name": f"${{COMPOSE_PROJECT_NAME}}.{each.name}",
                "image": f"${{COMPOSE_PROJECT_NAME}}/{each.name}",
                "build": {
                    "context": ".",
                    "dockerfile": (each.path.relative_to(ROOT) / "Dockerfile").as_posix(),
                },
                "env_file": [{"path": ".env", "required": False}],
                # Compose interpolates single dollars.
                "environment": {
                    name: value.replace("$", "$$")
                    for name, value in given.get(each.name, {}).items()
                },
                "ports": [f"{HOST}:{ports.of(each)}:{PORT}"],
                "depends_on": list(each.needs),
                "mem_limit": LIMIT,
                "stop_grace_period": f"{limits.service_stop(given.get(each.name, {})):g}s",
            }
            for each in project.services()
            if each.port is not None
        }
    }


def _write_model(given: Mapping[str, Mapping[str, str]]) -> None:
    record.folder()
    write(_model_file(), json.dumps(model(given), indent=2))


def _model_file() -> Path:
    return record.file().with_name("compose.json")


def _build_error(output: str) -> StrataError:
    """Return the error for a failed `docker compose build` with this output."""
    last = "\n".join(output.strip().splitlines()[-TAIL:])
    if "needs to be updated" in output:
        return environment.diagnose(output)
    if any(sign in output.lower() for sign in OUTSIDE):
        return InfrastructureError(
            f"an image cannot be built, because something it needs is unavailable:\n{last}",
            "check the registry, the package index and the disk's free space; "
            "STRATA_SERVERS=embedded does without images",
        )
    return BuildError(f"an image cannot be built:\n{last}", "fix what it says, then run it again")


def _options() -> list[str]:
    ours = [_model_file()] if read(_model_file(), services=dict) else []
    own = (ROOT / "compose.yaml", *_additions(), *ours)
    files = [word for file in own if file.exists() for word in ("--file", str(file))]
    return ["--project-directory", str(ROOT), *files]


def _additions() -> list[Path]:
    """Return the additional Compose files of services and of the developer."""
    override = ROOT / "compose.override.yaml"
    return [
        *sorted(ROOT.glob("services/*/compose.yaml")),
        *([override] if override.exists() else []),
    ]


def _extra_services() -> list[str]:
    """Return the extra services of these files that COMPOSE_PROFILES enables."""
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
        if record.load() != "docker":
            raise
        raise InfrastructureError(
            f"the stack is in containers, and {error.message}",
            f"start Docker again; or, to forget those containers: rm {record.file()}",
        ) from error


def _containers() -> dict[str, Any]:
    """Return `docker inspect` of each container of the stack, by the name of its service."""
    found = _compose(*ALL, "ps", "--all", "--quiet").split()
    if not found:
        return {}
    return {
        each["Config"]["Labels"]["com.docker.compose.service"]: each
        for each in json.loads(_docker("inspect", *found) or "[]")
    }


def _labelled(kind: str) -> list[str]:
    """Return the names of the stack's volumes, or the ids of its images."""
    project = json.loads(_compose("config", "--format", "json"))["name"]
    label = f"label=com.docker.compose.project={project}"
    return sorted({*_docker(kind, "ls", "--quiet", "--filter", label).split()})


def _docker(*arguments: str) -> str:
    return programs.run(["docker", *arguments]).stdout


def _started(container: Any) -> Any:
    return container and (container["Id"], container["State"]["StartedAt"])


def _service(name: str, container: Any) -> Status:
    status = _status(name, container)
    if not status.up:
        return status
    port = _published(container, PORT)
    reason = readiness_error(port)
    state = State.RUNNING if reason else State.HEALTHY
    return replace(status, state=state, url=address(port), reason=reason)


def _server(kind: Kind, container: Any) -> Status:
    status = _status(kind, container)
    if not status.up:
        return status
    health = container["State"].get("Health", {}).get("Status", "")
    where = f"{HOST}:{_published(container, IMAGES[kind].port)}"
    return replace(
        status,
        state=State.HEALTHY if health == "healthy" else State.RUNNING,
        url=compose.ADDRESSES[kind].format(address=where),
        reason=None if health == "healthy" else health,
    )


def _published(container: Any, port: int) -> int:
    """Return the port of this machine that a container's port is published on."""
    return int(container["NetworkSettings"]["Ports"][f"{port}/tcp"][0]["HostPort"])


def _status(name: str, container: Any) -> Status:
    if not container:
        return Status(name, State.STOPPED)
    state = container["State"]
    running = state["Running"]
    since = state["StartedAt" if running else "FinishedAt"]
    return Status(
        name,
        State.RUNNING if running else State.DEAD,
        container=container["Id"],
        # Docker writes the year 1 for never.
        since=None if since.startswith("0001") else datetime.fromisoformat(since),
        exit_code=None if running else state["ExitCode"],
        reason=None if running else state["Error"] or f"ended with exit code {state['ExitCode']}",
    )


def _names(services: Sequence[Service]) -> list[str]:
    return [service.name for service in services]

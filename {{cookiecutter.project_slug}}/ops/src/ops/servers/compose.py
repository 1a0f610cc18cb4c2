"""Servers in the containers of compose.yaml, which stay up until they are taken down."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import InfrastructureError
from ..graph import ROOT
from ..settings import Settings
from . import docker, url
from .waiting import until

if TYPE_CHECKING:
    from . import Kind

ADDRESSES = {
    "postgres": "postgresql://postgres:postgres@{address}/postgres",
    "redis": "redis://{address}",
}
START_TIMEOUT = 60
"""Seconds that a server may take to accept connections."""


class ComposeError(InfrastructureError):
    """A command of Docker Compose failed; `output` is what it said."""

    def __init__(self, command: str, output: str) -> None:
        super().__init__(
            f"{command} failed: {output.strip()}",
            "see its message; OPS_SERVERS=embedded does without Docker",
        )
        self.output = output


@contextmanager
def lease(kind: "Kind", settings: Settings) -> Iterator[str]:  # noqa: ARG001 - the seam's signature
    """Yield the URL of a server, started if it is not up; it stays up.

    Raises:
        InfrastructureError: Docker Compose is not there, or does not start it.
    """
    run("up", "--detach", "--quiet-pull", kind)
    address = run("port", kind, str(docker.IMAGES[kind].port)).strip()
    found = ADDRESSES[kind].format(address=address)
    try:
        until(lambda: url.ping(kind, found), START_TIMEOUT)
    except TimeoutError as error:
        raise InfrastructureError(
            f"{kind} of compose.yaml is {error}", f"docker compose logs {kind}"
        ) from error
    yield found


def release(kind: "Kind") -> bool:
    """Take a server down; return whether it was up. What it stored stays in its volume.

    Where no engine answers, nothing of it can be up.

    Raises:
        ComposeError: Compose refuses to say, as it does where a file of its own is wrong.
    """
    if not answers():
        return False
    up = bool(run("ps", "--quiet", kind).strip())
    if up:
        run("rm", "--stop", "--force", kind)
    return up


def answers() -> bool:
    """Say whether there is anything to take down, and an engine that could."""
    try:
        with docker.client():
            return _there()
    except InfrastructureError:
        return False


def run(*arguments: str, options: Sequence[str] = ()) -> str:
    """Run a command of Docker Compose, and return what it printed.

    Raises:
        InfrastructureError: no engine answers, or it failed (a ComposeError).
    """
    command = f"docker compose {' '.join(arguments)}"
    try:
        # Compose itself would wait for ever for an engine that hangs.
        with docker.client():
            done = subprocess.run(
                ["docker", "compose", *options, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
    except FileNotFoundError as error:
        raise ComposeError(command, "docker is not on PATH") from error
    if done.returncode:
        raise ComposeError(command, done.stdout + done.stderr)
    return done.stdout


def _there() -> bool:
    if shutil.which("docker") is None or not (ROOT / "compose.yaml").exists():
        return False
    # An engine may be there without Compose, which is a plugin.
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return asked.returncode == 0

"""Servers in the containers of compose.yaml, which stay up until `release`."""

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .. import limits, programs
from ..errors import InfrastructureError
from ..pyproject import ROOT, postgres, table
from ..settings import Settings
from . import checkout, docker, external
from .carriers import to_stay
from .waiting import until

if TYPE_CHECKING:
    from . import Kind

ADDRESSES = {
    "postgres": "postgresql://postgres:postgres@{address}/postgres",
    "redis": "redis://{address}",
}
LONG = {"build", "up"}
"""Commands that may download images."""


class ComposeError(InfrastructureError):
    """A Docker Compose command failed; `output` is what it printed."""

    def __init__(self, command: str, output: str) -> None:
        super().__init__(
            f"{command} failed: {output.strip()}",
            "see its message; STRATA_SERVERS=embedded does without Docker",
        )
        self.output = output


@contextmanager
def lease(kind: "Kind", settings: Settings) -> Iterator[str]:  # noqa: ARG001 - the seam's signature
    """Yield the URL of a server, started if it is not up; it stays up.

    Raises:
        InfrastructureError: Docker Compose is missing, or the server does not start.
    """
    run("up", "--detach", "--quiet-pull", kind)
    try:
        address = run("port", kind, str(docker.IMAGES[kind].port)).strip()
        found = ADDRESSES[kind].format(address=address)
        until(lambda: _ping(kind, found), limits.CONTAINER_START, unless=ChildProcessError)
    except (TimeoutError, ChildProcessError, ComposeError) as error:
        output = run("logs", "--no-log-prefix", "--tail=20", kind).strip()
        _refuse_other_major(kind, output)
        raise InfrastructureError(
            f"{kind} of compose.yaml is not ready: {error}; its last lines:\n{output[-1000:]}",
            f"docker compose logs {kind}",
        ) from error
    yield found


def _ping(kind: "Kind", address: str) -> None:
    """Ping a server.

    Raises:
        ChildProcessError: it has exited, so waiting is pointless.
    """
    try:
        external.ping(kind, address)
    except Exception as error:
        if not run("ps", "--quiet", "--status=running", kind).strip():
            raise ChildProcessError("it has ended") from error
        raise


def _refuse_other_major(kind: "Kind", output: str) -> None:
    """Raise if PostgreSQL exited because, by its output, its data is from another major version.

    Raises:
        InfrastructureError: the data is from another major version; it was not changed.
    """
    made = re.search(r"initialized by PostgreSQL version (\d+)", output)
    if not made:
        return
    there, image = made[1], docker.IMAGES[kind]
    number = run("ps", "--all", "--quiet", kind).strip()
    template = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}}{{end}}{{end}}'
    volume = programs.run(["docker", "inspect", f"--format={template}", number]).stdout.strip()
    own = image.name.format(major=there)
    compose = shlex.join(("docker", "compose", *project_name()))
    anew = (
        f"{compose} rm --force {kind} && docker run --rm --entrypoint cp -v {volume}:/from"
        f" -v {volume}-{there}:/to {own} -a /from/. /to && docker volume rm {volume}"
    )
    dump = (
        "pg_ctl -w -o -k/tmp -l /tmp/log start >/dev/null && pg_dumpall -h /tmp -U postgres"
        "; pg_ctl -w stop >/dev/null"
    )
    raise InfrastructureError(
        f"the data of dev in Docker's volume {volume} was made by PostgreSQL {there}, and"
        f" PostgreSQL {postgres()} is what runs here: it was not opened",
        f"{to_stay(there)}\n  to dump it: docker run --rm --user postgres --entrypoint sh -v"
        f" {volume}:{image.data} -e PGDATA={image.data} {own} -c '{dump}' >~/dev-{there}.sql"
        f"\n  to start over, with a copy in {volume}-{there}: {anew}",
    )


def release(kind: "Kind") -> bool:
    """Take a server down; return whether it was up. Its data stays in its volume.

    If no engine answers, it cannot be up.

    Raises:
        ComposeError: Compose fails, for example because of an invalid compose.yaml.
    """
    if not answers():
        return False
    up = bool(run("ps", "--quiet", kind).strip())
    if up:
        run("rm", "--stop", "--force", kind)
    return up


def answers() -> bool:
    """Return whether there is a compose.yaml, and Docker Compose with an engine that answers."""
    try:
        with docker.client():
            return _there()
    except InfrastructureError:
        return False


def run(*arguments: str, options: Sequence[str] = ()) -> str:
    """Run a Docker Compose command, and return its output.

    Raises:
        InfrastructureError: no engine answers, or it failed (a ComposeError).
    """
    command = f"docker compose {' '.join(arguments)}"
    limit = limits.DOWNLOAD if LONG & {*arguments} else limits.COMMAND
    try:
        # Checks the engine first: Compose would wait forever for one that hangs.
        with (
            docker.client(),
            subprocess.Popen(
                ["docker", "compose", *project_name(), *options, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            ) as process,
        ):
            try:
                output, said = _ended(process, command, limit)
            finally:
                process.kill()
    except FileNotFoundError as error:
        raise ComposeError(command, "docker is not on PATH") from error
    if process.returncode:
        raise ComposeError(command, output + said)
    return output


def project_name() -> list[str]:
    """Return the options that give a checkout containers of its own; none for the first."""
    name = checkout.named(str(table()["project"]))
    return ["--project-name", name] if checkout.mark() else []


def _ended(process: "subprocess.Popen[str]", command: str, limit: float) -> tuple[str, str]:
    """Wait for a command as long as the engine answers; return its output and error output.

    Raises:
        InfrastructureError: the engine no longer answers, or the command takes too long.
    """
    deadline = time.monotonic() + limit
    while True:
        try:
            return process.communicate(timeout=min(limit, limits.ENGINE_STEP))
        except subprocess.TimeoutExpired as error:
            with docker.client():
                if time.monotonic() < deadline:
                    continue
            raise InfrastructureError(
                f"{command} did not finish within {limit:g} s and was stopped",
                f"see what it waits for: {command}; STRATA_SERVERS=embedded does without Docker",
            ) from error


def _there() -> bool:
    if shutil.which("docker") is None or not (ROOT / "compose.yaml").exists():
        return False
    # Compose is a plugin, and may be missing although Docker is installed.
    return programs.run(["docker", "compose", "version"]).returncode == 0

"""The stack of a copy of the project, for tests that start it, break it and take it down.

The copy has a Compose project, ports and folders for data of its own, so a developer's stack and
other runs are out of its reach. It is driven by the actions that people type.
"""

import json
import os
import re
import secrets
import shutil
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from .. import limits, liveness, programs
from ..errors import AbsentError, Code, InfrastructureError
from ..pyproject import ROOT
from ..servers import docker, external
from ..servers.home import cache
from ..stack.health import readiness_error
from ..static.runner import project_files

PREFIX = "strata-compose-"
INSTALL = "see docs.docker.com/get-started/get-docker"
KINDS = ("container", "volume", "network", "image")


@dataclass(frozen=True, slots=True)
class StackCopy:
    """A copy of the project, whose stack nobody else uses.

    Attributes:
        name: of the Compose project.
        folder: of the copy.
        environment: of the commands that are run in it.
    """

    name: str
    folder: Path
    environment: dict[str, str]

    def invoke(self, *words: str, code: Code = Code.PASSED, **variables: str) -> str:
        """Run an action, which has to exit with `code`; return what it printed.

        Raises:
            AssertionError: it exits with another code.
            InfrastructureError: it exits with that of infrastructure, and was not to.
        """
        done = programs.run(
            (sys.executable, "-m", "invoke", *words),
            limits.DOWNLOAD,
            cwd=self.folder,
            env={**self.environment, **variables},
            together=True,
        )
        if done.returncode == Code.INFRASTRUCTURE != code:
            raise InfrastructureError(f"`invoke {' '.join(words)}` fails:\n{done.stdout}")
        if done.returncode != code:
            raise AssertionError(f"exit {done.returncode}:\n{done.stdout}")
        return done.stdout

    def compose(self, *words: str) -> str:
        """Run a command of Docker Compose on the servers of compose.yaml; return its output."""
        return _docker("compose", "--project-name", self.name, *words, cwd=self.folder).strip()

    def kill(self, container: str) -> None:
        """Send SIGKILL to the first process of a container."""
        _docker("container", "kill", container)

    def status(self) -> dict[str, dict[str, Any]]:
        """Return what `stack.status` tells of each server and service, whatever its exit code."""
        command = (sys.executable, "-m", "invoke", "stack.status", "--json")
        done = programs.run(command, cwd=self.folder, env=self.environment)
        return {each["name"]: each for each in json.loads(done.stdout)}

    def left(self) -> dict[str, list[str]]:
        """Return what Docker has of the stack: containers, volumes, networks and images."""
        return {kind: found for kind in KINDS if (found := _labelled(kind, self.name))}


@contextmanager
def copied() -> Iterator[StackCopy]:
    """Yield a copy of the project; what its stack leaves is removed after the block.

    What a killed run has left is removed first.

    Raises:
        AbsentError: Docker or its plugins are not here.
    """
    _require_docker()
    sweep()
    name = f"{PREFIX}{secrets.token_hex(4)}"
    home = cache() / name
    liveness.begin(home)
    try:
        for folder in ("cache", "data"):
            (home / folder).mkdir()
        yield StackCopy(name, _copy(home / "project"), _environment(name, home))
    finally:
        _remove(name)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def traffic(parts: Iterable[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Ask parts of a stack again and again during the block; yield how often one did not answer.

    Args:
        parts: what `StackCopy.status` tells of them.
    """
    problems: list[str] = []
    over = threading.Event()

    def load() -> None:
        last = False
        while not last:
            # Once more at the end, so that a short block is seen as well.
            last = over.is_set()
            problems.extend(filter(None, map(_problem, parts)))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield problems
    finally:
        over.set()
        thread.join()


def _problem(part: Mapping[str, Any]) -> str | None:
    """Return why a server or a service does not answer; None if it does."""
    if part["kind"] == "service":
        return readiness_error(int(part["url"].rpartition(":")[2]))
    try:
        external.ping(part["name"], part["url"])
    except (psycopg.Error, redis.RedisError) as error:
        return f"{part['name']}: {error}"
    return None


def sweep() -> None:
    """Remove what runs have left that were killed."""
    for home in cache().glob(f"{PREFIX}*"):
        if liveness.run_ended(home):
            _remove(home.name)
            shutil.rmtree(home, ignore_errors=True)


def _require_docker() -> None:
    try:
        with docker.client():
            pass
    except InfrastructureError as error:
        raise AbsentError(error.message, error.hint, part="docker") from error
    for plugin in ("compose", "buildx"):
        try:
            _docker(plugin, "version")
        except InfrastructureError as error:
            raise AbsentError(f"docker {plugin} is not here", INSTALL, part="docker") from error


def _copy(target: Path) -> Path:
    """Copy what git has of the project, each service on a port that is free now."""
    for file in project_files():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, target / file)
    for manifest in target.glob("services/*/pyproject.toml"):
        text = manifest.read_text(encoding="utf-8")
        moved = re.sub(r"(?m)^port = \d+", lambda _: f"port = {free_port()}", text)
        manifest.write_text(moved, encoding="utf-8")
    return target


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _environment(name: str, home: Path) -> dict[str, str]:
    ours = ("STRATA_", "TEST_", "COMPOSE_")
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(ours)},
        "STRATA_SERVERS": "docker",
        "COMPOSE_PROJECT_NAME": name,
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        # Before the engine that is installed, which looks after the project itself.
        "PYTHONPATH": str(home / "project" / "vendor" / "stratakit" / "src"),
    }


def _labelled(kind: str, name: str) -> list[str]:
    every = ("--all",) if kind == "container" else ()
    label = f"label=com.docker.compose.project={name}"
    return sorted({*_docker(kind, "ls", *every, "--quiet", "--filter", label).split()})


def _remove(name: str) -> None:
    """Remove what Docker has of a Compose project, containers first, since they use the rest."""
    for kind in KINDS:
        for each in _labelled(kind, name):
            force = () if kind == "network" else ("--force",)
            _docker(kind, "rm", *force, each)


def _docker(*words: str, cwd: Path | None = None) -> str:
    done = programs.run(("docker", *words), limits.DOWNLOAD, cwd=cwd)
    if done.returncode:
        raise InfrastructureError(f"`docker {' '.join(words)}` fails: {done.stderr.strip()}")
    return done.stdout

"""The stack of a copy of the project, for tests that start it, break it and take it down.

The copy is a project of another name, and so has containers, databases, locks and folders of its
own, and ports that were free: a developer's stack and other runs are out of its reach. It is driven
by the actions that people type.
"""

import json
import os
import re
import secrets
import shutil
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
from ..programs import free_port
from ..pyproject import ROOT
from ..servers import docker, external
from ..servers.home import cache, candidates, data_folder
from ..stack.health import readiness_error
from ..static.runner import project_files

PREFIX = "strata-compose-"
INSTALL = "see docs.docker.com/get-started/get-docker"
KINDS = {
    "container": ("--force", "--volumes"),
    "volume": ("--force",),
    "network": (),
    "image": ("--force",),
}
"""What a stack has in Docker, each with the options by which it is removed."""


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
        return _docker("compose", *words, cwd=self.folder, env=self.environment).strip()

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
        return _left(self.name)


@contextmanager
def copied() -> Iterator[StackCopy]:
    """Yield a copy of the project; what its stack leaves is removed after the block.

    What a killed run has left is removed first.

    Raises:
        AbsentError: Docker, a plugin of it or an image of compose.yaml cannot be had.
    """
    _require_docker()
    sweep()
    name = f"{PREFIX}{secrets.token_hex(4)}"
    home = cache() / name
    liveness.begin(home)
    try:
        yield StackCopy(name, _copy(home / "project", name), _environment(name, home))
    finally:
        _remove(name)


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
    """Remove what runs have left that were killed, once no action of theirs works on any more."""
    for home in cache().glob(f"{PREFIX}*"):
        locks = (lock for folder in _folders(home.name) for lock in folder.rglob("*.lock"))
        if liveness.run_ended(home) and not any(map(liveness.is_held, locks)):
            _remove(home.name)


def _folders(name: str) -> list[Path]:
    """Return the folders of a copy: where it is, its caches and its data."""
    return [cache() / name, *candidates(name), data_folder(name)]


def _require_docker() -> None:
    try:
        with docker.client():
            pass
    except InfrastructureError as error:
        raise AbsentError(error.message, "start Docker", part="docker") from error
    for plugin in ("compose", "buildx"):
        _require(f"`docker {plugin}` does not work", INSTALL, plugin, "version")
    lack = "the images of compose.yaml are unknown"
    for image in _require(lack, "docker compose config", "compose", "config", "--images").split():
        if programs.run(("docker", "image", "inspect", image)).returncode:
            _require(f"{image} cannot be pulled", f"docker pull {image}", "pull", "--quiet", image)


def _require(lack: str, hint: str, *words: str) -> str:
    """Run a command of Docker without which there is no stack; return its output."""
    try:
        return _docker(*words, cwd=ROOT)
    except InfrastructureError as error:
        raise AbsentError(f"{lack}: {error.message}", hint, part="docker") from error


def _copy(target: Path, name: str) -> Path:
    """Copy what git has of the project, under a name, each service on a port that is free now."""
    for file in project_files():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, target / file)
    _set(target / "pyproject.toml", "project", f'"{name}"')
    for manifest in target.glob("services/*/pyproject.toml"):
        _set(manifest, "port", str(free_port()))
    return target


def _set(manifest: Path, key: str, value: str) -> None:
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(re.sub(rf"(?m)^{key} = .*", f"{key} = {value}", text), encoding="utf-8")


def _environment(name: str, home: Path) -> dict[str, str]:
    ours = ("STRATA_", "TEST_", "COMPOSE_")
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(ours)},
        "STRATA_SERVERS": "docker",
        "COMPOSE_PROJECT_NAME": name,
        # Before the engine that is installed, which looks after the project itself.
        "PYTHONPATH": str(home / "project" / "vendor" / "stratakit" / "src"),
    }


def _left(name: str) -> dict[str, list[str]]:
    return {kind: found for kind in KINDS if (found := _labelled(kind, name))}


def _labelled(kind: str, name: str) -> list[str]:
    every = ("--all",) if kind == "container" else ()
    label = f"label=com.docker.compose.project={name}"
    return sorted({*_docker(kind, "ls", *every, "--quiet", "--filter", label).split()})


def _remove(name: str) -> None:
    """Remove what Docker has of a copy, containers first, since they use the rest; then its files.

    Another run may be removing the same.
    """
    for kind, options in KINDS.items():
        for each in _labelled(kind, name):
            programs.run(("docker", kind, "rm", *options, each))
    if left := _left(name):
        raise InfrastructureError(f"Docker does not remove {left}", "see what uses them: docker ps")
    for folder in reversed(_folders(name)):
        shutil.rmtree(folder, ignore_errors=True)


def _docker(*words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    command = ("docker", *words)
    try:
        done = programs.run(command, limits.DOWNLOAD, cwd=cwd, env=env)
    except FileNotFoundError as error:
        raise InfrastructureError("docker is not on PATH", INSTALL) from error
    if done.returncode:
        raise InfrastructureError(f"`{' '.join(command)}` fails: {done.stderr.strip()}")
    return done.stdout

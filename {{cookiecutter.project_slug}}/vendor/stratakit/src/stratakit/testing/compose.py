"""The Compose stack of a copy of the project, for tests that start it, break it and take it down.

The copy has another project name, so it has its own containers, databases, locks and folders, and
free ports: it cannot touch a developer's stack or other runs. Tests drive it with the same invoke
actions that people type.
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

ENGINE = Path(os.path.relpath(Path(__file__).parents[2], ROOT))
"""Folder of the sources of the engine, relative to the project."""

PREFIX = "strata-compose-"
INSTALL = "see docs.docker.com/get-started/get-docker"
KINDS = {
    "container": ("--force", "--volumes"),
    "volume": ("--force",),
    "network": (),
    "image": ("--force",),
}
"""Docker object types of a stack, each with the options for its removal."""


@dataclass(frozen=True, slots=True)
class StackCopy:
    """Copy of the project with a stack of its own.

    Attributes:
        name: name of the Compose project.
        folder: folder of the copy.
        environment: environment variables for the commands run in it.
    """

    name: str
    folder: Path
    environment: dict[str, str]

    def invoke(self, *words: str, code: Code = Code.PASSED, **variables: str) -> str:
        """Run an action that has to exit with `code`; return its output.

        Raises:
            AssertionError: it exits with another code.
            InfrastructureError: it exits unexpectedly with the code of an infrastructure error.
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
        """Send SIGKILL to the main process of a container."""
        _docker("container", "kill", container)

    def status(self) -> dict[str, dict[str, Any]]:
        """Return the `stack.status` of each server and service, ignoring its exit code."""
        command = (sys.executable, "-m", "invoke", "stack.status", "--json")
        done = programs.run(command, cwd=self.folder, env=self.environment)
        return {each["name"]: each for each in json.loads(done.stdout)}

    def left(self) -> dict[str, list[str]]:
        """Return the stack's Docker objects: containers, volumes, networks and images."""
        return _left(self.name)


@contextmanager
def copied() -> Iterator[StackCopy]:
    """Yield a copy of the project; everything its stack leaves behind is removed after the block.

    Leftovers of killed runs are removed first.

    Raises:
        AbsentError: Docker, a Docker plugin or an image of compose.yaml is unavailable.
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
    """Poll servers and services during the block; yield the list of failed requests.

    Args:
        parts: their entries in `StackCopy.status`.
    """
    problems: list[str] = []
    over = threading.Event()

    def load() -> None:
        last = False
        while not last:
            # Poll once more at the end, so that even a short block gets one poll.
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
    """Return the error of a server or service that does not respond; None if it does."""
    if part["kind"] == "service":
        return readiness_error(int(part["url"].rpartition(":")[2]))
    try:
        external.ping(part["name"], part["url"])
    except (psycopg.Error, redis.RedisError) as error:
        return f"{part['name']}: {error}"
    return None


def sweep() -> None:
    """Remove the leftovers of killed runs, once none of their actions still runs."""
    for home in cache().glob(f"{PREFIX}*"):
        locks = (lock for folder in _folders(home.name) for lock in folder.rglob("*.lock"))
        if liveness.run_ended(home) and not any(map(liveness.is_held, locks)):
            _remove(home.name)


def _folders(name: str) -> list[Path]:
    """Return the folders of a copy: its files, caches and data."""
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
    """Run a Docker command that the stack depends on; return its output."""
    try:
        return _docker(*words, cwd=ROOT)
    except InfrastructureError as error:
        raise AbsentError(f"{lack}: {error.message}", hint, part="docker") from error


def _copy(target: Path, name: str) -> Path:
    """Copy the project's files known to git under a new name, each service on a free port."""
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
        # Takes precedence over the installed engine, which manages the original project.
        "PYTHONPATH": str(home / "project" / ENGINE),
    }


def _left(name: str) -> dict[str, list[str]]:
    return {kind: found for kind in KINDS if (found := _labelled(kind, name))}


def _labelled(kind: str, name: str) -> list[str]:
    every = ("--all",) if kind == "container" else ()
    label = f"label=com.docker.compose.project={name}"
    return sorted({*_docker(kind, "ls", *every, "--quiet", "--filter", label).split()})


def _remove(name: str) -> None:
    """Remove a copy's Docker objects, containers first, since they use the rest; then its files.

    Another run may be removing the same copy.
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

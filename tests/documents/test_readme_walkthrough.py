"""A newcomer follows the README and the actions of a project on a machine with only Python.

The machine is an empty container if a Docker engine has the image, otherwise an empty home.
"""

import os
import shutil
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import baking
import pytest
from baking import ACCESS, Bake, Bakery, named
from documents import Document
from project import listen_elsewhere, processes, until

# Slow: every package is downloaded again.
pytestmark = [pytest.mark.proof(of="newcomer"), pytest.mark.timeout(600)]

IMAGE = "python:3.13-slim"
HOME = "/home/newcomer"
FIRST = "python3 -m pip install uv"
"""The prerequisite that the README names."""
ACTIONS = "vendor/stratakit/docs/actions.md"
SERVERS = ("postgres", "valkey-server", "redis-server")


class Place(Protocol):
    """Machine of a newcomer."""

    @abstractmethod
    def type(self, line: str) -> "subprocess.CompletedProcess[str]":
        """Have a shell run a line in the project."""

    @abstractmethod
    def running(self) -> str:
        """Return the command lines of what runs there."""


class Container(Place):
    """An ordinary user in a container that has Python, and neither Docker nor git nor uv."""

    def __init__(self, project: Bake) -> None:
        """Start it with a copy of the project."""
        # A name with a space, as people have them.
        self.folder = f"{HOME}/my {project.path.name}"
        options = ("--detach", "--rm", "--init", *_forwarded(os.environ))
        self.id = _docker("run", *options, IMAGE, "tail", "-f", "/dev/null").strip()
        _docker("exec", self.id, "useradd", "--create-home", "newcomer")
        _docker("cp", str(project.path), f"{self.id}:{self.folder}")
        _docker("exec", self.id, "chown", "-R", "newcomer", HOME)

    def type(self, line: str) -> "subprocess.CompletedProcess[str]":
        """Have a shell run a line in the project."""
        path = f"PATH={HOME}/.local/bin:/usr/local/bin:/usr/bin:/bin"
        who = ("--user", "newcomer", "--env", f"HOME={HOME}", "--env", path)
        command = ("docker", "exec", *who, "--workdir", self.folder, self.id, "bash", "-c", line)
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def running(self) -> str:
        """Return the command lines of what runs there."""
        return _docker("top", self.id, "-eo", "pid,args")

    def close(self) -> None:
        """Remove it."""
        _docker("rm", "--force", self.id)


class EmptyHome(Place):
    """A home without settings, with its own Python; it shares only uv's cache with this machine."""

    def __init__(self, project: Bake, folder: Path) -> None:
        """Make it, with a copy of the project."""
        self.folder = shutil.copytree(project.path, folder / f"my {project.path.name}")
        listen_elsewhere(Bake(self.folder, project.answers, project.environment))
        python = folder / "python"
        subprocess.run((sys.executable, "-m", "venv", str(python)), check=True)
        path = os.pathsep.join([str(python / "bin"), "/usr/local/bin", "/usr/bin", "/bin"])
        cache = project.run("uv", "cache", "dir").stdout.strip()
        own = {"HOME": str(folder), "PATH": path, "UV_CACHE_DIR": cache}
        self.environment = {**project.environment, **own}

    def type(self, line: str) -> "subprocess.CompletedProcess[str]":
        """Have a shell run a line in the project."""
        return baking.run("sh", "-c", line, cwd=self.folder, env=self.environment, check=False)

    def running(self) -> str:
        """Return the command lines of what runs there."""
        # The folders of its servers contain the name of the project, wherever they are.
        name = self.folder.name.removeprefix("my ")
        return "\n".join(line for line in processes() if name in line)


@pytest.fixture
def place(bake: Bakery, tmp_path: Path) -> Iterator[Place]:
    """The newcomer's machine, with nothing but the project."""
    project = bake.into(tmp_path, named("Acme Newcomer"))
    if not _has_image():
        home = EmptyHome(project, tmp_path / "home")
        yield home
        # A failed test leaves servers up, which the next run would use as its own.
        home.type("uv run invoke stack.down")
        return
    container = Container(project)
    try:
        yield container
    finally:
        container.close()


def test_the_commands_of_the_readme_pass_from_top_to_bottom(place: Place, bake: Bakery) -> None:
    readme, guide = (Document(bake().path / name) for name in ("README.md", ACTIONS))
    assert FIRST in readme.prose
    commands = [*readme.commands(), *guide.commands()]
    asked = [each for each in commands if each.in_block or not each.elsewhere]
    lines = dict.fromkeys(each.line for each in asked if not each.is_pattern)
    assert [*lines][:2] == ["uv run invoke setup", "uv run nox"]
    # Servers that actions keep up run until `stack.down`.
    for line in [FIRST, *lines, "uv run invoke stack.down"]:
        done = place.type(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    # Servers stop with the last run that uses them.
    until(lambda: not any(server in place.running() for server in SERVERS))


def _has_image() -> bool:
    command = ("docker", "image", "inspect", IMAGE)
    if not shutil.which("docker"):
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _docker(*arguments: str) -> str:
    command = ("docker", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _forwarded(environment: Mapping[str, str]) -> list[str]:
    """Return the Docker options that give a container this machine's access to packages."""
    options = []
    for name, value in environment.items():
        wanted = name in ACCESS or name.startswith("PIP_") or name.lower().endswith("_proxy")
        # Paths of this machine do not exist in the container.
        if wanted and not value.startswith(("/", "file:")):
            options += ["--env", name]
            if "localhost" in value or "127.0.0.1" in value:
                options += ["--network", "host"]
    bundle = environment.get("SSL_CERT_FILE")
    if bundle and Path(bundle).is_file():
        options += ["--volume", f"{bundle}:/ca.pem:ro"]
        options += ["--env", "SSL_CERT_FILE=/ca.pem", "--env", "PIP_CERT=/ca.pem"]
    return options

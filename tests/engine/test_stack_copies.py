"""Stacks in containers, on a stand-in for the program `docker`; copies of a project for their tests."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_docker
import pytest

from stratakit import liveness, project
from stratakit.errors import AbsentError, InfrastructureError
from stratakit.servers import home
from stratakit.servers.waiting import locked
from stratakit.stack.containers import Containers
from stratakit.testing import compose

PLACES = """
from stratakit.servers import checkout, compose, home
from stratakit.stack import record
print(home.cache(), home.data(), record.file(), sep="\\n")
print(compose.project_name(), file=__import__("sys").stderr)
"""
HOLDER = """
import sys
from pathlib import Path
from stratakit import liveness, project
liveness.begin(Path(sys.argv[1]))
"""

WITHOUT_REGISTRY = """
case "$1 $2" in
    "compose config") echo redis:8 ;;
    "image inspect" | "pull --quiet") echo no such host >&2; exit 1 ;;
esac
"""

LOGS = r"""
case "$*" in
    *" ps "*) echo one ;;
    inspect*) echo '[{"Config": {"Labels": {"com.docker.compose.service": "gateway"}}}]' ;;
    *" logs "*) printf '\033[2Kfirst\n\033[2K\033[31mred\033[0m\n' ;;
esac
"""

Docker = Callable[[str], None]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Docker]:
    """Write a fake `docker`, a shell script; a fake engine answers beside it."""

    def write(script: str) -> None:
        program = tmp_path / "docker"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with fake_docker.without_images() as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        write("exit 0")
        yield write


@pytest.fixture
def dead(docker: Docker) -> Path:
    """Folder of a copy whose run was killed, with data beside it."""
    folder = home.cache() / f"{compose.PREFIX}dead"
    subprocess.run((sys.executable, "-c", HOLDER, str(folder)), check=True)
    home.data_folder(folder.name).mkdir(parents=True)
    return folder


def test_a_copy_of_the_project_uses_its_own_folders_and_is_removed_completely(
    docker: Docker,
) -> None:
    ours = {home.cache(), home.data()}
    with compose.copied() as stack:
        command = (sys.executable, "-c", PLACES)
        done = subprocess.run(
            command,
            cwd=stack.folder,
            env={**os.environ, **stack.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        # Docker Compose takes the name from the environment unless a checkout sets it.
        assert done.stderr.strip() == "[]"
        places = [Path(line) for line in done.stdout.splitlines()]
        assert all(stack.name in str(place) for place in places), places
        assert not ours & {*places}
    assert [place for place in places if place.exists()] == []
    assert [*home.cache().glob(f"{compose.PREFIX}*")] == []


@pytest.mark.parametrize(
    ("script", "message", "hint"),
    [
        ('[ "$1" != buildx ]', "`docker buildx` does not work", "docs.docker.com"),
        ('[ "$1" != compose ]', "`docker compose` does not work", "docs.docker.com"),
        (
            WITHOUT_REGISTRY,
            "redis:8 cannot be pulled: `docker pull --quiet redis:8` fails: no such host",
            "docker pull redis:8",
        ),
    ],
)
def test_a_part_of_docker_that_does_not_work_is_reported_as_absent(
    docker: Docker, script: str, message: str, hint: str
) -> None:
    docker(script)
    with pytest.raises(AbsentError, match=message) as raised, compose.copied():
        pass
    assert raised.value.part == "docker"
    assert hint in raised.value.hint


def test_docker_is_absent_if_its_program_is_not_on_path(
    docker: Docker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(AbsentError, match="docker is not on PATH"), compose.copied():
        pass


def test_a_missing_docker_engine_is_absent_without_a_hint_at_embedded_servers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(AbsentError, match="no Docker engine answers") as raised, compose.copied():
        pass
    assert "embedded" not in str(raised.value)


def test_leftovers_of_a_killed_run_are_removed(dead: Path) -> None:
    compose.sweep()
    assert not dead.exists()
    assert not home.data_folder(dead.name).exists()


def test_a_copy_is_kept_while_an_action_of_its_killed_run_is_running(dead: Path) -> None:
    # `stack.up` holds this lock, possibly while it builds an image.
    with locked(home.data_folder(dead.name) / "stack.lock", "changes the stack"):
        compose.sweep()
        assert dead.exists()
    compose.sweep()
    assert not dead.exists()


def test_a_copy_is_not_removed_while_its_run_is_alive(docker: Docker) -> None:
    with compose.copied() as stack:
        compose.sweep()
        assert stack.folder.exists()


def test_objects_that_docker_does_not_remove_are_named_and_retried_by_the_next_run(
    dead: Path, docker: Docker
) -> None:
    docker('case "$2" in ls) echo stubborn;; rm) exit 1;; esac')
    with pytest.raises(InfrastructureError, match=r"does not remove .*stubborn"):
        compose.sweep()
    assert liveness.run_ended(dead)
    docker("exit 0")
    compose.sweep()


def test_line_erasing_codes_of_compose_are_stripped_from_service_output(docker: Docker) -> None:
    docker(LOGS)
    assert Containers().output(project.service("gateway"), 2) == "first\n\x1b[31mred\x1b[0m"

"""A baked project in use: locked, with environments, its tiers run for real."""

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import jsonschema
import psutil
from baking import BLANK, PROJECT, ROOT, Bake, Bakery, named

NOX = ("nox", "--non-interactive")
ENGINE = ROOT / PROJECT / "vendor" / "stratakit" / "src" / "stratakit"
SUMMARY = jsonschema.Draft202012Validator(
    json.loads((ENGINE / "summary.schema.json").read_text(encoding="utf-8"))
)
SUMMARY.check_schema(SUMMARY.schema)
PATIENCE = 120
"""Timeout of a condition in seconds, on a machine that is busy with other tests."""

COMPLETE = """
eval "$(invoke completion --shell bash)"
for COMP_LINE; do
    COMP_WORDS=($COMP_LINE) COMP_POINT=${#COMP_LINE} COMP_TYPE=9
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    how=$(complete -p "${COMP_WORDS[0]}")
    how=${how#*-F }
    ${how%% *} "${COMP_WORDS[0]}" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}" 2> /dev/null
    echo "${COMPREPLY[@]}"
done
"""
"""Script that completes a line as bash does at a Tab, and prints the candidates."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run of nox or invoke."""

    code: int
    output: str
    summary: dict[str, Any]


class Project(Bake):
    """A project that tests run tiers of."""

    def nox(self, *arguments: str, env: Mapping[str, str] | None = None) -> Outcome:
        """Run nox as a user would, and return its outcome."""
        return self.outcome(*NOX, *arguments, env=env)

    def outcome(self, *command: str, env: Mapping[str, str] | None = None) -> Outcome:
        """Run any command, and return its outcome and the summary that it wrote."""
        (self.path / "reports" / "summary.json").unlink(missing_ok=True)
        done = self.run(*command, env=env, check=False)
        return Outcome(done.returncode, done.stdout + done.stderr, self.summary())

    def completed(self, *lines: str) -> list[str]:
        """Return bash's completions at a Tab, for each incomplete line."""
        # As in a shell with the environment activated.
        path = f"{self.path / '.venv' / 'bin'}:{self.environment['PATH']}"
        done = self.run("bash", "--norc", "-c", COMPLETE, "-", *lines, env={"PATH": path})
        return done.stdout.splitlines()

    def summary(self) -> dict[str, Any]:
        """Return the summary of the last run, checked against its schema; empty if there is none."""
        file = self.path / "reports" / "summary.json"
        if not file.exists():
            return {}
        summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        SUMMARY.validate(summary)
        return summary

    def interrupted(self, *arguments: str, env: Mapping[str, str], when: Path) -> Outcome:
        """Run nox in its own process group, and send Ctrl-C as soon as the file `when` exists."""
        with subprocess.Popen(
            [*NOX, *arguments],
            cwd=self.path,
            env={**self.environment, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as running:
            until(when.exists)
            os.killpg(running.pid, signal.SIGINT)
            output, _ = running.communicate(timeout=PATIENCE)
        return Outcome(running.returncode, output, self.summary())


EVERYTHING = ("--all-packages", "--all-groups")
ENVIRONMENTS = {
    ".venv": EVERYTHING,
    ".nox/static": EVERYTHING,
    ".nox/service-gateway": ("--package", "{slug}-gateway", "--group", "test"),
}
"""Environments of a project, with the options of `uv sync` for each."""
FETCHED = ".nox/tool-postgres-17"
"""Folder of the embedded PostgreSQL that a project downloads on first use."""
FETCH = "from stratakit.servers import binaries; binaries.installation('postgres')"


def ready(bake: Bakery, folder: Path, name: str, **answers: str) -> Project:
    """Bake a project that is ready to use: locked, with its environments.

    These are linked from those of a shared prototype, bytecode included, which is fast.
    """
    baked = bake.into(folder, {**named(name), **answers})
    model = _prototype(bake)
    lock = (model.path / "uv.lock").read_text(encoding="utf-8")
    ours = lock.replace(model.path.name, baked.path.name)
    (baked.path / "uv.lock").write_text(ours, encoding="utf-8")
    for environment in (*ENVIRONMENTS, FETCHED):
        _copy(model.path / environment, baked.path / environment)
    project = Project(baked.path, baked.answers, baked.environment)
    _install(project, *ENVIRONMENTS)
    return project


def _prototype(bake: Bakery) -> Bake:
    """Return the project whose environments others copy; the first caller makes it."""
    slug = "acme-prototype"
    home = bake.shared / "prototype"
    made = Bake(home / slug, BLANK, bake.environment)
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "done").exists():
            bake.into(home, BLANK, project_name=slug)
            made.run("uv", "lock", "--quiet")
            first, *others = ENVIRONMENTS
            # The others have a subset of its packages, which need not be compiled again.
            _install(made, first, compile_bytecode=True)
            for environment in others:
                _copy(made.path / first, made.path / environment)
            _install(made, *others)
            made.run(".venv/bin/python", "-c", FETCH)
            (home / "done").touch()
    return made


def _copy(environment: Path, there: Path) -> None:
    shutil.copytree(environment, there, symlinks=True, copy_function=os.link)


def _install(project: Bake, *environments: str, compile_bytecode: bool = False) -> None:
    options = ("--locked", "--quiet", *(("--compile-bytecode",) if compile_bytecode else ()))
    for environment in environments:
        words = (word.format(slug=project.path.name) for word in ENVIRONMENTS[environment])
        env = {"UV_PROJECT_ENVIRONMENT": environment}
        project.run("uv", "sync", *options, *words, env=env)


def free_port() -> int:
    """Return a free port, below those that a system gives to outgoing connections."""
    while True:
        port = secrets.choice(range(20_000, 30_000))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def listen_elsewhere(project: Bake) -> None:
    """Give the service a free port: another project may use 8000."""
    file = project.path / "services" / "gateway" / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    assert "port = 8000" in text
    file.write_text(text.replace("port = 8000", f"port = {free_port()}"), encoding="utf-8")


class Changes(AbstractContextManager["Changes"]):
    """Changes to a project that are reverted at the end of the block."""

    def __init__(self, project: Project) -> None:
        """Change files of `project`."""
        self.path = project.path
        self._undo = ExitStack()

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        file = self.path / name
        before = file.read_bytes() if file.exists() else None
        for made in [folder for folder in file.parents if not folder.exists()][-1:]:
            # A folder left behind could count as one with a tier's tests.
            self._undo.callback(shutil.rmtree, made, ignore_errors=True)
        self._undo.callback(_restore, file, before)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a piece of a file, which must exist."""
        text = (self.path / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new))

    def hide(self, name: str) -> Path:
        """Move a file or folder away, and later remove its replacement; return its new path."""
        there = self.path / name
        # Outside of the project, where no check of all its files finds it.
        aside = self.path.with_name(f"{self.path.name}.{there.name}.aside")
        if there.exists():
            there.rename(aside)
            self._undo.callback(aside.rename, there)
        self._undo.callback(_remove, there)
        return aside

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Revert the changes."""
        self._undo.close()


Change = Callable[[Changes], object]
"""A change to a project, reverted afterwards."""


def write(name: str, text: str) -> Change:
    """Return a change that writes a file."""
    return lambda changes: changes.write(name, text)


def replace(name: str, old: str, new: str) -> Change:
    """Return a change that replaces a piece of a file."""
    return lambda changes: changes.replace(name, old, new)


def hide(name: str) -> Change:
    """Return a change that moves a file or folder away."""
    return lambda changes: changes.hide(name)


ABSENT_TIER = "e2e"
"""A tier of the project's own that `add_absent_tier` adds."""
ABSENT_TESTS = f"tests/{ABSENT_TIER}/test_planted.py"
"""Path of a test that makes the tier present."""


def add_absent_tier(changes: Changes) -> None:
    """Add a tier that has no tests."""
    changes.replace(
        "pyproject.toml",
        "[tool.pytest]",
        f"[tool.stratakit.tiers.{ABSENT_TIER}]\n"
        f'checks = "all of it"\npaths = ["tests/{ABSENT_TIER}"]\nbudget = 300\n\n[tool.pytest]',
    )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _restore(file: Path, before: bytes | None) -> None:
    if before is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(before)


def has_images(*more: str) -> bool:
    """Return whether Docker has the images of the servers, and more."""
    if not shutil.which("docker"):
        return False
    command = ["docker", "image", "inspect", "postgres:17-alpine", "redis:8-alpine", *more]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def processes() -> list[str]:
    """Return the command lines of all processes."""
    return [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]


def left_alone(project: Project) -> None:
    """Wait until no server of the project is running."""

    def gone() -> bool:
        # Matches the folder of its servers, but not that of a project with a longer name.
        servers = re.compile(rf"/{project.path.name}(-\d+)?/[^ ]*store")
        return not any(map(servers.search, processes()))

    until(gone)


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not become true in time.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.02)  # Poll: other processes cannot notify us.
